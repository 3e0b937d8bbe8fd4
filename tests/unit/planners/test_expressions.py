"""Users' expressions: what passes, what does not, and where errors point."""

from __future__ import annotations

import duckdb
import pytest

from levada.errors import ConfigError
from levada.planners.expressions import FUNCTIONS, checked

COLUMNS = ["id", "Name", "amount", "seen", "tags", "Order"]

PASSING = [
    "round(amount, 2)",
    "case when amount > 10 then 'gold' else 'none' end",
    "NAME || ' ' || upper(name)",
    "coalesce(name, 'x')",
    "try_cast(name as decimal(10, 2))",
    "amount::varchar",
    "date_trunc('month', seen)",
    "extract(year from seen)",
    "seen at time zone 'Europe/Madrid'",
    "seen + interval 3 day",
    "name like 'a%' and not (name ilike '%b') or name similar to 'c+'",
    "tags[1]",
    "amount in (1, 2, 3)",
    "amount between 1 and 2",
    "regexp_replace(name, '[^a-z]', '', 'g')",
    "{'a': name, 'b': [1, 2]}",
    "map {'a': amount}",
    "json_object('a', name)",
    "sha256(lower(trim(name)))",
    '"Order"',
    "-amount % 3",
    "nullif(name, '') is null",
    "name is distinct from 'a'",
    "1 -- a comment at the end",
    "/* a */ 1",
    "date '2026-03-01'",
    "if(amount > 1, 'a', 'b')",
]

ESCAPES = [
    "(select 1)",
    "exists (select 1)",
    "name in (select name from model)",
    "1) from (select 2",
    "1), (2",
    "1) as y, (2",
    "1); drop table x; select (1",
    "1; select 2",
    "1) union all select (2",
    "name) from read_csv('/etc/passwd') t(name) --",
    "1 from x",
    "*",
    "columns('n.*')",
    "columns(*)",
    "count(*)",
    "sum(amount)",
    "any_value(name)",
    "row_number() over ()",
    "sum(amount) over (partition by id)",
    "list_transform(tags, lambda x: x)",
    "list_transform(tags, x -> x)",
    "[x for x in tags]",
    "read_text('/etc/passwd')",
    "read_csv('/etc/passwd')",
    "read_blob('/etc/passwd')",
    "glob('/etc/*')",
    "getenv('HOME')",
    "getvariable('x')",
    "current_setting('memory_limit')",
    "random()",
    "uuid()",
    "gen_random_uuid()",
    "now()",
    "current_date",
    "current_timestamp",
    "today()",
    "nextval('s')",
    "setseed(0.5)",
    "unnest(tags)",
    "generate_series(1, 10)",
    "range(1000000000)",
    "repeat('a', 10)) from range(10",
    "query('select 1')",
    "query_table('x')",
    "write_log('x')",
    "sleep_ms(1000)",
    "error('x')",
    "$1",
    "?",
    "#1",
    "default",
    "name collate nocase",
    "main.lower(name)",
    "system.main.lower(name)",
    "count(distinct name)",
    "lower(name) filter (where true)",
    "string_agg(name, ',' order by name)",
    "pragma_version()",
    "version()",
    "duckdb_settings()",
    "",
    " ",
    "'unterminated",
    "/* unterminated",
    "name\x00",
    "(((((",
]


@pytest.mark.parametrize("text", PASSING)
def test_a_scalar_expression_passes_and_means_what_duckdb_says(text: str) -> None:
    """What passes can be run over the model's columns as it stands."""
    expression = checked(text, COLUMNS)
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE model AS SELECT 1 AS id, 'ab' AS name, 12.345 AS amount, "
        "TIMESTAMP '2026-03-01 10:00:00' AS seen, ['x'] AS tags, 7 AS \"Order\""
    )
    assert len(connection.execute(f"SELECT {expression.sql} FROM model").fetchall()) == 1


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_but_a_scalar_expression_passes(text: str) -> None:
    """Sub-queries, files, aggregates, windows, lambdas, volatile functions and broken text are ConfigErrors."""
    with pytest.raises(ConfigError) as caught:
        checked(text, COLUMNS)
    assert caught.value.code == "config.expression"


def test_columns_are_found_whatever_their_case() -> None:
    """As DuckDB does; their own names are reported."""
    assert set(checked("upper(NAME) || iD", COLUMNS).columns) == {"Name", "id"}


def test_an_unknown_column_is_named_with_the_nearest_and_its_place() -> None:
    """Line and column count inside the expression."""
    with pytest.raises(ConfigError, match=r"'amuont' \(line 2, column 5") as caught:
        checked("1 +\n    amuont", COLUMNS)
    assert "amount" in (caught.value.hint or "")


def test_an_unknown_function_is_named_with_the_nearest() -> None:
    """A slip of the pen is told from a function that may not be used."""
    with pytest.raises(ConfigError, match="lowr") as caught:
        checked("lowr(name)", COLUMNS)
    assert "lower" in (caught.value.hint or "")


def test_expressions_are_bounded() -> None:
    """Neither endless text nor a tree of endless parts is worked on."""
    for text in ("1 + " * 30_000 + "1", "+".join(["1"] * 6_000)):
        with pytest.raises(ConfigError):
            checked(text, COLUMNS)


def test_no_allowed_function_is_volatile_or_reads_the_world() -> None:
    """The list holds only functions that DuckDB itself calls consistent, and none of tables or aggregates."""
    rows = duckdb.connect().execute(
        "SELECT function_name, list(DISTINCT stability), list(DISTINCT function_type) "
        "FROM duckdb_functions() GROUP BY 1"
    )
    kinds = {name: (set(stability), set(types)) for name, stability, types in rows.fetchall()}
    for name in FUNCTIONS & kinds.keys():
        stability, types = kinds[name]
        assert "VOLATILE" not in stability, name
        assert types & {"scalar", "macro"}, name
        assert "aggregate" not in types, name
