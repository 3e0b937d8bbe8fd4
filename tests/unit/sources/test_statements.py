"""Names, texts, and what a query may be, before any engine sees it; identifiers are proven on the engines."""

from __future__ import annotations

import sqlite3

import duckdb
import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from levada.errors import ConfigError, SourceError
from levada.sources.statements import QUERY_CHARACTERS_MAX, identifier, literal, one_select, qualified

NASTY = st.text(st.sampled_from("\"'`;-\\$ .()[]{}%\n\taé漢\u2019\u02bc\u0000"), min_size=1, max_size=12)
NAMES = NASTY | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(name=NAMES)
@example(name='"; DROP TABLE t; --')
@example(name="a\0b")
def test_any_name_is_one_name_or_refused(name: str) -> None:
    """No name can end its own quotes, in DuckDB or SQLite; one with NUL is refused."""
    if "\0" in name:
        with pytest.raises(ConfigError):
            identifier(name)
        return
    with sqlite3.connect(":memory:") as connection:
        described = connection.execute(f"SELECT 1 AS {identifier(name)}").description
    assert [column[0] for column in described] == [name]
    (row,) = duckdb.execute(f"DESCRIBE SELECT 1 AS {identifier(name)}").fetchall()
    assert row[0] == name


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | NASTY)
def test_any_text_is_one_text_or_refused(text: str) -> None:
    """No text can end its own quotes."""
    if "\0" in text:
        with pytest.raises(ConfigError):
            literal(text)
        return
    assert duckdb.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]
    with sqlite3.connect(":memory:") as connection:
        assert connection.execute(f"SELECT {literal(text)}").fetchall() == [(text,)]


def test_names_are_one_name_in_postgresql(postgres_url: str) -> None:
    """The same quoting holds in PostgreSQL, for the names that break it elsewhere."""
    names = ['"', '""', 'a"b', "'", "`", ";--", "\\", "é漢🜁", " ", "$$", "%s", "\u2019", '"; DROP TABLE t; --']
    with psycopg.connect(postgres_url) as connection:
        for name in names:
            cursor = connection.execute(f"SELECT 1 AS {identifier(name)}".encode())
            assert [column.name for column in cursor.description or ()] == [name]


@pytest.mark.parametrize(
    ("table", "written"),
    [
        ("orders", '"orders"'),
        ("sales.orders", '"sales"."orders"'),
        ('sales."Odd. ""name"""', '"sales"."Odd. ""name"""'),
        ("a b.c;d", '"a b"."c;d"'),
    ],
)
def test_a_table_is_quoted_part_by_part(table: str, written: str) -> None:
    """`schema.table` becomes two names; what is already quoted stays."""
    assert qualified(table) == written


@pytest.mark.parametrize("table", ["", ".", "a..b", 'a"b', "a."])
def test_what_is_no_table_is_refused(table: str) -> None:
    """A name with an empty part or an open quote is an error, not a guess."""
    with pytest.raises(ConfigError):
        qualified(table)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "select 1 as a union all select 2",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "(SELECT 1)",
        "VALUES (1)",
        "SELECT ';' AS a, $$ ; $$ AS b, E'\\';' AS c",
        'SELECT "insert", "delete" FROM "update"',
        "SELECT replace(a, 'x', 'y'), log_level FROM t",
        "SELECT * FROM t WHERE note = 'DROP TABLE x; --'",
        "SELECT a /* ; DELETE FROM t */ FROM t -- ; DROP",
        "SELECT a @@@ b FROM t",
    ],
)
def test_reads_are_taken_as_they_are(query: str) -> None:
    """Words that write are harmless as names, texts and comments, and unknown operators are the engine's to judge."""
    assert one_select(f"{query}\n;", "postgres").rstrip() == query


def test_a_query_beyond_the_limit_is_refused() -> None:
    """The time of parsing has an end."""
    with pytest.raises(SourceError, match="characters"):
        one_select(f"SELECT '{'x' * QUERY_CHARACTERS_MAX}'", "postgres")


def test_an_open_quote_is_told() -> None:
    """A query that never ends its text says so in one line."""
    with pytest.raises(SourceError) as caught:
        one_select("SELECT 'abc", "postgres")
    assert caught.value.code == "source.query"
    assert "\n" not in caught.value.message
