"""The DuckDB that the process keeps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from levada.sql.connection import bare, connect

Opened = Callable[[], duckdb.DuckDBPyConnection]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{file}')",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS other",
        "LOAD '{file}'",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "SET TimeZone = 'Asia/Tokyo'",
        "SELECT * FROM outside",
    ],
)
def test_a_bare_connection_reaches_nothing_and_stays_as_it_is(tmp_path: Path, statement: str) -> None:
    """Files, databases, extensions, settings and variables of Python are out of its reach."""
    outside = pa.table({"x": [1]})
    file = tmp_path / "file.csv"
    file.write_text("a\n1\n")
    with closing(bare()) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(file=file))
    assert outside.num_rows == 1
    assert file.read_text() == "a\n1\n"


def test_connections_that_share_a_database_share_no_temporary_names() -> None:
    """A view of one is not another's, and is gone with it."""
    with closing(bare()) as one, closing(bare()) as other:
        one.execute("CREATE TEMP VIEW model AS SELECT 1 AS x")
        assert one.execute("SELECT x FROM model").fetchall() == [(1,)]
        with pytest.raises(duckdb.CatalogException):
            other.execute("SELECT x FROM model")
    with closing(bare()) as later, pytest.raises(duckdb.CatalogException):
        later.execute("SELECT x FROM model")


@pytest.mark.parametrize("opened", [bare, connect])
def test_every_connection_works_in_utc(opened: Opened) -> None:
    """An instant is shown as that of Greenwich."""
    with closing(opened()) as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_process_that_was_forked_uses_what_its_parent_keeps() -> None:
    """The child answers as the parent does, and ends."""
    query = "SELECT count(*) FROM range(1_000_000) WHERE range % 2 = 0"
    with closing(bare()) as connection:
        assert connection.execute(query).fetchall() == [(500_000,)]
    child = os.fork()
    if not child:
        with closing(bare()) as connection:
            os._exit(0 if connection.execute(query).fetchall() == [(500_000,)] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
