"""Names of tables and columns, and URLs of databases."""

from __future__ import annotations

import functools
import sqlite3

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.destinations.mysql import SETTINGS as MYSQL_SETTINGS
from levada.destinations.postgres import SETTINGS as POSTGRES_SETTINGS
from levada.destinations.postgres import PostgresEngine
from levada.destinations.tables.names import TableName, quoted, table_name
from levada.destinations.tables.urls import DatabaseUrl, database_url
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


def postgres(text: str) -> DatabaseUrl:
    return database_url(text, ("postgresql", "postgres"), 5432, POSTGRES_SETTINGS)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///shop",
        "postgresql://user@/shop",
        "postgresql://%2Fvar%2Frun/shop",
        "postgresql://u@a,b/shop",
        "postgresql://u@h/",
        "postgresql://u@h",
        "postgresql://u@h/shop?host=/tmp",
        "postgresql://u@h/shop?service=x",
        "postgresql://u@h/shop?passfile=/etc/passwd",
        "postgresql://u@h/shop?options=-c%20x",
        "postgresql://u@h:port/shop",
        "mysql://u@h/shop",
        "file:///etc/passwd",
        "host=/tmp dbname=shop",
        "",
    ],
)
def test_a_url_that_leads_elsewhere_is_refused(url: str) -> None:
    """No sockets, no files of passwords, no several hosts, no settings that nobody looked at."""
    with pytest.raises(ConfigError):
        postgres(url)


def test_the_words_of_a_refusal_hold_no_password() -> None:
    """An error about a URL repeats none of it that is secret."""
    for url in ("postgresql://u:hunter22@/x", "postgresql://u:hunter22@h:99999999/x", "nope://u:hunter22@h/x"):
        with pytest.raises(ConfigError) as caught:
            postgres(url)
        assert "hunter22" not in str(caught.value)
    assert "hunter22" not in repr(postgres("postgresql://u:hunter22@h/x"))


@given(NAMES, NAMES, NAMES.filter(lambda name: "/" not in name))
def test_a_url_is_passed_on_as_it_was_meant(user: str, password: str, database: str) -> None:
    """Whatever a user, a password and a database are called, the driver's URL means the same."""
    first = DatabaseUrl("db.example.com", 5432, database, user, password)
    assert postgres(first.written("postgresql", {})) == first


def test_tls_is_verified_beyond_this_machine() -> None:
    """Without a word in the URL the server's certificate and name are checked; loopback needs no TLS."""
    beyond = PostgresEngine(postgres("postgresql://u:p@db.example.com/shop"))._uri()
    assert "sslmode=verify-full" in beyond
    assert "sslrootcert=system" in beyond
    assert "sslmode" not in PostgresEngine(postgres("postgresql://u:p@127.0.0.1/shop"))._uri()
    chosen = PostgresEngine(postgres("postgresql://u:p@db.example.com/shop?sslmode=require"))._uri()
    assert "sslmode=require" in chosen
    assert "sslrootcert" not in chosen


def test_a_mysql_url_takes_its_own_settings() -> None:
    """ssl_mode and the files it needs, and nothing that reads files of this machine into a table."""
    assert database_url("mysql://u@h/x?ssl_mode=required", ("mysql",), 3306, MYSQL_SETTINGS).port == 3306
    with pytest.raises(ConfigError):
        database_url("mysql://u@h/x?local_infile=1", ("mysql",), 3306, MYSQL_SETTINGS)
