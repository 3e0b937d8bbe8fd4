"""A user's SQL expression reaches nothing but the row that it is about, and takes no more than it may."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import claims
from contracts.planner_bench import PlannerBench
from levada import Project
from levada.errors import ConfigError, LevadaError
from levada.mapping import FieldMapping, Mapping
from levada.planners.expressions import checked
from levada.planners.local import LocalPlanner
from levada_process import small_project

FILES = """
read_csv('{secret}')
read_csv_auto('{secret}')
sniff_csv('{secret}')
read_text('{secret}')
read_blob('{secret}')
read_json('{secret}')
read_json_objects('{secret}')
read_ndjson('{secret}')
read_parquet('{secret}')
parquet_scan('{secret}')
parquet_metadata('{secret}')
parquet_schema('{secret}')
read_duckdb('{secret}')
glob('/*')
list_files('/')
(from '{secret}')
(select content from read_text('{secret}'))
exists (from read_text('{secret}'))
email in (select content from read_text('{secret}'))
email = any (select content from read_text('{secret}'))
(values (1))
(table customers)
array(select content from read_text('{secret}'))
{{'a': (select 1)}}
[(select 1)]
case when (select true) then 1 end
coalesce((select content from read_text('{secret}')), '')
(with x as (select 1) select * from x)
(with recursive x as (select 1 union all select 1 from x) select count(*) from x)
1) from read_text('{secret}') t(x) --
1) as x from read_text('{secret}') --
1 union select content from read_text('{secret}')
1) x, (select content from read_text('{secret}')
which_secret('s3://x', 's3')
duckdb_secrets()
(select * from duckdb_secrets())
(select sql from duckdb_tables())
(select * from information_schema.tables)
(select * from other)
customers
customers.email.x
""".strip().splitlines()
STATEMENTS = """
1; copy (select 1) to '{target}'
1); copy (select 1) to '{target}'; select (1
1; attach '{target}'
1); attach '{target}'; --
1; install httpfs
1; load httpfs
1); set memory_limit = '100GB'; select (1
1; pragma database_list
1; create macro lower(a) as 'x'
1; create table t (a int)
1; insert into customers values (1)
1; export database '{target}'
1; import database '/tmp'
1; call pragma_version()
1; checkpoint
1; vacuum
1; prepare p as select 1
1; use temp
copy (select 1) to '{target}'
attach '{target}' as x
install httpfs
pragma version
set threads = 1
select 1
select email from customers
insert into customers values (1)
delete from customers
drop table customers
create macro f(a) as a
describe customers
show tables
explain select 1
from customers
""".strip().splitlines()
SERVER = """
getenv('LEVADA_CANARY')
getvariable('x')
current_setting('home_directory')
set_config('threads', '1')
pragma_database_list()
pragma_table_info('customers')
pragma_version()
version()
current_database()
current_schema()
current_schemas(true)
current_user
session_user
user
current_query()
current_connection_id()
txid_current()
in_search_path('main', 'x')
query('select 1')
query_table('customers')
json_execute_serialized_sql('x')
json_serialize_sql('select 1')
from_substrait('x')
sql_auto_complete('x')
add_parquet_key('a', 'b')
enable_logging()
write_log('x')
parse_duckdb_log_message('x', 'y')
duckdb_settings()
duckdb_functions()
stats(email)
vector_type(email)
sleep_ms(60000)
error('x')
nextval('s')
currval('s')
hash(email)
getcwd()
now()
random()
uuid()
gen_random_uuid()
current_timestamp
""".strip().splitlines()
SHAPES = """
*
customers.*
columns(*)
columns(c -> true)
count(*)
sum(score)
list(email)
string_agg(email, ',')
first(email)
row_number() over ()
lag(email) over (order by id)
list_transform([1], x -> x)
list_filter([1], lambda x: true)
list_reduce([1, 2], (x, y) -> x)
apply([1], x -> x)
[x for x in [1, 2]]
list_aggregate([1], 'sum')
array_aggr([1], 'sum')
list_apply([1], x -> x)
unnest([1, 2])
generate_series(1, 1000000000000)
range(1000000000000)
generate_subscripts([1], 1)
$1
?
:name
#1
default
email collate nocase
main.lower(email)
system.main.lower(email)
"main"."getenv"('HOME')
lower(email) filter (where true)
lower(distinct email)
x'); drop table customers; --
email" from customers --
'open
"open
$$open
/* open
email\x00
1 as y, 2 as x
1 as x from (select 2
1 limit 1
1 order by 1
1 where false
1 group by 1
1 having true
1 window w as ()
try(getenv('HOME'))
email::variant
email::json::variant
json_contains(email, '1')
""".strip().splitlines()
LARGE = """
repeat('a', 1000000000)
repeat(email, 1000000)
repeat(email, score)
repeat(email, length(email))
repeat(repeat(repeat('a', 1000), 1000), 1000)
repeat(hex(repeat(email, 1000)), 100)
lpad('a', 1000000000, 'x')
rpad(email, 2000000000, 'x')
rpad(email, score, 'x')
format('{:>1000000000}', 'a')
format('{:{}}', 'a', 1000000000)
format(email, 'a')
printf('%1000000000d', 1)
printf('%*d', 1000000000, 1)
list_resize([1], 1000000000)
list_resize([1], score)
replace(replace(repeat('a', 10000), 'a', repeat('a', 10000)), 'a', 'bb')
replace(replace(replace(replace(email, 'a', email), 'a', email), 'a', email), 'a', email)
regexp_replace(repeat('a', 10000), '', repeat('b', 10000), 'g')
levenshtein(repeat(email, 10000), repeat('b', 10000))
jaccard(repeat(email, 10000), repeat(email, 10000))
damerau_levenshtein(repeat(email, 10000), email)
array_to_string(list_resize(['a'], 10000), repeat('b', 10000))
concat_ws(repeat('x', 9999), {commas})
list_select([email], list_resize([1], 10000)) || repeat('a', 1000000)
""".strip().splitlines()
DEEP = {
    "hex in hex": "hex(" * 60 + "email" + ")" * 60,
    "json in json": "to_json(" * 30 + "email" + ")" * 30,
    "escapes of escapes": "regexp_escape(" * 60 + "email" + ")" * 60,
    "a long sum": "+".join(["score"] * 900),
    "a very long sum": "+".join(["score"] * 6_000),
    "lists in lists": "[" * 900 + "1" + "]" * 900,
    "brackets": "(" * 5_000 + "1" + ")" * 5_000,
    "calls in calls": "lower(" * 3_000 + "email" + ")" * 3_000,
    "signs": "- " * 9_000 + "1",
    "open brackets": "(" * 19_000,
    "endless": "1" + " " * 30_000,
    "casts": "email" + "::varchar" * 2_000,
}
COLUMNS = ["id", "email", "score"]
CANARY = "canary-of-the-environment"


def _corpus(folder: Path) -> list[str]:
    secret, target = folder / "secret.txt", folder / "target"
    shaped = [text.format(secret=secret, target=target) for text in FILES + STATEMENTS]
    large = [text.replace("{commas}", ", ".join(["email"] * 200)) for text in LARGE]
    return [*shaped, *SERVER, *(text.replace("\\x00", "\x00") for text in SHAPES), *large, *DEEP.values()]


@pytest.mark.claim("S21")
def test_no_expression_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figure: claims.Figure) -> None:
    """Each is refused by the name of its field when a plan is made, and nothing was read, written or told."""
    monkeypatch.setenv("LEVADA_CANARY", CANARY)
    (tmp_path / "secret.txt").write_text(CANARY)
    before = _listing(tmp_path)
    corpus = _corpus(tmp_path)
    assert len(corpus) == len(set(corpus)) > 200
    for text in corpus:
        with pytest.raises(ConfigError) as caught:
            checked(text, COLUMNS, subject="fields.tier")
        assert caught.value.code == "config.expression", text[:100]
        assert caught.value.message.startswith("fields.tier: "), text[:100]
        assert CANARY not in f"{caught.value}", text[:100]
    assert _listing(tmp_path) == before
    figure("S21", f"{len(corpus)} expressions that escape, name the world or grow: {len(corpus)} refused by name")


def _listing(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "text", ["getenv('HOME')", "(select 1)", "repeat(email, 100000000)", "1; drop table t", "[x for x in [1]]"]
)
def test_an_expression_is_refused_before_a_row_is_read(tmp_path: Path, text: str) -> None:
    """The model cannot be read at all, which would be the complaint if somebody had tried."""
    model = "/*\nsource: shop\nkey: id\n*/\nselect id, cast(email as integer) as email, score from customers\n"
    small_project(tmp_path, 3, {"model": model})
    sync = tmp_path / "syncs/customers_to_crm.yml"
    with Project.open(tmp_path) as project, pytest.raises(LevadaError) as caught:
        project.plan("customers_to_crm")
    assert caught.value.code == "source.query"
    sync.write_text(sync.read_text().replace("score: score", f'score: {{sql: "{text}"}}'))
    with Project.open(tmp_path) as project, pytest.raises(LevadaError) as caught:
        project.plan("customers_to_crm")
    assert caught.value.code == "config.expression"
    assert str(caught.value.where).startswith("syncs/customers_to_crm.yml:")


def test_every_expression_of_a_mapping_passes_the_check(tmp_path: Path) -> None:
    """There is no way around it: in each place where a mapping takes SQL."""
    small_project(tmp_path, 1)
    with Project.open(tmp_path) as project:
        columns = project.world.source("shop").columns("select * from customers")
        fields = (FieldMapping("a", "column", "email"), FieldMapping("tier", "sql", "getenv('HOME')"))
        with pytest.raises(ConfigError) as caught:
            project.world.planner.types(Mapping(fields, ("a",)), columns)
        assert caught.value.code == "config.expression"


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("levenshtein(email, score)", 10_000),
        ("hex(repeat(email, 100))", 100_000),
        ("upper(email)", 10_000_000),
        ("replace(email, 'a', email)", 10_000),
    ],
)
def test_a_row_with_a_long_text_is_invalid_where_an_expression_would_compute_for_long(
    text: str, characters: int, tmp_path: Path
) -> None:
    """DuckDB hears nothing inside of one call: how long it takes is bounded by how long the texts of a row may be."""
    text_type: pa.DataType = pa.string()
    columns = pa.schema([("id", text_type), ("email", text_type), ("score", text_type)])
    rows = [("1", "a", "b"), ("2", "a" * (characters + 1), "b" * (characters + 1)), ("3", None, None)]
    table = pa.Table.from_pylist([dict(zip(columns.names, row, strict=True)) for row in rows], schema=columns)
    assert checked(text, columns.names).characters_max == characters
    fields = (FieldMapping("id", "column", "id"), FieldMapping("x", "sql", text))
    planned = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path).plan(table, Mapping(fields, ("id",)))
    assert (planned.plan.counts.added, planned.plan.counts.invalid) == (2, 1)
    [row] = planned.invalid
    assert (row["code"], row["field"]) == ("too_long", "x")
    assert f"{characters:,} characters" in row["reason"]


HEAVY = [
    "repeat(name, 1000)",
    "lpad(name, 10000, 'x')",
    "rpad(name, 10000, name)",
    "printf('%10000d', 1)",
    "format('{:>10000}', name)",
    "to_json(to_json(to_json(name)))",
    "repeat('-', least(length(name), 40))",
    "len(list_resize([1], 10000))",
    "replace(name, 'n', repeat(name, 10))",
    "levenshtein(repeat(name, 10), repeat('b', 100))",
]
MEASURE = r"""
import re, sys
from pathlib import Path
import duckdb
from levada.planners.expressions import checked

connection = duckdb.connect(config={"memory_limit": "256MB", "threads": 1})
connection.execute("CREATE TABLE model AS SELECT 'n' || i AS name FROM range(2500) t(i)")
for text in sys.stdin.read().splitlines():
    (rows,) = connection.execute(f"SELECT count({checked(text, ['name']).sql}) FROM model").fetchone()
    assert rows == 2500, text
# not ru_maxrss, which begins with what the parent held
print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def test_what_passes_stays_within_memory() -> None:
    """The largest that may be asked for, over more rows than DuckDB takes at once, in a process that is measured."""
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE],
        input="\n".join(HEAVY),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": "src"},
        timeout=120,
    )
    assert int(ended.stdout) < 512, "megabytes"


@pytest.mark.parametrize(
    "text",
    [
        "replace(replace(replace(email, ' ', ''), '-', ''), '.', '')",
        "replace(replace('Dear {first} {last}', '{first}', email), '{last}', email)",
        "regexp_replace(regexp_replace(email, '[^0-9]', '', 'g'), '^0', '+34')",
        "lpad(cast(id as varchar), 10, '0')",
        "repeat('*', least(length(email), 30)) || right(email, 4)",
        "upper(left(email, 1)) || lower(substr(email, 2))",
        "to_json({'a': email, 'b': [score, id]})",
        "sha256(lower(trim(email)))",
        "jaro_winkler_similarity(email, 'x')",
        "printf('%05d', id) || format('{:.2f}', score)",
        "case " + " ".join(f"when id = {n} then 'tier {n}'" for n in range(200)) + " end",
        "email in (" + ", ".join(f"'{n}@example.com'" for n in range(1000)) + ")",
        "string_split(email, '@')[1]",
        "strftime(date '2026-01-01', '%Y-%m-%d')",
    ],
)
def test_everyday_expressions_pass(text: str) -> None:
    """The limits are far from what people write."""
    checked(text, COLUMNS)
