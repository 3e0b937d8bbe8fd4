"""SQLite as a source: declared types at their word, every other value refused by name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from contracts.sources import table_of
from levada.errors import LevadaError, SourceError
from levada.source import TYPE_KEY, without_unfit
from levada.sources import sqlite
from levada.sources.sqlite import TYPE, SQLiteSource


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "app.sqlite", isolation_level=None)
    yield connection
    connection.close()


@pytest.fixture
def source(tmp_path: Path) -> SQLiteSource:
    found = TYPE.open("app", TYPE.options.model_validate({"path": "app.sqlite"}), tmp_path)
    assert isinstance(found, SQLiteSource)
    return found


NAIVE = datetime(2024, 2, 29, 12, 30, 15, 500000, tzinfo=UTC).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("declared", "stored", "kind", "value", "mark"),
    [
        ("INTEGER", "9223372036854775807", pa.int64(), 2**63 - 1, None),
        ("tinyint(1)", "-1", pa.int64(), -1, None),
        ("UNSIGNED BIG INT", "7", pa.int64(), 7, None),
        ("BOOLEAN", "1", pa.bool_(), True, None),
        ("bool", "0", pa.bool_(), False, None),
        ("REAL", "0.1", pa.float64(), 0.1, None),
        ("DOUBLE PRECISION", "2", pa.float64(), 2.0, None),
        ("DECIMAL(10,2)", "'1.50'", pa.decimal128(10, 2), Decimal("1.50"), None),
        ("DECIMAL(10,2)", "1.1", pa.decimal128(10, 2), Decimal("1.10"), None),
        ("NUMERIC(5)", "12345", pa.decimal128(5, 0), Decimal("12345"), None),
        ("decimal ( 38 , 10 )", "'0.1'", pa.decimal128(38, 10), Decimal("0.1"), None),
        ("DATE", "'2024-02-29'", pa.date32(), date(2024, 2, 29), None),
        ("DATETIME", "'2024-02-29 12:30:15.5'", pa.timestamp("us"), NAIVE, None),
        ("TIMESTAMP", "'2024-02-29T12:30:15.500'", pa.timestamp("us"), NAIVE, None),
        ("TIMESTAMPTZ", "'2024-02-29 13:30:15.5+01:00'", pa.timestamp("us", "UTC"), NAIVE.replace(tzinfo=UTC), None),
        (
            "TIMESTAMP WITH TIME ZONE",
            "'2024-02-29 12:30:15.5Z'",
            pa.timestamp("us", "UTC"),
            NAIVE.replace(tzinfo=UTC),
            None,
        ),
        ("TIME", "'01:02:03.000004'", pa.time64("us"), time(1, 2, 3, 4), None),
        ("VARCHAR(10)", "'longer than ten'", pa.string(), "longer than ten", None),
        ("TEXT", "7", pa.string(), "7", None),
        ("JSON", "'{\"a\": 1.10}'", pa.string(), '{"a": 1.10}', b"json"),
        ("UUID", "'abc'", pa.string(), "abc", b"uuid"),
        ("BLOB", "x'00ff'", pa.binary(), b"\x00\xff", None),
        ("", "7", pa.int64(), 7, None),
        ("", "'a'", pa.string(), "a", None),
        ("NUMERIC", "7", pa.int64(), 7, None),
        ("NUMERIC", "7.5", pa.float64(), 7.5, None),
        ("MONEY", "7", pa.int64(), 7, None),
    ],
)
def test_a_declaration_is_taken_at_its_word(
    database: sqlite3.Connection,
    source: SQLiteSource,
    declared: str,
    stored: str,
    kind: pa.DataType,
    value: object,
    mark: bytes | None,
) -> None:
    """Each declared type becomes one Arrow type, with and without rows, and NULL beside every value."""
    database.execute(f"CREATE TABLE t (x {declared})")
    database.execute(f"INSERT INTO t VALUES ({stored}), (NULL)")
    table = table_of(source, "SELECT x FROM t")
    assert table.schema.field("x").type == kind
    assert (table.schema.field("x").metadata or {}).get(TYPE_KEY) == mark
    assert table.column("x").to_pylist() == [value, None]
    assert source.columns("SELECT x FROM t")[0].native == declared.strip()


@pytest.mark.parametrize(
    ("declared", "stored"),
    [
        ("INTEGER", "'abc'"),
        ("INTEGER", "1.5"),
        ("BOOLEAN", "2"),
        ("BOOLEAN", "'true'"),
        ("REAL", "'abc'"),
        ("DECIMAL(4,1)", "1.25"),
        ("DECIMAL(4,1)", "12345"),
        ("DECIMAL(4,1)", "'abc'"),
        ("DECIMAL(4,1)", "9e999"),
        ("DATE", "'29.02.2024'"),
        ("DATE", "'2023-02-29'"),
        ("DATE", "''"),
        ("DATE", "20240229"),
        ("DATETIME", "1709209815"),
        ("DATETIME", "'2024-02-29 12:30:15+01:00'"),
        ("TIMESTAMPTZ", "'2024-02-29 12:30:15'"),
        ("DATETIME", "'2024-02-29 12:30:15.1234567'"),
        ("TIME", "'24:00:00'"),
        ("TEXT", "x'00'"),
        ("BLOB", "'text'"),
        ("TEXT", "CAST(x'ff' AS TEXT)"),
    ],
)
def test_a_value_that_contradicts_its_column_is_told_and_the_others_arrive(
    database: sqlite3.Connection, source: SQLiteSource, declared: str, stored: str
) -> None:
    """Wherever it stands, it is NULL, and its row names the column; the value itself is not shown."""
    database.execute(f"CREATE TABLE t (id INTEGER, x {declared})")
    database.execute(
        "WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 20000) INSERT INTO t SELECT n, NULL FROM c"
    )
    database.execute(f"INSERT INTO t VALUES (0, {stored})")
    with source.read("SELECT id, x FROM t") as batches:
        read = [without_unfit(batch) for batch in batches]
    assert sum(batch.num_rows for batch, _ in read) == 20_001
    assert [set(reasons) for _, reasons in read] == [set()] * (len(read) - 1) + [{"x"}]
    assert "2024" not in read[-1][1]["x"]


def test_a_cast_takes_every_value_as_it_is(database: sqlite3.Connection, source: SQLiteSource) -> None:
    """The way out that the hint names works."""
    database.execute("CREATE TABLE t (x DATE)")
    database.execute("INSERT INTO t VALUES ('29.02.2024'), (5), (1.5), (NULL)")
    table = table_of(source, "SELECT CAST(x AS TEXT) AS x FROM t")
    assert table.column("x").to_pylist() == ["29.02.2024", "5", "1.5", None]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ("(1), (2.5), (NULL)", pa.float64(), [1.0, 2.5, None]),
        ("(NULL)", pa.string(), [None]),
        ("('a'), (NULL)", pa.string(), ["a", None]),
        ("(x'00')", pa.binary(), [b"\0"]),
    ],
)
def test_an_expression_is_what_all_its_values_are(
    database: sqlite3.Connection, source: SQLiteSource, values: str, kind: pa.DataType, expected: list[object]
) -> None:
    """Without a declaration the kinds of all stored values decide together, not those of the first rows."""
    database.execute("CREATE TABLE t (x)")
    database.execute(f"INSERT INTO t VALUES {values}")
    table = table_of(source, "SELECT x FROM t")
    assert (table.schema.field("x").type, table.column("x").to_pylist()) == (kind, expected)


def test_kinds_that_do_not_go_together_are_refused(database: sqlite3.Connection, source: SQLiteSource) -> None:
    """A number beside a text is not converted; nor is an integer that floating point cannot hold, which is told."""
    database.execute("CREATE TABLE t (x, y)")
    database.execute("INSERT INTO t VALUES (1, 9007199254740993), ('a', 0.5)")
    with pytest.raises(SourceError) as caught:
        table_of(source, "SELECT x FROM t")
    assert caught.value.code == "source.value"
    assert "'x'" in caught.value.message
    with source.read("SELECT y FROM t") as batches:
        [(batch, reasons)] = [without_unfit(batch) for batch in batches]
    assert (batch.column("y").to_pylist(), set(reasons)) == ([None, 0.5], {"y"})


def test_numeric_with_texts_is_numeric_text(database: sqlite3.Connection, source: SQLiteSource) -> None:
    """A NUMERIC column in which long numbers are texts keeps every digit; a text that is none is told."""
    database.execute("CREATE TABLE t (x MONEY)")
    database.execute("CREATE TABLE u (x NUMERIC, y)")
    database.execute("INSERT INTO u VALUES (1, 0), (2.5, 0), (x'31', 0)")
    with pytest.raises(SourceError):
        table_of(source, "SELECT x FROM u")
    database.execute("DELETE FROM u WHERE typeof(x) = 'blob'")
    database.execute("INSERT INTO u VALUES ('abc', 0)")
    with source.read("SELECT x FROM u") as batches:
        [(batch, reasons)] = [without_unfit(batch) for batch in batches]
    assert (batch.column("x").to_pylist(), set(reasons)) == (["1", "2.5", None], {"x"})


def test_a_writer_that_holds_the_file_is_named_as_lock(
    database: sqlite3.Connection, source: SQLiteSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that stays locked is an error with a way out, and readable again afterwards."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
    database.execute("CREATE TABLE t (a INTEGER)")
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(SourceError) as caught:
        table_of(source, "SELECT a FROM t")
    assert caught.value.code == "source.locked"
    database.execute("COMMIT")
    assert table_of(source, "SELECT a FROM t").num_rows == 0


@pytest.mark.parametrize(("content", "code"), [(None, "source.missing"), (b"hello" * 1000, "source.not_a_database")])
def test_what_is_no_database_is_refused(tmp_path: Path, source: SQLiteSource, content: bytes | None, code: str) -> None:
    """A missing file is not created, another file is left as it is."""
    path = tmp_path / "app.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LevadaError) as caught:
        source.check()
    assert caught.value.code == code
    assert (path.read_bytes() if path.exists() else None) == content
