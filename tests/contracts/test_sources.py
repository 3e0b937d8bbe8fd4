"""One suite over every source: DuckDB, files, PostgreSQL, SQLite."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from contracts.sources import CHECKS, Check, Exact, SourceCase, name_of
from levada.source import BATCH_ROWS_MAX, Source
from levada.sources import source_type

GROWN = 3 * BATCH_ROWS_MAX
UTC_MICROSECONDS = pa.timestamp("us", "UTC")


def opened(kind: str, root: Path, **options: object) -> Source:
    """The source as a project opens it: options checked by its own class, paths from the project's folder."""
    found = source_type(kind)
    assert found is not None
    return found.open("warehouse", found.options(**options), root)


def contents(folder: Path) -> dict[str, str]:
    """Every file below a folder with a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def naive(*parts: int) -> datetime:
    """A moment without a zone, on purpose: `timestamp` columns have none."""
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type,misc]


def replace_file(newer: Path, older: Path) -> None:
    newer.replace(older)


IN_PLACE_EXACT = (
    Exact(
        "'2024-03-31 02:30:00.123456+02'::TIMESTAMPTZ_NS",
        UTC_MICROSECONDS,
        datetime(2024, 3, 31, 0, 30, 0, 123456, tzinfo=UTC),
    ),
    Exact(
        "'2024-03-31 02:30:00.1234567+02'::TIMESTAMPTZ_NS::TIMESTAMPTZ",
        UTC_MICROSECONDS,
        datetime(2024, 3, 31, 0, 30, 0, 123457, tzinfo=UTC),
    ),
    Exact("9223372036854775807::BIGINT", pa.int64(), 2**63 - 1),
    Exact("18446744073709551615::UBIGINT", pa.uint64(), 2**64 - 1),
    Exact("(-99999999999999999999999999999999999999)::HUGEINT", pa.decimal128(38), Decimal(-(10**38) + 1)),
    Exact("0.10::DECIMAL(18,2)", pa.decimal128(18, 2), Decimal("0.10")),
    Exact(
        "12345678901234567890.123456789::DECIMAL(38,9)", pa.decimal128(38, 9), Decimal("12345678901234567890.123456789")
    ),
    Exact("0.1::DOUBLE", pa.float64(), 0.1),
    Exact("'nan'::DOUBLE", pa.float64(), float("nan")),
    Exact("'-inf'::DOUBLE", pa.float64(), float("-inf")),
    Exact("1.5::FLOAT", pa.float32(), 1.5),
    Exact("true", pa.bool_(), True),
    Exact("DATE '0001-01-01'", pa.date32(), date(1, 1, 1)),
    Exact("TIMESTAMP '2024-02-29 23:59:59.999999'", pa.timestamp("us"), naive(2024, 2, 29, 23, 59, 59, 999999)),
    Exact("TIMESTAMPTZ '2024-03-31 02:30:00+02'", UTC_MICROSECONDS, datetime(2024, 3, 31, 0, 30, tzinfo=UTC)),
    Exact("'2024-01-01 00:00:00.123456789'::TIMESTAMP_NS", pa.timestamp("ns"), 1704067200123456789),
    Exact("TIME '12:34:56.000001'", pa.time64("us"), time(12, 34, 56, 1)),
    Exact("'12:00:00+02'::TIMETZ", pa.string(), "12:00:00+02"),
    Exact("INTERVAL '1 year 2 days'", pa.string(), "1 year 2 days"),
    Exact("'\\x00\\xFF'::BLOB", pa.binary(), b"\x00\xff"),
    Exact("'0001e240-0000-4000-8000-000000000000'::UUID", pa.string(), "0001e240-0000-4000-8000-000000000000", b"uuid"),
    Exact("'{\"a\": 1.10}'::JSON", pa.string(), '{"a": 1.10}', b"json"),
    Exact("[1, NULL, 3]", pa.list_(pa.field("l", pa.int32())), [1, None, 3]),
    Exact("{'a': 1, 'b': 'x'}", pa.struct([("a", pa.int32()), ("b", pa.string())]), {"a": 1, "b": "x"}),
    Exact("'a'::ENUM('a', 'b')", pa.string(), "a"),
    Exact("(repeat('9', 50))::BIGNUM", pa.string(), "9" * 50, b"numeric_text"),
)
IN_PLACE_UNFIT = (
    "'2024-03-31 00:30:00.1234567+00'::TIMESTAMPTZ_NS",
    "['2024-03-31 00:30:00.1234567+00'::TIMESTAMPTZ_NS]",
    "'infinity'::DATE",
    "'-infinity'::TIMESTAMP",
    "'infinity'::TIMESTAMPTZ",
    "170141183460469231731687303715884105727::HUGEINT",
)
IN_PLACE_WRITES = (
    "INSERT INTO grown VALUES (0)",
    "WITH gone AS (DELETE FROM grown RETURNING n) SELECT * FROM gone",
    "WITH more AS (INSERT INTO grown VALUES (0) RETURNING n) SELECT * FROM more",
    "SELECT 1; DROP TABLE grown",
    "SELECT 1) AS q; DROP TABLE grown; SELECT * FROM (SELECT 1",
    "CREATE TABLE other AS SELECT 1 AS a",
    "COPY (SELECT 1) TO 'copied.csv'",
    "COPY grown TO 'copied.parquet'",
    "EXPORT DATABASE 'exported'",
    "ATTACH 'attached.duckdb' AS other",
    "DETACH warehouse",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "RESET enable_external_access",
    "PRAGMA enable_object_cache",
    "CALL force_checkpoint()",
    "CHECKPOINT",
    "VACUUM",
    "EXPLAIN ANALYZE DELETE FROM grown",
    "PREPARE p AS DELETE FROM grown",
    "SELECT * FROM query('DELETE FROM grown RETURNING n')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM read_csv('/etc/passwd', delim = ':')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_csv('https://127.0.0.1:9/x.csv')",
    "SELECT getenv('PATH')",
    "BEGIN TRANSACTION",
    "SELECT * FROM attachment",
    "SELECT * FROM relation",
)


def in_place_counting(rows: int) -> str:
    return f"SELECT range AS n FROM range(1, {rows + 1})"


@pytest.fixture
def duckdb_case(tmp_path: Path) -> SourceCase:
    import duckdb

    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "it's a 'shop'.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE grown AS {in_place_counting(GROWN)}")
        connection.execute("CREATE SCHEMA warehouse; CREATE TABLE warehouse.customers (id INTEGER)")
        connection.execute('CREATE VIEW "odd ""name""; --" AS SELECT 1 AS a; CREATE SEQUENCE numbers')
    newer = tmp_path / "newer.duckdb"
    with duckdb.connect(str(newer)) as connection:
        connection.execute("CREATE TABLE grown AS SELECT 7::BIGINT AS n FROM range(10)")
    return SourceCase(
        source=opened("duckdb", tmp_path, path="data/it's a 'shop'.duckdb"),
        counting=in_place_counting,
        breaking="SELECT CASE WHEN range = 190000 THEN error('broken') ELSE range END AS n FROM range(200000)",
        exact=IN_PLACE_EXACT,
        unfit=IN_PLACE_UNFIT,
        tables=("grown", "warehouse.customers", '"odd ""name""; --"'),
        writes=(*IN_PLACE_WRITES, "SELECT nextval('numbers')"),
        fingerprint=lambda: contents(folder),
        growing="SELECT n FROM grown",
        change=lambda: replace_file(newer, file),
        endless="SELECT a.n FROM grown AS a, grown AS b",
    )


@pytest.fixture
def files_case(tmp_path: Path) -> SourceCase:
    import duckdb

    folder = tmp_path / "data"
    (folder / "grown").mkdir(parents=True)
    for part in range(3):
        first = part * BATCH_ROWS_MAX + 1
        rows = f"SELECT range AS n FROM range({first}, {first + BATCH_ROWS_MAX})"
        duckdb.execute(f"COPY ({rows}) TO '{folder}/grown/part-{part}.parquet'")
    (folder / "Odd [n]*me.csv").write_text("a;b\n1;2\n")
    (folder / "lines.jsonl").write_text('{"a": 1}\n')

    def change() -> None:
        duckdb.execute(f"COPY (SELECT 1::BIGINT AS n) TO '{folder}/grown/part-2.parquet'")

    return SourceCase(
        source=opened("files", tmp_path, path="data"),
        counting=in_place_counting,
        breaking="SELECT CASE WHEN n = 190000 THEN error('broken') ELSE n END AS n FROM grown",
        exact=IN_PLACE_EXACT,
        unfit=IN_PLACE_UNFIT,
        tables=("grown", '"Odd [n]*me"', "lines"),
        writes=(*IN_PLACE_WRITES, f"SELECT * FROM read_text('{tmp_path}/project/secret.txt')"),
        fingerprint=lambda: contents(folder),
        growing="SELECT n FROM grown",
        change=change,
        endless="SELECT a.n FROM grown AS a, grown AS b",
    )


@pytest.fixture
def postgres_case(postgres_url: str) -> Iterator[SourceCase]:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE grown AS SELECT n::bigint, repeat('x', 100) AS filler FROM generate_series(1, {GROWN}) n"
        )
        connection.execute('CREATE SCHEMA sales; CREATE TABLE sales."odd ""name""; --" (a int)')
        connection.execute("CREATE SEQUENCE numbers; CREATE TYPE mood AS ENUM ('good', 'bad')")
        connection.execute("CREATE TYPE place AS (street text, number numeric); CREATE DOMAIN price AS numeric(8,2)")
        connection.execute(
            "CREATE FUNCTION escape() RETURNS int LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM set_config('transaction_read_only', 'off', true); DELETE FROM grown; RETURN 1; END $$"
        )

        def fingerprint() -> object:
            return connection.execute(
                "SELECT count(*), sum(n), (SELECT last_value || is_called::text FROM numbers), "
                "(SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_largeobject_metadata) FROM grown"
            ).fetchall()

        def change() -> None:
            connection.execute("DELETE FROM grown WHERE n % 2 = 0")
            connection.execute(f"INSERT INTO grown SELECT {GROWN} + n FROM generate_series(1, 1000) n")

        def running() -> int:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'levada' AND datname = current_database()"
            ).fetchone()
            assert row is not None
            count: int = row[0]
            return count

        yield SourceCase(
            source=opened("postgres", Path(), url=postgres_url),
            counting=lambda rows: f"SELECT n FROM generate_series(1::bigint, {rows}) AS n",
            breaking="SELECT 1 / (n - 190000) AS n FROM generate_series(1::bigint, 200000) AS n",
            exact=POSTGRES_EXACT,
            unfit=POSTGRES_UNFIT,
            tables=("grown", 'sales."odd ""name""; --"'),
            writes=POSTGRES_WRITES,
            fingerprint=fingerprint,
            growing="SELECT n FROM grown",
            change=change,
            endless="SELECT a.n, a.filler FROM grown AS a, grown AS b",
            running=running,
        )


POSTGRES_EXACT = (
    Exact("9223372036854775807::int8", pa.int64(), 2**63 - 1),
    Exact("(-32768)::int2", pa.int16(), -32768),
    Exact("4294967295::oid", pa.int64(), 2**32 - 1),
    Exact("0.10::numeric(18,2)", pa.decimal128(18, 2), Decimal("0.10")),
    Exact("(-1.23)::price", pa.decimal128(8, 2), Decimal("-1.23")),
    Exact("(-0.99)::numeric(2,2)", pa.decimal128(2, 2), Decimal("-0.99")),
    Exact("99999999999999999999999999999999999999::numeric(38,0)", pa.decimal128(38), Decimal(10**38 - 1)),
    Exact("1.50::numeric", pa.string(), "1.50", b"numeric_text"),
    Exact("repeat('9', 60)::numeric", pa.string(), "9" * 60, b"numeric_text"),
    Exact("'NaN'::numeric", pa.string(), "NaN", b"numeric_text"),
    Exact("'-Infinity'::numeric", pa.string(), "-Infinity", b"numeric_text"),
    Exact("1e-30::numeric(40,35)", pa.string(), "0.00000000000000000000000000000100000", b"numeric_text"),
    Exact("12.5::float8::numeric::money", pa.string(), "12.50", b"numeric_text"),
    Exact("0.1::float8", pa.float64(), 0.1),
    Exact("'nan'::float8", pa.float64(), float("nan")),
    Exact("'-infinity'::float8", pa.float64(), float("-inf")),
    Exact("1.5::float4", pa.float32(), 1.5),
    Exact("true", pa.bool_(), True),
    Exact("'abc'::varchar(5)", pa.string(), "abc"),
    Exact("'ab'::char(3)", pa.string(), "ab "),
    Exact("'0001-01-01'::date", pa.date32(), date(1, 1, 1)),
    Exact("'9999-12-31 23:59:59.999999'::timestamp", pa.timestamp("us"), naive(9999, 12, 31, 23, 59, 59, 999999)),
    Exact("'2024-03-31 02:30:00+02'::timestamptz", UTC_MICROSECONDS, datetime(2024, 3, 31, 0, 30, tzinfo=UTC)),
    Exact("'12:34:56.000001'::time", pa.time64("us"), time(12, 34, 56, 1)),
    Exact("'12:00+02'::timetz", pa.string(), "12:00:00+02"),
    Exact("'-1 month 2 days 3.5 seconds'::interval", pa.string(), "P-1M2DT3.5S"),
    Exact("'\\x00ff'::bytea", pa.binary(), b"\x00\xff"),
    Exact("'0001e240-0000-4000-8000-000000000000'::uuid", pa.string(), "0001e240-0000-4000-8000-000000000000", b"uuid"),
    Exact('\'{"a": 1.10, "a": 2}\'::json', pa.string(), '{"a": 1.10, "a": 2}', b"json"),
    Exact("'{\"b\":1.10}'::jsonb", pa.string(), '{"b": 1.10}', b"json"),
    Exact("ROW('x', 1.50)::place", pa.string(), '{"street":"x","number":1.50}', b"json"),
    Exact("ARRAY[1, NULL, 3]", pa.list_(pa.int32()), [1, None, 3]),
    Exact("ARRAY['a', NULL, '']", pa.list_(pa.string()), ["a", None, ""]),
    Exact("'{}'::int8[]", pa.list_(pa.int64()), []),
    Exact("ARRAY[1.50, 2]::numeric[]", pa.list_(pa.string()), ["1.50", "2"]),
    Exact("ARRAY['bad'::mood]", pa.list_(pa.string()), ["bad"]),
    Exact("ARRAY['{\"a\":1.10}', '\"x\"', 'null', NULL]::jsonb[]", pa.string(), '[{"a": 1.10},"x",null,null]', b"json"),
    Exact("ARRAY['{\"a\":1.10}']::json[]", pa.string(), '[{"a":1.10}]', b"json"),
    Exact("ARRAY[ARRAY['{}'::jsonb]]", pa.string(), "[[{}]]", b"json"),
    Exact("'{}'::jsonb[]", pa.string(), "[]", b"json"),
    Exact("NULL::jsonb[]", pa.string(), None, b"json"),
    Exact("ARRAY[ROW('x', 1.50)::place]", pa.string(), '[{"street":"x","number":1.50}]', b"json"),
    Exact("to_jsonb('[0:1]={1,2}'::int[])", pa.string(), "[1, 2]", b"json"),
    Exact("ARRAY['10.0.0.1', NULL]::inet[]", pa.list_(pa.string()), ["10.0.0.1", None]),
    Exact("ARRAY['1.5', NULL]::money[]", pa.list_(pa.string()), ["1.50", None]),
    Exact("NULL::numeric[]", pa.list_(pa.string()), None),
    Exact("'good'::mood", pa.string(), "good"),
    Exact("'10.0.0.1'::inet", pa.string(), "10.0.0.1"),
    Exact("'10.0.0.0/8'::cidr", pa.string(), "10.0.0.0/8"),
    Exact("int4range(1, 5)", pa.string(), "[1,5)"),
    Exact("B'101'::varbit", pa.string(), "101"),
)
POSTGRES_UNFIT = (
    "'infinity'::date",
    "'-infinity'::date",
    "'infinity'::timestamp",
    "'-infinity'::timestamptz",
    "'294276-12-31'::timestamp",
    "'24:00:00'::time",
    "'NaN'::numeric(5,2)",
    "ARRAY[[1, 2], [3, 4]]",
    "ARRAY['infinity'::date]",
    "ARRAY[[1.5], [2.5]]",
    "'[0:1]={1,2}'::int[]",
    "'[2:3]={a,b}'::text[]",
    "'[-1:0]={1.5,2}'::numeric[]",
    "'[5:5]={2024-01-01}'::date[]",
    "'[0:0]={\"{}\"}'::jsonb[]",
    "'[1:2][0:1]={{1,2},{3,4}}'::int[]",
)
POSTGRES_WRITES = (
    "INSERT INTO grown VALUES (0)",
    "DELETE FROM grown",
    "WITH gone AS (DELETE FROM grown RETURNING n) SELECT * FROM gone",
    "WITH a AS (WITH b AS (INSERT INTO grown VALUES (0) RETURNING n) SELECT * FROM b) SELECT * FROM a",
    "SELECT 1; DROP TABLE grown",
    "SELECT 1) AS q; DROP TABLE grown; SELECT * FROM (SELECT 1",
    "SELECT 1) TO STDOUT; DROP TABLE grown; COPY (SELECT 1",
    "SELECT 1 AS a) AS q) TO STDOUT; DROP TABLE grown; --",
    "SELECT 1 /* ; */; /* */ TRUNCATE grown",
    "SELECT n INTO copied FROM grown",
    "CREATE TABLE copied AS SELECT 1 AS a",
    "SELECT * FROM grown FOR UPDATE",
    "SELECT nextval('numbers')",
    "SELECT setval('numbers', 100)",
    "SELECT escape()",
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('default_transaction_read_only', 'off', false)",
    "SET TRANSACTION READ WRITE",
    "COPY grown TO '/tmp/levada-copied'",
    "COPY grown FROM PROGRAM 'echo 0'",
    "SELECT pg_read_file('/etc/hostname')",
    "SELECT \"pg_read_file\"('/etc/hostname')",
    "SELECT pg_catalog.pg_read_binary_file('/etc/hostname')",
    "SELECT U&\"pg!005fread_file\" UESCAPE '!' ('/etc/hostname')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT lo_import('/etc/hostname')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT pg_terminate_backend(pg_backend_pid())",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_reload_conf()",
    "SELECT query_to_xml('DELETE FROM grown', true, true, '')",
    "SELECT dblink_exec('dbname=postgres', 'DELETE FROM grown')",
    "DO $$ BEGIN DELETE FROM grown; END $$",
    "EXPLAIN ANALYZE DELETE FROM grown",
    "PREPARE p AS DELETE FROM grown",
    "EXECUTE p",
    "CALL nothing()",
    "VACUUM grown",
    "LISTEN x",
    "NOTIFY x",
    "BEGIN",
    "COMMIT",
    "MERGE INTO grown USING (SELECT 1 AS a) s ON false WHEN NOT MATCHED THEN INSERT VALUES (0)",
)


@pytest.fixture
def sqlite_case(tmp_path: Path) -> SourceCase:
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "it's ?a=b #1%20.sqlite"
    writer = sqlite3.connect(file, isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("CREATE TABLE grown (n INTEGER PRIMARY KEY)")
    writer.execute(
        f"WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {GROWN}) INSERT INTO grown SELECT n FROM c"
    )
    writer.execute('CREATE VIEW "odd ""name""; --" AS SELECT 1 AS a')
    writer.execute('CREATE TABLE "order" (a)')

    def fingerprint() -> object:
        tables = writer.execute("SELECT * FROM sqlite_master").fetchall()
        return tables, writer.execute("SELECT count(*), sum(n) FROM grown").fetchall(), sorted(contents(folder))

    def change() -> None:
        writer.execute("DELETE FROM grown WHERE n % 2 = 0")
        writer.execute(f"INSERT INTO grown VALUES ({GROWN + 10})")

    return SourceCase(
        source=opened("sqlite", tmp_path, path=str(file.relative_to(tmp_path))),
        counting=lambda rows: f"WITH c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows}) SELECT n FROM c",
        breaking=f"SELECT CASE n WHEN {GROWN - 5} THEN abs(-9223372036854775808) ELSE n END AS n FROM grown",
        exact=(
            Exact("9223372036854775807", pa.int64(), 2**63 - 1),
            Exact("0.1", pa.float64(), 0.1),
            Exact("-9e999", pa.float64(), float("-inf")),
            Exact("'text'", pa.string(), "text"),
            Exact("''", pa.string(), ""),
            Exact("x'00ff'", pa.binary(), b"\x00\xff"),
            Exact("NULL", pa.string(), None),
        ),
        unfit=("CAST(x'ff' AS TEXT)",),
        tables=("grown", '"odd ""name""; --"', '"order"'),
        writes=(
            "INSERT INTO grown VALUES (0)",
            "WITH a AS (SELECT 0 AS n) INSERT INTO grown SELECT n FROM a",
            "WITH a AS (DELETE FROM grown RETURNING n) SELECT * FROM a",
            "SELECT 1; DROP TABLE grown",
            "SELECT 1) ; DROP TABLE grown; SELECT * FROM (SELECT 1",
            "CREATE TABLE other (a)",
            "CREATE TEMP TABLE other (a)",
            "ATTACH 'attached.sqlite' AS other",
            "DETACH main",
            "PRAGMA writable_schema = 1",
            "PRAGMA journal_mode = DELETE",
            "SELECT * FROM pragma_table_info('grown')",
            "VACUUM INTO 'copied.sqlite'",
            "REINDEX",
            "ANALYZE",
            "BEGIN IMMEDIATE",
            "COMMIT",
            "EXPLAIN DELETE FROM grown",
            "SELECT load_extension('nothing')",
            "SELECT writefile('written', 'x')",
            "SELECT readfile('/etc/hostname')",
        ),
        fingerprint=fingerprint,
        growing="SELECT n FROM grown",
        change=change,
        endless="SELECT a.n FROM grown AS a, grown AS b",
    )


@pytest.fixture(params=["duckdb", "files", "postgres", "sqlite"])
def case(request: pytest.FixtureRequest) -> SourceCase:
    found = request.getfixturevalue(f"{request.param}_case")
    assert isinstance(found, SourceCase)
    return found


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_a_source_keeps_its_contract(check: Check, case: SourceCase) -> None:
    """Every source keeps every promise of `levada.source.Source`."""
    check(case)
