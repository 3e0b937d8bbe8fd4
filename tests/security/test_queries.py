"""A user's SQL reads, whatever it tries: real databases are the same afterwards, and so is the disk."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import duckdb
import psycopg
import pytest

import claims
from levada.errors import LevadaError
from levada.source import Cautious, Source
from levada.sources import source_type
from servers.postgres import USER, PostgresServer

COMMON = """
insert into t values (9, 'x')
insert into t select 9, 'x'
update t set b = 'x'
delete from t
drop table t
truncate t
alter table t add column c int
create table u (a int)
create table u as select 1
create view v as select 1
create index i on t (a)
create temp table u as select 1
select 1; delete from t
select 1;; delete from t
; delete from t
select 1 /* ; */; drop table t --
with x as (delete from t returning a) select * from x
with x as (insert into t values (9, 'x') returning a) select * from x
with x as (update t set b = 'x' returning a) select * from x
with x as materialized (delete from t returning a) select * from x
select * from (delete from t returning a) as x
select * from (insert into t values (9, 'x') returning *) as x
select 1) as x; delete from t; select * from (select 1
1) as x; drop table t; --
select 1) x; drop table t; select * from (select 1
begin; delete from t; commit
commit
rollback
savepoint x
vacuum
analyze
explain delete from t
explain analyze delete from t
grant all on t to public
values (1); drop table t
table t; drop table t
select 1 \x00; drop table t
""".strip().splitlines()
POSTGRES = """
copy t to '{target}'
copy (select 1) to '{target}'
copy (select 1) to program 'touch {target}'
copy t from program 'echo 9,x'
select 1 into u
select * into temp u from t
select * from t for update
select * from t for share
select nextval('s')
select setval('s', 99)
select currval('s') + nextval('s')
select set_config('default_transaction_read_only', 'off', false)
set transaction read write
set session characteristics as transaction read write
reset all
select lo_create(4242)
select lo_from_bytea(4243, 'x')
select lo_import('/etc/passwd')
select lo_export(4242, '{target}')
select pg_read_file('/etc/passwd')
select pg_read_binary_file('/etc/passwd')
select pg_ls_dir('/')
select pg_file_write('{target}', 'x', true)
select pg_advisory_lock(1)
select pg_terminate_backend(pg_backend_pid())
select pg_cancel_backend(pg_backend_pid())
select pg_reload_conf()
select pg_rotate_logfile()
select pg_switch_wal()
select pg_notify('a', 'b')
select pg_create_restore_point('x')
select pg_logical_emit_message(true, 'a', 'b')
select pg_stat_reset()
select dblink('dbname=x', 'delete from t')
select * from dblink_exec('x', 'delete from t')
select query_to_xml('delete from t returning a', true, true, '')
select count(*) from ts_stat('select to_tsvector(pg_terminate_backend(2147483647)::text)')
select count(*) from ts_stat /* ( */ ('select to_tsvector(''a'')')
select count(*) from "ts_stat"('select to_tsvector(''a'')')
select count(*) from "pg_catalog" . "ts_stat" /* -- */ ('select to_tsvector(''a'')')
select count(*) from TS_STAT($q$select to_tsvector('a')$q$)
select count(*) from rows from (ts_stat('select to_tsvector(''a'')'))
select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery')
select ts_rewrite('a'::tsquery, 'select pg_sleep(0)::text::tsquery, ''b''::tsquery')
select $$ ' $$, pg_terminate_backend(1) -- '
select E'\\'', pg_cancel_backend(1) --'
select /* /* */ ' */ pg_cancel_backend(1) --'
select (pg_ls_waldir()).*
select * from pg_ls_tmpdir()
select * from pg_stat_file('postgresql.conf')
select pg_current_logfile()
select * from pg_hba_file_rules()
select pg_log_backend_memory_contexts(1)
select pg_blocking_pids(1)
select * from pg_logical_slot_peek_changes('x', null, null)
select pg_export_snapshot()
select cursor_to_xml('c', 1, true, true, '')
select database_to_xml(true, true, '')
select lo_get(1)
select pg_stat_force_next_flush()
select runs_sql('select 1')
select runs_sql_below('select 1')
select runs_sql_in_sql('select 1')
select "Runs_Sql"('select 1')
select o.runs_sql('select 1') from (select 1) as o
select "runs-sql"('select 1')
select "public" . "runs-sql" /* ( */ ('select 1')
select '"', "runs ""sql"('select 1')
select by_another_name('select 1')
select ÀRUNS('select 1')
select runs_row(row('select 1')::one_text)
select (row('select 1')::one_text).runs_row
select (row('select 1')::one_text) . /* /* */ */ "runs_row"
select runs_range(texts('select 1', 'z'))
select atomic('a')
select s.f from (select writes() as f) as s
select * from query_to_xml('select nextval(''s'')', true, true, '')
select "pg_read_file"('/etc/passwd')
select pg_catalog.pg_read_file('/etc/passwd')
select U&"pg\\005fread_file"('/etc/passwd')
select writes()
select writes() from t
select * from writes()
select (select writes())
select * from writing_view
select * from t where writes() = 1
select * from t order by writes()
call written()
do $$ begin delete from t; end $$
merge into t using t as s on true when matched then delete
prepare p as delete from t
execute p
declare c cursor for select 1
listen x
notify x
lock table t
refresh materialized view m
comment on table t is 'x'
create extension dblink
create function f() returns int language sql as 'select 1'
load 'x'
cluster
reindex table t
discard all
""".strip().splitlines()
DUCKDB = """
copy t to '{target}'
copy (select 1) to '{target}'
export database '{target}'
attach '{target}' as x
attach '{target}' as x; create table x.y (a int)
detach src
install httpfs
load httpfs
set enable_external_access = true
select * from read_csv('/etc/passwd')
select * from read_text('/etc/passwd')
select * from read_blob('/etc/passwd')
select * from '/etc/passwd'
from '/etc/passwd'
select * from glob('/*')
select getenv('HOME')
select * from query('select * from read_text(''/etc/passwd'')')
select * from query_table('/etc/passwd')
pragma database_list
call pragma_version()
checkpoint
force checkpoint
use temp
create macro f() as 1
create secret s (type s3)
create sequence s
create type e as enum ('a')
insert or replace into t values (9, 'x')
merge into t using t as s on (t.a = s.a) when matched then delete
from t; delete from t
pivot t on a using count(*); drop table t
select * from json_execute_serialized_sql(json_serialize_sql('delete from t'))
select json_serialize_sql('x'); drop table t
update extensions
reset memory_limit
with x as (merge into t using t as s on (t.a = s.a) when matched then delete returning *) select * from x
""".strip().splitlines()
SQLITE = """
attach '{target}' as x
attach '{target}' as x; create table x.y (a)
detach main
pragma writable_schema = 1
pragma user_version = 9
pragma journal_mode = delete
select * from pragma_user_version
select * from pragma_journal_mode
select load_extension('{target}')
select writefile('{target}', 'x')
select readfile('/etc/passwd')
select edit('x')
select fts3_tokenizer('x')
replace into t values (9, 'x')
insert or replace into t values (9, 'x')
vacuum into '{target}'
reindex
create virtual table v using fts5(a)
create trigger g after insert on t begin delete from t; end
select * from t; pragma writable_schema = 1
select 1; attach '{target}' as x
select * from sqlite_dbpage
delete from t returning *
with recursive x(a) as (select 1 union all select a + 1 from x limit 3) delete from t
""".strip().splitlines()
SETUP = "create table t (a int, b varchar(20)); insert into t values (1, 'one'), (2, 'two')"


def _taken(source: Source, queries: list[str]) -> list[str]:
    """The queries that are not refused, neither when they are described nor when they are read."""
    taken = []
    for query in queries:
        try:
            source.columns(query)
            with source.read(query) as batches:
                for _ in batches:
                    pass
        except LevadaError:
            continue
        taken.append(query)
    return taken


def _corpus(own: list[str], target: Path) -> list[str]:
    return [query.replace("{target}", str(target)).replace("\\x00", "\x00") for query in [*COMMON, *own]]


def _opened(kind: str, options: dict[str, object], folder: Path) -> Source:
    found = source_type(kind)
    assert found is not None
    return found.open("src", found.options.model_validate({"type": kind, **options}), folder)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.claim("S19")
def test_no_query_changes_postgresql(tmp_path: Path, postgres_url: str, figure: claims.Figure) -> None:
    """As the owner of all tables, and with functions that write: rows, sequences, large objects and schema stay."""
    tmp_path.chmod(0o777)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in SETUP.split(";"):
            connection.execute(statement.encode())
        for statement in (
            "create sequence s",
            "create function writes() returns int language sql volatile as 'insert into t values (9, ''x''); select 1'",
            "create function runs_sql(q text) returns text language plpgsql stable as 'begin execute q; return q; end'",
            "create function runs_sql_below(q text) returns text language plpgsql as 'begin return runs_sql(q); end'",
            "create function runs_sql_in_sql(q text) returns xml language sql as 'select query_to_xml(q, 1=1, 1=1, q)'",
            """create function "runs-sql"(q text) returns text language plpgsql as 'begin execute q; return q; end'""",
            """create function "runs ""sql"(q text) returns int language plpgsql as 'begin execute q; return 1; end'""",
            """create function "Àruns"(q text) returns text language plpgsql as 'begin execute q; return q; end'""",
            """create function by_another_name(q text) returns text language sql as 'select "runs-sql"(q)'""",
            "create type one_text as (q text)",
            "create function runs_row(r one_text) returns int language plpgsql as 'begin execute r.q; return 1; end'",
            "create type texts as range (subtype = text)",
            "create function runs_range(r texts) returns int language plpgsql as 'begin execute lower(r); end'",
            """create function "Runs_Sql"(q text) returns text language sql as 'select runs_sql_below (q)'""",
            "create function atomic(q text) returns text language sql return (select pg_notify(q, q)::text)",
            "create procedure written() language sql as 'delete from t'",
            "create view writing_view as select writes()",
            "create materialized view m as select 1 as a",
        ):
            connection.execute(statement.encode())

        def state() -> list[object]:
            return [
                connection.execute(query).fetchall()
                for query in (
                    b"select * from t order by a", b"select last_value, is_called from s",
                    b"select oid from pg_largeobject_metadata", b"select relname, relkind from pg_class order by 1, 2",
                    b"select proname from pg_proc order by 1", b"select extname from pg_extension",

                    b"select obj_description('t'::regclass)",
                    b"select setting from pg_settings where name = 'default_transaction_read_only'",
                )
            ]  # fmt: skip

        before = state()
        corpus = _corpus(POSTGRES, tmp_path / "target")
        taken = _taken(_opened("postgres", {"url": postgres_url}, tmp_path), corpus)
        assert state() == before
    assert _files(tmp_path) == {}
    assert taken == [], "each of them is refused by name"
    figure("S19", f"PostgreSQL: {len(corpus)} queries that write or reach out, database and disk unchanged")


COMPUTES = (
    "select now() as a, clock_timestamp() as b, random() as c, gen_random_uuid() as d, pg_sleep(0)::text as e",
    "select count(*) as a, sum(x.a) as b, string_agg(b, ',') as c from t as x where b like '%(' group by b",
    "select a, row_number() over (partition by b order by a) as n from t",
    "select pg_total_relation_size('t') as a, to_char(now(), 'YYYY') as b, format('%s', 1) as c",
    "select to_tsvector('english', b)::text as a, ts_headline(b, to_tsquery('one')) as c from t",
    "select jsonb_agg(t)::text as a, (select max(a) from t) as b from t",
    "select half(a) as a, tidy(b) as b, unlabelled(b) as c from t",
    "select * from t tablesample bernoulli (100)",
    "select * from a_view",
    "select counted() as a",
    "select (row(1, 2)::pair).total as a, total(row(1, 2)::pair) as b",
    "select extract(epoch from now()) as e, trim(both ' ' from b) as b, coalesce(a, 1) as a from t",
)


def test_what_computes_passes(tmp_path: Path, postgres_url: str) -> None:
    """Functions of the server, and those that people write, labelled or not; views are the warehouse's own matter."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for statement in (
            *SETUP.split(";"),
            "create function half(n int) returns int language sql immutable as 'select n / 2'",
            "create function tidy(x text) returns text language plpgsql as 'begin return lower(trim(x)); end'",
            "create function unlabelled(x text) returns text language sql as 'select tidy(x) || random()::text'",
            "create type pair as (a int, b int)",
            "create function total(p pair) returns int language sql as 'select p.a + p.b'",
            "create function counted() returns text language plpgsql as 'begin execute ''select 1''; return 1; end'",
            "create view a_view as select count(*) as n from ts_stat('select to_tsvector(b) from t')",
        ):
            connection.execute(statement.encode())
    assert _taken(_opened("postgres", {"url": postgres_url}, tmp_path), list(COMPUTES)) == list(COMPUTES)


def test_the_rights_of_an_account_are_told(tmp_path: Path, postgres_server: PostgresServer, postgres_url: str) -> None:
    """`check` names what a reader need not have; an account that may only SELECT has none of it."""
    database = postgres_url.rpartition("/")[2]
    reader = f"reader_{database}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:

        def told(*statements: str) -> tuple[str, ...]:
            for statement in statements:
                connection.execute(statement.encode())
            url = postgres_server.url(database, password="x").replace(f"//{USER}:", f"//{reader}:")
            source = _opened("postgres", {"url": url}, tmp_path)
            assert isinstance(source, Cautious)
            return source.cautions()

        owner = _opened("postgres", {"url": postgres_url}, tmp_path)
        assert isinstance(owner, Cautious)
        assert [words.partition(":")[0] for words in owner.cautions()] == ["is a superuser"]
        try:
            made = f"create role {reader} login password 'x'"
            assert told("create table t (a int)", made, f"grant select on t to {reader}") == ()
            assert told(f"grant insert on t to {reader}") == ("may write to tables, such as public.t",)
            assert told(f"revoke insert on t from {reader}", f"grant create on schema public to {reader}") == (
                "may make schemas or tables",
            )
            roles = f"grant pg_read_server_files, pg_signal_backend to {reader}"
            assert told(f"revoke create on schema public from {reader}", roles) == (
                "is a member of pg_read_server_files, pg_signal_backend",
            )
            assert told(
                f"revoke pg_read_server_files, pg_signal_backend from {reader}", f"alter role {reader} createrole"
            ) == ("may make roles, replicate or pass over row security",)
        finally:
            connection.execute(f"drop owned by {reader}; drop role {reader}".encode())


@pytest.mark.claim("S19")
@pytest.mark.parametrize("kind", ["duckdb", "sqlite", "files"])
def test_no_query_changes_a_file(tmp_path: Path, kind: str, figure: claims.Figure) -> None:
    """A database file, or a folder of data files: not one byte differs, and no file is new."""
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / f"t.{'csv' if kind == 'files' else kind}"
    match kind:
        case "duckdb":
            with duckdb.connect(str(path)) as connection:
                connection.execute(SETUP)
        case "sqlite":
            with sqlite3.connect(path) as light:
                light.executescript(SETUP)
        case _:
            path.write_text("a,b\n1,one\n2,two\n")
    before = _files(tmp_path)
    corpus = _corpus(SQLITE if kind == "sqlite" else DUCKDB, tmp_path / "target")
    source = _opened(kind, {"path": str(path.parent if kind == "files" else path)}, tmp_path)
    assert _taken(source, ["select * from t"]) == ["select * from t"]
    taken = _taken(source, corpus)
    assert _files(tmp_path) == before
    title = {"duckdb": "DuckDB", "sqlite": "SQLite", "files": "files"}[kind]
    figure("S19", f"{title}: {len(corpus)} queries that write or reach out, disk unchanged")
    assert taken == [], "each of them is refused by name"
