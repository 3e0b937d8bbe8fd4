"""Batches of a read are cut by what their rows weigh."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from levada.source import BATCH_BYTES, Source
from levada.sources.duckdb import DuckDBSource
from levada.sources.files import FilesSource
from levada.sources.sqlite import SQLiteSource

ROWS = [100] * 40 + [4 << 20] * 8
"""How many characters each row has: many light ones, which let nobody expect the heavy ones."""


def sqlite(folder: Path) -> SQLiteSource:
    with sqlite3.connect(folder / "w.db") as connection:
        connection.execute("create table t (id integer primary key, note text)")
        connection.executemany("insert into t values (?, ?)", ((i, "x" * size) for i, size in enumerate(ROWS)))
    return SQLiteSource("w", folder / "w.db")


def duck(folder: Path) -> DuckDBSource:
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute("create table t (id bigint, note varchar)")
        connection.executemany("insert into t values (?, ?)", [(i, "x" * size) for i, size in enumerate(ROWS)])
    return DuckDBSource("w", folder / "w.duckdb")


def json_lines(folder: Path) -> FilesSource:
    objects = (json.dumps({"id": i, "note": "x" * size}) + "\n" for i, size in enumerate(ROWS))
    (folder / "t.jsonl").write_text("".join(objects))
    return FilesSource("w", folder)


def json_array(folder: Path) -> FilesSource:
    (folder / "t.json").write_text(json.dumps([{"id": i, "note": "x" * size} for i, size in enumerate(ROWS)]))
    return FilesSource("w", folder)


@pytest.mark.parametrize("kind", [sqlite, duck, json_lines, json_array])
def test_no_batch_weighs_much_more_than_it_may(kind: Callable[[Path], Source], tmp_path: Path) -> None:
    """At most one row more than fits, and every row arrives."""
    source = kind(tmp_path)
    with source.read("select id, note from t order by id") as batches:
        found = [(batch.num_rows, batch["note"].nbytes) for batch in batches]
    assert sum(rows for rows, _ in found) == len(ROWS)
    assert max(weight for _, weight in found) <= BATCH_BYTES + max(ROWS)
