"""Rows that are gathered one by one, in memory and in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from levada import gathering
from levada.gathering import Rows

NUMBER: pa.Field[Any] = pa.field("number", pa.int64())
SCHEMA = pa.schema([NUMBER, pa.field("text", pa.string())])


def test_few_rows_need_no_file(tmp_path: Path) -> None:
    """All kinds of values, none, and no rows at all."""
    with Rows(SCHEMA, tmp_path / "nowhere") as rows:
        assert rows.table().equals(SCHEMA.empty_table())
        rows.append(1, "ä")
        rows.append(2, None)
        rows.extend([pa.array([3, None], pa.int64()), pa.nulls(2, pa.string())])
        rows.append(5, "")
        found = rows.table()
    assert found.schema == SCHEMA
    assert found["number"].to_pylist() == [1, 2, 3, None, 5]
    assert found["text"].to_pylist() == ["ä", None, None, None, ""]


def test_many_rows_lie_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows in the same order, the memory bounded, the folder as empty as before."""
    monkeypatch.setattr(gathering, "HELD_BYTES", 1 << 20)
    before = pa.total_allocated_bytes()
    with Rows(SCHEMA, tmp_path) as rows:
        for number in range(200_000):
            rows.append(number, f"text {number}")
        rows.extend([pa.array(range(200_000, 300_000), pa.int64()), pa.nulls(100_000, pa.string())])
        found = rows.table()
        assert pa.total_allocated_bytes() - before < 2 << 20
    assert list(tmp_path.iterdir()) == []
    assert found.nbytes > 5 << 20
    assert found["number"].to_pylist() == list(range(300_000))
    assert found["text"].slice(199_999, 2).to_pylist() == ["text 199999", None]


def test_a_file_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told as what it is, for whoever names the place."""
    monkeypatch.setattr(gathering, "HELD_BYTES", 0)
    with Rows(SCHEMA, tmp_path / "nowhere") as rows:
        rows.append(1, "one")
        with pytest.raises(FileNotFoundError):
            rows.table()
