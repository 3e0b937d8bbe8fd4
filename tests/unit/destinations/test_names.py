"""Names of tables and columns."""

from __future__ import annotations

import functools
import sqlite3

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.destinations.tables.names import TableName, quoted, table_name
from levada.errors import ConfigError

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)
HOSTILE = st.text(st.sampled_from("\"'`];-\\% .\nA\u02bc\uff02表"), min_size=1, max_size=15)


@functools.cache
def duck() -> duckdb.DuckDBPyConnection:
    """One connection for all examples."""
    return duckdb.connect()


@given(NAMES | HOSTILE)
def test_any_name_survives_quoting_in_sqlite_and_duckdb(name: str) -> None:
    """A quoted name is one identifier and means exactly itself, whatever it holds."""
    light = sqlite3.connect(":memory:")
    light.execute(f"CREATE TABLE t ({quoted(name)} INTEGER)")
    assert [row[1] for row in light.execute("PRAGMA table_info(t)")] == [name]
    light.close()
    assert duck().execute(f"SELECT 1 AS {quoted(name)}").description[0][0] == name


@given(NAMES | HOSTILE)
def test_a_quoted_name_ends_where_it_ends(name: str) -> None:
    """Inside the quotes every quote is doubled, for either kind of quote."""
    for mark in '"`':
        inner = quoted(name, mark)[1:-1]
        assert inner.replace(mark * 2, "") == name.replace(mark, "")
        assert inner.count(mark) == 2 * name.count(mark)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 64, "é" * 32, "\ud800"])
def test_a_name_that_no_table_has_is_refused(name: str) -> None:
    """Nothing is cut to fit, and nothing ends a statement early."""
    with pytest.raises(ConfigError):
        quoted(name)


@given(NAMES | HOSTILE, NAMES | HOSTILE)
def test_an_object_in_quotes_may_hold_anything(schema: str, table: str) -> None:
    """`"schema"."table"` with doubled quotes is read back as written."""
    written = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
    assert table_name(written) == TableName(schema, table)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a.b.c", 'a"b', '"a', '"a"b', '"a".', '""', 'x."y'])
def test_an_object_that_is_no_table_is_refused(text: str) -> None:
    """One or two parts, each with a name."""
    with pytest.raises(ConfigError):
        table_name(text)
