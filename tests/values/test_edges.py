"""Text that is none, and values of uncommon depth and size: exact, or refused before anything is sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from levada import Project
from levada.errors import SourceError
from levada_process import write

SURROGATE = b"\xed\xa0\x80"
"""U+D800 as bytes: no UTF-8."""


def project(folder: Path, source: str) -> Path:
    return write(
        folder,
        {
            "levada.yml": "name: edges\n",
            "sources/warehouse.yml": source,
            "models/values.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from model\n",
            "destinations/there.yml": "type: sqlite\npath: there.db\ncreate_tables: true\n",
            "syncs/values.yml": "model: values\nto: there.people\nmode: upsert\nfields: all\n",
        },
    )


def in_json(folder: Path) -> str:
    write(folder, {"data/model.jsonl": '{"id": 1, "x": "a"}\n{"id": 2, "x": "\\ud800"}\n'})
    return "type: files\npath: data\n"


def in_parquet(folder: Path) -> str:
    write(folder, {"data/note.txt": ""})
    offsets = pa.array([0, 1, 4], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a" + SURROGATE)])
    pq.write_table(pa.table({"id": pa.array([1, 2]), "x": texts}), folder / "data/model.parquet")
    return "type: files\npath: data\n"


def in_sqlite(folder: Path) -> str:
    connection = sqlite3.connect(folder / "warehouse.db")
    connection.execute("CREATE TABLE model (id INTEGER PRIMARY KEY, x TEXT)")
    connection.execute(f"INSERT INTO model VALUES (1, 'a'), (2, CAST(x'{SURROGATE.hex()}' AS TEXT))")
    connection.commit()
    connection.close()
    return "type: sqlite\npath: warehouse.db\n"


@pytest.mark.parametrize("made", [in_json, in_parquet])
def test_text_that_is_no_unicode_fails_the_read(tmp_path: Path, made: Callable[[Path], str]) -> None:
    """A lone surrogate is neither replaced nor sent: nothing of the model is."""
    with Project.open(project(tmp_path, made(tmp_path))) as opened:
        try:
            error = opened.run("values").error
        except SourceError as raised:
            error = raised
    assert isinstance(error, SourceError)
    assert not (tmp_path / "there.db").exists()


def test_text_that_is_no_unicode_makes_its_row_invalid_in_sqlite(tmp_path: Path) -> None:
    """SQLite hands out each value by itself: the row is named, and the others arrive."""
    with Project.open(project(tmp_path, in_sqlite(tmp_path))) as opened:
        result = opened.run("values")
        (row,) = opened.records("values", outcome="invalid")
    assert (result.status, result.tally.delivered_total, result.counts.invalid) == ("partial", 1, 1)
    assert row.key == 2


def test_deep_and_long_text_arrives_exactly(tmp_path: Path) -> None:
    """JSON of 10,000 levels, and 2 MB of letters of four bytes."""
    values = ["[" * 10_000 + "]" * 10_000, "\U0001f600" * 500_000]
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE TABLE model (id INTEGER, x VARCHAR)")
        connection.executemany("INSERT INTO model VALUES (?, ?)", list(enumerate(values)))
    with Project.open(project(tmp_path, "type: duckdb\npath: warehouse.duckdb\n")) as opened:
        assert opened.run("values").status == "succeeded"
    connection_there = sqlite3.connect(tmp_path / "there.db")
    assert [row[0] for row in connection_there.execute("SELECT x FROM people ORDER BY id")] == values
    connection_there.close()
