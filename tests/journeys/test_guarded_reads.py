"""What a read that failed, was cut, empty or shrunken may do, and what an unchanged model sends: nothing."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

import claims
from levada import Project
from levada.change import Counts
from levada.errors import LevadaError
from levada.guard import GuardDeclaration, GuardFacts, judge
from levada.run import RunResult
from levada_process import small_project
from servers.fault_proxy import ALL, Fault, FaultProxy
from servers.postgres import PostgresServer
from servers.records import records_server

SYNC = "customers_to_crm"
ROWS = 5_000
FILLED = b"insert into customers select n, 'person' || n || '@example.com', n * 10 from generate_series(1, 5000) n"
AGAIN = 3 if claims.full() else 1
"""So often an unchanged model is run again."""
FACTS = GuardFacts(Counts(), 20_000, 20_000, {"email": 0.10}, {"email": 0.10})


def facts(**more: Any) -> GuardFacts:
    counts = {name: more.pop(name) for name in list(more) if name in ("added", "changed", "removed", "invalid")}
    return replace(FACTS, counts=Counts(**counts), **more)


BORDERS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("removed_max", {}, {"removed": 1_000}, {"removed": 1_001}),
    ("removed_max", {}, {"removed": 100, "present": 1_000}, {"removed": 101, "present": 1_000}),
    ("removed_max", {}, {"removed": 4, "present": 4}, {"removed": 5, "present": 49}),
    ("removed_max", {"removed_max": "7"}, {"removed": 7}, {"removed": 8}),
    ("removed_max", {"removed_max": "1%"}, {"removed": 200}, {"removed": 201}),
    ("removed_max", {"removed_max": "0"}, {"removed": 0}, {"removed": 1}),
    ("changed_max", {}, {"changed": 10_000}, {"changed": 10_001}),
    ("changed_max", {}, {"changed": 9, "present": 9}, {"changed": 10, "present": 19}),
    ("changed_max", {"changed_max": "7"}, {"changed": 7}, {"changed": 8}),
    ("changed_max", {"changed_max": "5%"}, {"changed": 1_000}, {"changed": 1_001}),
    ("added_max", {"added_max": "10%"}, {"added": 2_000}, {"added": 2_001}),
    ("invalid_max", {"invalid_max": "1%"}, {"invalid": 200}, {"invalid": 201}),
    ("nulls_max", {}, {"nulls_after": {"email": 0.30}}, {"nulls_after": {"email": 0.3001}}),
    ("nulls_max", {"nulls_max": "5%"}, {"nulls_after": {"email": 0.15}}, {"nulls_after": {"email": 0.1501}}),
    ("empty", {"removed_max": "none"}, {"model_rows": 1}, {"model_rows": 0}),
    ("rows_min", {"rows_min": 500}, {"model_rows": 500}, {"model_rows": 499}),
]


@pytest.mark.claim("H11")
def test_each_threshold_passes_at_its_limit_and_stops_one_beyond(figure: claims.Figure) -> None:
    """The limit itself is allowed, the next row is not, and the reason bears the rule's name."""
    for rule, declared, at, beyond in BORDERS:
        guard = GuardDeclaration(**declared)
        assert not judge(guard, facts(**at)).blocked, (rule, declared, at)
        assert [reason.rule for reason in judge(guard, facts(**beyond)).reasons] == [rule], (rule, declared, beyond)
    figure("H11", f"{len(BORDERS)} thresholds: all pass at the limit, all stop one beyond it")


def run(folder: Path) -> RunResult:
    with Project.open(folder) as project:
        return project.run(SYNC)


def model(folder: Path, query: str) -> None:
    (folder / "models/customers.sql").write_text(f"/*\nsource: shop\nkey: id\n*/\n{query}\n")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def generation(folder: Path) -> int:
    with Project.open(folder) as project:
        return project.world.ledger(SYNC).generation


@pytest.mark.claim("H11")
def test_an_approval_covers_the_plan_that_was_seen_and_no_other(tmp_path: Path, figure: claims.Figure) -> None:
    """Removals and an empty model: blocked without a request; the approved plan, with one more row gone, again."""
    blocked = 0
    small_project(tmp_path, 60)
    run(tmp_path)
    before = digest(tmp_path / "crm.db")
    for gone, approved in ((20, True), (21, True), (60, False)):
        model(tmp_path, f"select id, email, score from customers where id > {gone}")
        found = run(tmp_path)
        assert (found.status, found.tally.requests, digest(tmp_path / "crm.db")) == ("blocked", 0, before), gone
        blocked += 1
        if approved:
            with Project.open(tmp_path) as project:
                project.approve(found.plan_id)
    model(tmp_path, "select id, email, score from customers where id > 21")
    assert run(tmp_path).counts.removed == 21
    figure("H11", f"{blocked} plans of mass removals and empty models: 0 requests until that very plan was approved")


def failing(dialect: str, row: int) -> str:
    """Every row differs from what was sent, and the read fails at one of them."""
    wrong = {
        "postgres": f"1 / (id - {row})",
        "sqlite": f"case when id = {row} then abs(-9223372036854775807 - 1) else 1 end",
        "duckdb": f"cast(case when id = {row} then 'x' else '1' end as integer)",
    }[dialect]
    return f"select id, email || ' ' as email, score + {wrong} * 0 + 1 as score from customers order by id"


ROW_CLASSES = {"first": 1, "middle": 2_500, "border": 2_048, "after the border": 2_049, "last": ROWS}


@pytest.fixture(params=["postgres", "sqlite", "duckdb", "files"])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """A project whose destination equals a model of ROWS rows, and the dialect of its source."""
    kind: str = request.param
    folder = small_project(tmp_path, ROWS)
    made = "id bigint, email text, score bigint"
    values = [(n, f"person{n}@example.com", n * 10) for n in range(1, ROWS + 1)]
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"create table customers ({made})".encode())
            connection.execute(FILLED)
        (folder / "sources/shop.yml").write_text(f"type: postgres\nurl: {url}\n")
    elif kind == "sqlite":
        with sqlite3.connect(folder / "shop.db") as database:
            database.execute(f"create table customers ({made})")
            database.executemany("insert into customers values (?, ?, ?)", values)
        (folder / "sources/shop.yml").write_text("type: sqlite\npath: shop.db\n")
    elif kind == "duckdb":
        with duckdb.connect(str(folder / "shop.duckdb")) as store:
            store.execute(
                "create table customers as select range as id, 'person' || range || '@example.com' as email, "
                "range * 10 as score from range(1, 5001)"
            )
        (folder / "sources/shop.yml").write_text("type: duckdb\npath: shop.duckdb\n")
    assert run(folder).counts.added == ROWS
    return folder, "duckdb" if kind == "files" else kind


def failed(folder: Path) -> bool:
    try:
        return run(folder).status == "failed"
    except LevadaError:
        return True


@pytest.mark.claim("H11")
def test_a_read_that_fails_at_any_row_sends_nothing(warehouse: tuple[Path, str], figure: claims.Figure) -> None:
    """First row, middle, both sides of a batch's border, last row: the destination and the ledger are as they were."""
    folder, dialect = warehouse
    before, ledger = digest(folder / "crm.db"), generation(folder)
    for name, row in ROW_CLASSES.items():
        model(folder, failing(dialect, row))
        assert failed(folder), name
        assert (digest(folder / "crm.db"), generation(folder)) == (before, ledger), name
    model(folder, "select id, email, score from customers")
    assert run(folder).counts.operations == 0
    figure("H11", f"reads that failed at {len(ROW_CLASSES)} kinds of rows of each source: 0 requests, ledger untouched")


@pytest.mark.claim("H11")
def test_a_connection_that_is_cut_at_any_byte_sends_nothing(
    postgres_server: PostgresServer, postgres_url: str, tmp_path: Path, figure: claims.Figure
) -> None:
    """PostgreSQL whose answers end in the middle of anything, the rows' end included."""
    folder = small_project(tmp_path, 1)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(b"create table customers (id bigint primary key, email text, score bigint)")
        connection.execute(FILLED)
    (folder / "sources/shop.yml").write_text(f"type: postgres\nurl: {postgres_url}\n")
    run(folder)
    before, ledger = digest(folder / "crm.db"), generation(folder)
    model(folder, "select id, email, score + 1 as score from customers where id > 10")
    name = postgres_url.rpartition("/")[2]
    cuts, complete = 0, False
    # the first cut that lets the whole answer pass ends the search: all before it lie within the conversation
    for cut_after in (0, 50, 400, 1_500, 3_000, 10_000, 40_000, 80_000, 120_000, 160_000, 190_000, 1_000_000):
        with FaultProxy(postgres_server.port, http=False) as proxy:
            proxy.fault = Fault("reset", "answer", at=cut_after, times=ALL)
            url = postgres_server.url(port=proxy.port).rpartition("/")[0] + f"/{name}"
            (folder / "sources/shop.yml").write_text(f"type: postgres\nurl: {url}\n")
            if not failed(folder):
                complete = True
                break
        cuts += 1
        assert (digest(folder / "crm.db"), generation(folder)) == (before, ledger), cut_after
    assert complete
    assert cuts >= 8
    figure("H11", f"{cuts} places at which PostgreSQL's connection was cut: 0 requests, ledger untouched")


# -- an unchanged model


def files_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file of the destination with its content's digest and the time of its last change."""
    found = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else [folder]
    return {str(path): (digest(path), path.stat().st_mtime_ns) for path in found}


PLACES: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "sqlite": ("type: sqlite\npath: crm.db\ncreate_tables: true\n", "contacts", "crm.db",
               ("upsert", "mirror", "update", "insert", "append", "replace")),
    "duckdb": ("type: duckdb\npath: crm.duckdb\ncreate_tables: true\n", "contacts", "crm.duckdb",
               ("upsert", "mirror", "update", "insert", "append", "replace")),
    "files": ("type: files\npath: out\nformat: csv\n", "contacts", "out", ("append", "replace")),
}  # fmt: skip


@pytest.mark.claim("H15")
def test_an_unchanged_model_writes_nothing_to_files_of_any_kind(tmp_path: Path, figure: claims.Figure) -> None:
    """Each file destination in each of its modes: no further run touches a byte."""
    tried = []
    for kind, (declared, target, place, modes) in PLACES.items():
        for mode in modes if kind != "duckdb" or claims.full() else modes[1::2]:
            folder = small_project(tmp_path / f"{kind}-{mode}", 30, {
                "destination": declared,
                "sync": f"model: customers\nto: crm.{target}\nmode: {mode}\n",
            })  # fmt: skip
            if mode == "update":
                _seeded(folder, kind)
            assert run(folder).status == "succeeded", (kind, mode)
            before = files_of(folder / place)
            assert before
            for _ in range(AGAIN):
                found = run(folder)
                assert (found.status, found.counts.operations, found.tally.requests) == ("succeeded", 0, 0), (
                    kind,
                    mode,
                )
            assert files_of(folder / place) == before, (kind, mode)
            tried.append(f"{kind} {mode}")
    figure("H15", f"{len(tried)} pairs of file destination and mode, {AGAIN} further runs each: 0 writes")


def _seeded(folder: Path, kind: str) -> None:
    """Records to update."""
    rows = [(n, "", 0) for n in range(1, 31)]
    if kind == "sqlite":
        with sqlite3.connect(folder / "crm.db") as database:
            database.execute("create table contacts (id integer primary key, email text, score integer)")
            database.executemany("insert into contacts values (?, ?, ?)", rows)
    else:
        with duckdb.connect(str(folder / "crm.duckdb")) as store:
            store.execute("create table contacts (id bigint primary key, email varchar, score bigint)")
            store.executemany("insert into contacts values (?, ?, ?)", rows)


@pytest.mark.claim("H15")
def test_an_unchanged_model_writes_no_row_of_postgres(postgres_url: str, tmp_path: Path, figure: claims.Figure) -> None:
    """Each row keeps the transaction and the place that it was written by."""
    modes = ("upsert", "mirror", "insert", "append", "replace")
    for more, mode in enumerate(modes):
        # other rows each time: the marks in the database know a plan by its content
        folder = small_project(tmp_path / mode, 30 + more, {
            "destination": f"type: postgres\nurl: {postgres_url}\ncreate_tables: true\n",
            "sync": f"model: customers\nto: crm.contacts_{mode}\nmode: {mode}\n",
        })  # fmt: skip
        assert run(folder).status == "succeeded", mode
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            query = f"select xmin::text, ctid::text, tableoid::int from contacts_{mode} order by id".encode()
            before = connection.execute(query).fetchall()
            assert len(before) == 30 + more, mode
            for _ in range(AGAIN):
                found = run(folder)
                assert (found.status, found.tally.requests) == ("succeeded", 0), mode
            assert connection.execute(query).fetchall() == before, mode
    figure("H15", f"PostgreSQL in {len(modes)} modes, {AGAIN} further runs each: 0 rows written")


HTTP = "type: http\nbase_url: {url}\nobjects:\n  contacts:\n    upsert: POST /events\n    delete: POST /events\n"
OVER_HTTP: dict[str, tuple[str, tuple[str, ...]]] = {
    "webhook": ("type: webhook\nurl: {url}/events\nsecret: a secret\n", ("append", "upsert", "mirror")),
    "http": (HTTP, ("upsert", "mirror")),
}


@pytest.mark.claim("H15")
def test_an_unchanged_model_causes_no_request(tmp_path: Path, figure: claims.Figure) -> None:
    """Webhooks and declared connectors: the server counts what arrives."""
    tried = 0
    for kind, (declared, modes) in OVER_HTTP.items():
        for mode in modes:
            with records_server() as records:
                folder = small_project(tmp_path / f"{kind}-{mode}", 12, {
                    "destination": declared.replace("{url}", records.url),
                    "sync": f"model: customers\nto: crm.contacts\nmode: {mode}\nmatch: {{id: id}}\n",
                })  # fmt: skip
                assert run(folder).status == "succeeded", (kind, mode)
                before = records.requests
                assert before
                for _ in range(AGAIN):
                    found = run(folder)
                    assert (found.status, found.tally.requests) == ("succeeded", 0), (kind, mode)
                assert records.requests == before, (kind, mode)
                tried += 1
    figure("H15", f"{tried} pairs of HTTP destination and mode, {AGAIN} further runs each: 0 requests at the server")
