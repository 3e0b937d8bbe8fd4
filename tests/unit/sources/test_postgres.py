"""PostgreSQL as a source, where connections break, credentials are wrong, and values do not fit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.sources import table_of
from levada.database import read_url
from levada.destinations.postgres import PostgresEngine
from levada.errors import AccessError, ConfigError, LevadaError, SourceError
from levada.libpq import PARAMETERS
from levada.source import TYPE_KEY
from levada.sources.postgres import TYPE, PostgresSource
from servers.fault_proxy import ALL, Fault, FaultProxy
from servers.postgres import PASSWORD, PostgresServer


def source(url: str, **options: object) -> PostgresSource:
    found = TYPE.open("warehouse", TYPE.options.model_validate({"url": url, **options}), Path())
    assert isinstance(found, PostgresSource)
    return found


@pytest.fixture
def execute(postgres_url: str) -> Iterator[Callable[[str], None]]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def run(statement: str) -> None:
            connection.execute(statement.encode())

        yield run


@pytest.mark.parametrize("cut_after", [0, 100, 3_000, 200_000, 5_000_000])
def test_a_connection_that_breaks_is_an_error_at_any_byte(postgres_server: PostgresServer, cut_after: int) -> None:
    """While connecting, describing, or streaming: the read never ends as if it were complete."""
    with FaultProxy(postgres_server.port, http=False) as proxy:
        proxy.fault = Fault("reset", "answer", at=cut_after, times=ALL)
        broken = source(postgres_server.url(port=proxy.port))
        arrived = _batches(broken, "SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)")
        with pytest.raises(SourceError) as caught:
            pa.Table.from_batches(list(arrived))
    assert caught.value.code in ("source.unreachable", "source.read")
    assert PASSWORD not in str(caught.value)


def _batches(found: PostgresSource, query: str) -> Iterator[pa.RecordBatch]:
    with found.read(query) as batches:
        yield from batches


def test_a_server_that_ends_the_session_is_an_error(postgres_url: str, execute: Callable[[str], None]) -> None:
    """A backend that an administrator ends half-way fails the read."""
    with source(postgres_url).read("SELECT repeat('x', 1000) AS x FROM generate_series(1, 200000)") as batches:
        next(batches)
        execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'levada'")
        with pytest.raises(SourceError) as caught:
            list(batches)
    assert caught.value.code == "source.read"


@pytest.mark.parametrize(
    ("change", "kind", "code"),
    [
        ((PASSWORD, "wr0ng-Secret"), AccessError, "access.source"),
        (("//levada:", "//nobody:"), AccessError, "access.source"),
        (("127.0.0.1", "levada.invalid"), SourceError, "source.unreachable"),
        ((r":\d+/", ":1/"), SourceError, "source.unreachable"),
        ((r"/t_\w+", "/no_such_database"), ConfigError, "source.missing"),
        ((r"$", "?sslmode=require"), ConfigError, "source.url"),
        ((r"$", "?sslmode=sometimes"), ConfigError, "source.url"),
    ],
)
def test_what_cannot_be_opened_says_who_must_act(
    postgres_url: str, change: tuple[str, str], kind: type[LevadaError], code: str
) -> None:
    """A wrong credential, host, database or setting: one line, a hint, and no password in either."""
    url = re.sub(change[0], change[1], postgres_url, count=1)
    assert url != postgres_url
    found = source(url)
    for ask in (found.check, found.tables, lambda: found.columns("SELECT 1 AS a")):
        with pytest.raises(kind) as caught:
            ask()
        assert caught.value.code == code
        assert caught.value.hint
        assert "\n" not in caught.value.message
        for secret in (PASSWORD, "wr0ng-Secret"):
            assert secret not in str(caught.value)
            assert secret not in repr(caught.value.__cause__)
            assert secret not in repr(found)


def test_a_password_in_any_spelling_is_not_shown(postgres_url: str) -> None:
    """Percent-encoded in the URL, or as an option of its own, letter by letter."""
    secret = "p@ss/w%rd:1"
    parts = read_url(postgres_url, PARAMETERS, "source.url")
    apart = {"host": parts.host, "port": parts.port, "user": parts.user, "database": parts.database}
    for options in (
        {"url": postgres_url.replace(PASSWORD, "p%40ss%2Fw%25rd%3A1")},
        {**apart, "password": secret},
        {**apart, "password": secret, "parameters": {"sslmode": "disable"}},
    ):
        with pytest.raises(AccessError) as caught:
            TYPE.open("warehouse", TYPE.options.model_validate(options), Path()).check()
        assert secret not in str(caught.value)
        assert "p%40ss" not in str(caught.value)
    TYPE.open("warehouse", TYPE.options.model_validate({**apart, "password": PASSWORD}), Path()).check()


@pytest.mark.parametrize(
    "query", ["password=x", "user=x", "no_such_setting=1", "host=/tmp", "options=-c%20x", "passfile=/x", "service=x"]
)
def test_parameters_that_are_not_known_are_refused(postgres_url: str, query: str) -> None:
    """By their name, before anything is connected to."""
    with pytest.raises(ConfigError) as caught:
        source(f"{postgres_url}?{query}")
    assert caught.value.code == "source.url"


def test_nothing_of_whoever_runs_levada_is_borrowed(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No password, option, service, certificate or zone of the environment or the home folder, as a source and as a
    destination; the variables are there again afterwards."""
    parts = read_url(postgres_url, PARAMETERS, "source.url")
    (tmp_path / ".postgresql").mkdir()
    for name in ("postgresql.crt", "postgresql.key", "root.crt"):
        (tmp_path / ".postgresql" / name).write_text("not a certificate")
    (tmp_path / ".pgpass").write_text(f"*:*:*:*:{PASSWORD}\n")
    (tmp_path / ".pgpass").chmod(0o600)
    (tmp_path / ".pg_service.conf").write_text("[mine]\nhost=192.0.2.1\n")
    variables = {
        "HOME": str(tmp_path), "PGPASSWORD": PASSWORD, "PGOPTIONS": "-c work_mem=77MB", "PGSERVICE": "nowhere",
        "PGHOST": "192.0.2.1", "PGHOSTADDR": "192.0.2.1", "PGUSER": "nobody", "PGTZ": "Asia/Tokyo", "PGAPPNAME": "mine",
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nowhere", "PGREQUIREAUTH": "none", "PGDATESTYLE": "German",
        "PGPASSFILE": str(tmp_path / ".pgpass"), "PGTARGETSESSIONATTRS": "standby", "PGSERVICEFILE": "/nowhere",
    }  # fmt: skip
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    query = "SELECT current_setting('work_mem') AS w, current_setting('application_name') AS n"
    assert table_of(source(postgres_url), query).to_pylist() == [{"w": "4MB", "n": "levada"}]
    PostgresEngine(parts).connect().close()
    assert {name: os.environ[name] for name in variables} == variables
    unknown = replace(parts, password=None)
    with pytest.raises(AccessError):
        source(postgres_url.replace(f":{PASSWORD}", "")).check()
    with pytest.raises(AccessError):
        PostgresEngine(unknown).connect()


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("SELECT 1 AS id,\n  '漢字' AS name, nope\nFROM pg_class; -- the end", "nope"),
        ("SELECT 1 AS id\nFRM pg_class", "FRM"),
        ("SELECT nope(1) AS id", "nope"),
        ("SELECT 1 AS id,\n 1 IN (SELECT 1, 2)", "IN"),
        ("SELECT *\nFROM nowhere", "nowhere"),
    ],
)
def test_the_place_in_a_query_that_the_server_refuses_is_told(postgres_url: str, query: str, wrong: str) -> None:
    """By the characters before it, whatever they take in bytes; the words are the server's, on one line."""
    with pytest.raises(SourceError) as caught:
        source(postgres_url).columns(query)
    assert caught.value.offset == query.index(wrong)
    assert "\n" not in caught.value.message


def test_a_table_that_may_not_be_read_is_an_access_error(
    postgres_server: PostgresServer, postgres_url: str, execute: Callable[[str], None]
) -> None:
    """The error says which right is missing; `tables` lists only what may be read."""
    database = postgres_url.rpartition("/")[2]
    execute(f"CREATE ROLE reader_{database} LOGIN PASSWORD 'reader-Secret'")
    try:
        execute("CREATE TABLE open_to_all (a int); CREATE TABLE closed (a int)")
        execute(f"GRANT SELECT ON open_to_all TO reader_{database}")
        found = source(postgres_url.replace(f"levada:{PASSWORD}", f"reader_{database}:reader-Secret"))
        assert found.tables() == ("open_to_all",)
        assert table_of(found, "SELECT * FROM open_to_all").num_rows == 0
        with pytest.raises(AccessError, match="permission denied") as caught:
            table_of(found, "SELECT * FROM closed")
        assert "SELECT" in str(caught.value.hint)
    finally:
        execute(f"DROP OWNED BY reader_{database}; DROP ROLE reader_{database}")


def test_a_slow_read_is_stopped_by_the_server(postgres_url: str) -> None:
    """`statement_timeout_seconds` holds for the whole read, the first row and the last."""
    found = source(postgres_url, statement_timeout_seconds=0.2)
    for query in (
        "SELECT pg_sleep(5)::text AS x",
        "SELECT i, pg_sleep(0.01)::text AS x FROM generate_series(1, 500) i",
    ):
        with pytest.raises(SourceError) as caught:
            table_of(found, query)
        assert caught.value.code == "source.timeout"


def test_names_are_looked_up_in_the_schema_first(postgres_url: str, execute: Callable[[str], None]) -> None:
    """`schema:` comes before public, is quoted, and must exist."""
    execute("CREATE TABLE t AS SELECT 'public' AS place")
    execute('CREATE SCHEMA "My ""S"""; CREATE TABLE "My ""S""".t AS SELECT \'mine\' AS place')
    assert table_of(source(postgres_url), "SELECT place FROM t").column(0).to_pylist() == ["public"]
    mine = source(postgres_url, schema='My "S"')
    mine.check()
    assert mine.tables() == ("public.t", "t")
    assert table_of(mine, "SELECT place FROM t").column(0).to_pylist() == ["mine"]
    with pytest.raises(ConfigError, match="no schema 'nope'") as caught:
        source(postgres_url, schema="nope").check()
    assert caught.value.path == ("schema",)


def test_errors_do_not_quote_rows(postgres_url: str, execute: Callable[[str], None]) -> None:
    """A value that does not fit a cast, and the details of the server, may be a person's data."""
    execute("CREATE TABLE t AS SELECT 'mary@example.com' AS email")
    with pytest.raises(SourceError) as caught:
        table_of(source(postgres_url), "SELECT email::int AS x FROM t")
    assert "mary" not in str(caught.value)


def test_the_servers_zone_and_styles_change_no_value(postgres_url: str, execute: Callable[[str], None]) -> None:
    """The database's own zone and styles do not reach what is read; its order of dates in literals still holds."""
    name = postgres_url.rpartition("/")[2]
    for setting in ("TimeZone TO 'Asia/Tokyo'", "DateStyle TO 'German, DMY'", "IntervalStyle TO 'sql_standard'"):
        execute(f'ALTER DATABASE "{name}" SET {setting}')
    execute(f'ALTER DATABASE "{name}" SET extra_float_digits TO -5')
    execute(f'ALTER DATABASE "{name}" SET bytea_output TO escape')
    table = table_of(
        source(postgres_url),
        "SELECT '2024-01-02 00:00+00'::timestamptz::text AS a, interval '1 day' AS b,"
        " tstzrange('2024-01-02 00:00+00', NULL) AS c, ARRAY[0.1::float8]::text[] AS d, '02/03/2024'::date::text AS e",
    )
    assert table.to_pylist() == [
        {
            "a": "2024-01-02 00:00:00+00",
            "b": "P1D",
            "c": '["2024-01-02 00:00:00+00",)',
            "d": ["0.1"],
            "e": "2024-03-02",
        }
    ]


def test_a_read_only_transaction_is_what_the_server_sees(postgres_url: str) -> None:
    """The session itself says that it cannot write and that it reads one snapshot."""
    query = (
        "SELECT current_setting('transaction_read_only') AS a, current_setting('transaction_isolation') AS b,"
        " current_setting('application_name') AS c"
    )
    assert table_of(source(postgres_url), query).to_pylist() == [{"a": "on", "b": "repeatable read", "c": "levada"}]


@settings(max_examples=25, deadline=None)
@given(
    values=st.lists(
        st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**13), max_value=10**13),
        min_size=1,
        max_size=40,
    )
)
def test_decimals_arrive_digit_by_digit(postgres_server: PostgresServer, values: list[Decimal | None]) -> None:
    """numeric(p,s) is a decimal of that size; numeric without one is the server's own digits."""
    rows = ", ".join(
        f"({index}, {'NULL' if value is None else f'{value:f}'}::numeric)" for index, value in enumerate(values)
    )
    table = table_of(
        source(postgres_server.url()),
        f"SELECT v::numeric(18,4) AS sized, v AS free FROM (VALUES {rows}) AS t (i, v) ORDER BY i",
    )
    assert table.schema.field("sized").type == pa.decimal128(18, 4)
    assert (table.schema.field("free").metadata or {})[TYPE_KEY] == b"numeric_text"
    assert table.column("sized").to_pylist() == values
    assert [None if v is None else Decimal(v) for v in table.column("free").to_pylist()] == values


def test_a_million_values_stay_in_order(postgres_url: str) -> None:
    """Slicing the driver's batches neither drops nor doubles a row, and keeps the query's order."""
    expected = 1
    with source(postgres_url).read(
        "SELECT i, (i / 4.0)::numeric(12,2) AS d FROM generate_series(1, 300000) i"
    ) as batches:
        for batch in batches:
            numbers = batch.column("i").to_pylist()
            assert numbers == list(range(expected, expected + len(numbers)))
            assert batch.column("d")[0].as_py() == Decimal(expected) / 4
            expected += len(numbers)
    assert expected == 300_001
