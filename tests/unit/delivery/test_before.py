"""What stood there before a plan was written over it lies in the plan's folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from levada.delivery.before import before_files, keep_before, verify_before
from levada.errors import CorruptedError


def kept_before(folder: Path, kind: str) -> pa.Table | None:
    """What is kept of a kind, as one table."""
    found = [parquet.read_table(path) for path in verify_before(folder) if path.name.startswith(f"before-{kind}-")]
    return pa.concat_tables(found) if found else None


def old(*sequences: int) -> pa.Table:
    return pa.table({"sequence": pa.array(sequences, pa.int64()), "before.name": [f"name {n}" for n in sequences]})


def test_what_parts_of_a_plan_found_is_read_as_one(tmp_path: Path) -> None:
    """By kind, in the order of the plan; nothing at all is None."""
    keep_before(tmp_path, "changed", 1_000, old(1_000, 1_007))
    keep_before(tmp_path, "changed", 0, old(3))
    keep_before(tmp_path, "added", 2_000, old(2_000))
    changed = kept_before(tmp_path, "changed")
    assert changed is not None
    assert changed.column("sequence").to_pylist() == [3, 1_000, 1_007]
    assert kept_before(tmp_path, "removed") is None


def test_a_part_that_is_tried_again_replaces_what_it_kept(tmp_path: Path) -> None:
    """Of a part that was not committed nothing stays, also where it keeps nothing the second time."""
    keep_before(tmp_path, "added", 0, old(0, 1))
    keep_before(tmp_path, "added", 0, old(1))
    again = kept_before(tmp_path, "added")
    assert again is not None
    assert again.column("sequence").to_pylist() == [1]
    keep_before(tmp_path, "added", 0, None)
    assert kept_before(tmp_path, "added") is None


def test_it_is_private(tmp_path: Path) -> None:
    """Values of people: readable for the owner alone."""
    keep_before(tmp_path, "added", 0, old(0))
    assert [path.stat().st_mode & 0o777 for path in before_files(tmp_path, "added")] == [0o600]


def test_a_damaged_file_is_not_read(tmp_path: Path) -> None:
    """One flipped byte among the values is noticed."""
    keep_before(tmp_path, "added", 0, old(*range(1_000)))
    (path,) = before_files(tmp_path, "added")
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptedError) as raised:
        kept_before(tmp_path, "added")
    assert raised.value.code == "store.plan_corrupted"
