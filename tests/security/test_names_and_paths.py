"""Names and paths that mean harm: data arrive in exactly the column and file that was named, or nothing happens."""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from contracts.tables import SYNC, batch, records
from levada.destination import Surroundings, TableDestination, WriteOrder
from levada.destinations import destination_type
from levada.destinations.file_formats import Csv
from levada.destinations.files import TYPE
from levada.errors import ConfigError, LevadaError

HOSTILE = st.text(st.sampled_from("\"'`;-\\[]()% ./*#$\nA\u02bc\uff02\u201d\0é表"), min_size=1, max_size=12)
ANY = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=70)
KEYWORDS = st.sampled_from(["select", "table", "user", "order", "group", "default", "rowid", "oid", "ctid", "_rowid_"])
NAMES = HOSTILE | ANY | KEYWORDS
LIMITED = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
PLANS = itertools.count(1)
INJECTION = 'x"; DROP TABLE bystander; --'


def _written(destination: TableDestination, table: str, column: str) -> bool:
    """One row into a new table; False if the names are refused."""
    fields: list[pa.Field[Any]] = [pa.field("id", pa.int64()), pa.field(column, pa.string())]
    schema = pa.schema(fields)
    plan = f"{SYNC}@{next(PLANS)}"
    name = '"' + table.replace('"', '""') + '"'
    try:
        destination.describe(name, schema, ("id",))
        writer = destination.open(WriteOrder(SYNC, "run_1", plan, name, "upsert", "ignore", ("id",), schema))
    except LevadaError:
        return False
    try:
        outcomes = writer.write(batch(records((1, "value"), schema=schema), "upsert", match=("id",)))
        writer.finish()
    finally:
        writer.close()
    assert outcomes.common.end == "delivered", outcomes
    return True


def _opened(kind: str, options: dict[str, Any], folder: Path) -> TableDestination:
    found = destination_type(kind)
    assert found is not None
    made = found.open("app", found.options.model_validate({"create_tables": True, **options}), Surroundings(folder))
    assert isinstance(made, TableDestination)
    return made


Query = Callable[[str], list[tuple[Any, ...]]]


def _check(destination: TableDestination, query: Query, table: str, column: str, tables: str) -> None:
    """The value is in that column of that table; the bystander and all others are as before."""
    before = {name for (name,) in query(tables)}
    taken = _written(destination, table, column)
    assert query("SELECT note FROM bystander") == [("untouched",)]
    added = {name for (name,) in query(tables)} - before - {"_levada_marks"}
    if not taken:
        assert added <= {table}
        return
    assert added <= {table}
    table_, column_ = (
        f'"{name}"'.replace(f'"{name}"', '"' + name.replace('"', '""') + '"') for name in (table, column)
    )
    assert query(f"SELECT {column_} FROM {table_}") == [("value",)]
    query(f"DROP TABLE {table_}")


@given(NAMES, NAMES)
@example(INJECTION, INJECTION)
@LIMITED
def test_names_in_sqlite(tmp_path: Path, table: str, column: str) -> None:
    """SQLite: as table and as column."""
    path = tmp_path / "app.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("CREATE TABLE IF NOT EXISTS bystander AS SELECT 'untouched' AS note")

    def query(text: str) -> list[tuple[Any, ...]]:
        return connection.execute(text).fetchall()

    with contextlib.closing(connection):
        _check(
            _opened("sqlite", {"path": str(path)}, tmp_path), query, table, column,
            "SELECT name FROM sqlite_master WHERE type = 'table'",
        )  # fmt: skip


@given(NAMES, NAMES)
@example(INJECTION, INJECTION)
@LIMITED
def test_names_in_duckdb(tmp_path: Path, table: str, column: str) -> None:
    """DuckDB: as table and as column."""
    path = tmp_path / "app.duckdb"

    def query(text: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(path)) as connection:
            return connection.execute(text).fetchall()

    query("CREATE TABLE IF NOT EXISTS bystander AS SELECT 'untouched' AS note")
    destination = _opened("duckdb", {"path": str(path)}, tmp_path)
    _check(destination, query, table, column, "SELECT table_name FROM duckdb_tables()")


@given(NAMES, NAMES)
@example(INJECTION, INJECTION)
@LIMITED
def test_names_in_postgresql(postgres_url: str, tmp_path: Path, table: str, column: str) -> None:
    """PostgreSQL: as table and as column."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS bystander AS SELECT 'untouched' AS note")

        def query(text: str) -> list[tuple[Any, ...]]:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

        destination = _opened("postgres", {"url": postgres_url}, tmp_path)
        _check(
            destination, query, table, column, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^pg_'"
        )


PATHS = [
    "/etc/passwd", "//etc/passwd", "../x", "a/../../x", "..", ".", "a/..", "./a", "a//b", "a/", "/", "", " ", ".hidden",
    ".levada", ".levada/x", "a/.levada/x", "a\0b", "a\nb", "C:\\x", "\\\\server\\share", "..\\x", "a\\b", "a" * 200,
    "é" * 100,
    "link", "link/x", "outside/x", "~/x/../../..", "a/" * 3_000 + "x", "a/./b", "\ud800", "a\x7f", " a", "a ",
]  # fmt: skip


@pytest.mark.parametrize("name", PATHS, ids=[str(n) for n in range(len(PATHS))])
@pytest.mark.parametrize("mode", ["append", "replace"])
def test_no_object_leads_out_of_the_folder(tmp_path: Path, name: str, mode: Any) -> None:
    """Refused, or written below the folder; what is outside, and what links lead to, is as before."""
    outside, root = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    root.mkdir()
    (outside / "x").write_text("untouched")
    (root / "link").symlink_to(outside)
    (root / "outside").symlink_to("../outside")
    (root / "link.csv").symlink_to(outside / "x")
    schema = pa.schema([("id", pa.int64())])
    with contextlib.suppress(LevadaError):
        _append(root, name, mode, schema)
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"x": "untouched"}
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "out"}


def test_folders_are_made_to_a_bounded_depth(tmp_path: Path) -> None:
    """Thousands of folders below one another are more than most tools can list or delete."""
    (tmp_path / "out").mkdir()
    schema = pa.schema([("id", pa.int64())])
    _append(tmp_path / "out", "a/" * 32 + "x", "append", schema)
    with pytest.raises(ConfigError, match="33 folders deep, at most 32"):
        _append(tmp_path / "out", "a/" * 33 + "x", "append", schema)


def _append(root: Path, name: str, mode: Any, schema: pa.Schema) -> None:
    destination = TYPE.open("out", TYPE.options(path=str(root), format="csv"), Surroundings(root.parent))
    assert isinstance(destination, TableDestination)
    writer = destination.open(WriteOrder(SYNC, "run_1", f"{SYNC}@1", name, mode, "ignore", (), schema))
    try:
        writer.write(batch(records((1,), schema=schema), "append", match=()))
        writer.finish()
    finally:
        writer.close()


def test_a_folder_that_is_exchanged_for_a_link_meanwhile_leads_nowhere(tmp_path: Path) -> None:
    """A race of 60 writes against a process that swaps the folder and a link all the time."""
    outside, root = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (root / "people").mkdir(parents=True)
    (root / "swap").symlink_to(outside)
    ended = threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for one, other in (("people", "aside"), ("swap", "people"), ("people", "swap"), ("aside", "people")):
                with contextlib.suppress(OSError):
                    (root / one).rename(root / other)

    thread = threading.Thread(target=swap)
    thread.start()
    refused = 0
    try:
        for _ in range(60):
            try:
                _append(root, "people", "append", pa.schema([("id", pa.int64())]))
            except LevadaError:
                refused += 1
    finally:
        ended.set()
        thread.join()
    assert list(outside.iterdir()) == []
    assert refused < 60, "not one write came through: the race was none"


FORMULAS = st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
TEXTS = st.builds(lambda sign, rest: sign + rest, FORMULAS, st.text("=HYPERLINK(1,2)|!'x\n"))


def _cells(table: pa.Table) -> Iterator[list[str]]:
    form, file = Csv(), io.BytesIO()
    form.write(form.prepared(table), file)
    yield from csv.reader(io.StringIO(file.getvalue().decode(), newline=""))


@given(st.lists(TEXTS, max_size=5), st.floats(allow_nan=False))
@settings(deadline=None)
def test_no_cell_is_a_formula_and_no_number_is_text(texts: list[str], number: float) -> None:
    """Text that a spreadsheet would run gets a ' before it, nothing else is changed, and numbers stay numbers."""
    table = pa.table({"=t": pa.array([*texts, "plain"]), "n": pa.array([-abs(number)] * (len(texts) + 1))})
    head, *rows = _cells(table)
    assert head == ["'=t", "n"]
    assert [row[0] for row in rows] == ["'" + text for text in texts] + ["plain"]
    assert {float(row[1]) for row in rows} == {-abs(number)}
