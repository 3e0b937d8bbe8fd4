"""A record that is refused for ever: asked again ever more rarely, never forgotten, in nobody's way."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from claims import Figure, full
from levada import Project
from levada.run import RunResult
from levada.testing.clock import FakeClock
from levada_process import levada, small_project, write_customers
from servers.records import Records, declared, records_server

SYNC = "customers_to_crm"
UPSERT = (
    "model: customers\nto: crm.contacts\nmode: upsert\nguard: {changed_max: none}\nfields: {id: id, score: score}\n"
)
DUE = [1, 2, 4, 8, 16, 32, 56, 80]
"""In which of 100 runs a record that is always refused is sent: 1, 2, 4, 8, 16, 24 and 24 runs apart."""


@pytest.fixture
def records() -> Iterator[Records]:
    with records_server() as found:
        yield found


def again(folder: Path) -> RunResult:
    with Project.open(folder) as project:
        return project.run(SYNC)


def test_in_a_hundred_runs_a_refused_record_is_sent_eight_times(tmp_path: Path, records: Records) -> None:
    """GUARANTEES 6.12: after 1, 2, 4, 8, 16, 24, 24 runs; every run is partial, lists it, and adds up."""
    small_project(tmp_path, 5, {"destination": declared(records.url, 2), "sync": UPSERT})
    records.refuses = lambda record: record["id"] == 3
    sent_in, delivered = [], 0
    project = Project.open(tmp_path)
    runs = 100 if full() else 17
    for number in range(1, runs + 1):
        before = records.requests
        if number == 5:
            write_customers(tmp_path, 6)
        result = project.run(SYNC)
        if number in (1, 5):
            delivered += result.tally.delivered_total
        elif records.requests > before:
            assert records.requests == before + 1
        if result.tally.rejected:
            sent_in.append(number)
        assert result.status == "partial"
        assert result.tally.rejected + result.tally.waiting == 1
        assert result.tally.operations == result.counts.operations
    due = [number for number in DUE if number <= runs]
    assert sent_in == due
    assert delivered == 5
    # the halved batch of the first run, one request for the new record, and the later attempts
    assert records.requests == 5 + 1 + len(due) - 1
    with project:
        listed = list(project.records(SYNC, outcome="waiting"))
        view = project.plan(SYNC)
    assert [(each.key, each.after) for each in listed] == [(3, {"id": 3, "score": 30})]
    assert listed[0].reason.startswith(f"no (asked {len(due)} times, asked again in ")
    assert view.notices == (
        "1 of these was refused before and waits for its turn: `levada retry customers_to_crm` sends it now",
    )


def test_other_values_and_a_word_of_a_person_make_it_due_at_once(tmp_path: Path, records: Records) -> None:
    """A changed record is another question; `levada retry` asks the old one again; both start a new row of waits."""
    small_project(tmp_path, 4, {"destination": declared(records.url, 1), "sync": UPSERT})
    records.refuses = lambda record: record["id"] == 2
    first = [again(tmp_path).tally for _ in range(3)]
    assert [(tally.rejected, tally.waiting) for tally in first] == [(1, 0), (1, 0), (0, 1)]
    write_customers(tmp_path, 4, changed=(2,))
    changed = [again(tmp_path).tally for _ in range(3)]
    assert [(tally.rejected, tally.waiting) for tally in changed] == [(1, 0), (1, 0), (0, 1)]
    ended = levada(tmp_path, "retry", SYNC, "--json")
    assert (ended.document["rejected"], ended.document["waiting"], ended.code) == (1, 0, 3)
    records.refuses = lambda record: False
    assert again(tmp_path).status == "succeeded"
    assert records.held[2]["score"] == 21
    assert again(tmp_path).tally.requests == 0


def test_a_record_that_waits_holds_up_no_other(tmp_path: Path, records: Records) -> None:
    """Its companions of the same batch are sent, in one request."""
    small_project(tmp_path, 6, {"destination": declared(records.url, 6), "sync": UPSERT})
    records.refuses = lambda record: True
    assert [again(tmp_path).tally.rejected for _ in range(2)] == [6, 6]
    write_customers(tmp_path, 6, changed=(2, 3, 4, 5, 6))
    records.refuses = lambda record: record["id"] == 1
    before = records.requests
    result = again(tmp_path)
    assert (result.tally.delivered_total, result.tally.waiting) == (5, 1)
    assert records.requests == before + 1
    assert {record["score"] for record in records.held.values()} == {21, 31, 41, 51, 61}


def test_a_table_s_refused_row_waits_too(tmp_path: Path) -> None:
    """Halving a batch in a database at every run would be as useless as over HTTP."""
    small_project(tmp_path, 5, {"sync": UPSERT})
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        crm.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, score INTEGER CHECK (score <> 30))")
    tallies = [again(tmp_path).tally for _ in range(9)]
    assert [number for number, tally in enumerate(tallies, 1) if tally.rejected] == [1, 2, 4, 8]
    assert [tally.waiting for tally in tallies] == [0, 0, 1, 0, 1, 1, 1, 0, 1]
    write_customers(tmp_path, 6, changed=(3,))
    assert again(tmp_path).tally.delivered_total == 2
    with sqlite3.connect(tmp_path / "crm.db") as crm:
        assert crm.execute("SELECT count(*), sum(score) FROM contacts").fetchone() == (6, 211)


def test_records_that_mode_update_does_not_find_are_asked_for_ever_more_rarely(
    tmp_path: Path, records: Records
) -> None:
    """An unchanged model stands still, though the tool lacks some of its records; new ones are asked for at once."""
    update = UPSERT.replace("mode: upsert", "mode: update").replace("id: id, score: score", "score: score")
    update += "match: {id: id}\n"
    destination = declared(records.url, 1).replace(
        "upsert: {send: POST /records, record: '{fields_all}'}",
        "update: {send: 'POST /records/{id}', record: '{fields_all}'}",
    )
    small_project(tmp_path, 2, {"destination": destination, "sync": update})
    records.behave = lambda number, path: "404" if path.endswith("/2") else "ok"
    asked = []
    for _ in range(9):
        before = records.requests
        result = again(tmp_path)
        assert (result.status, result.tally.suppressed, result.tally.waiting) == ("succeeded", 1, 0)
        asked.append(records.requests - before)
    assert asked == [2, 1, 0, 1, 0, 0, 0, 1, 0]


@pytest.mark.claim("H10")
@pytest.mark.parametrize("poisoned", [1, 2, 5])
def test_poison_rows_cost_few_requests_and_hold_up_no_other(
    tmp_path: Path, records: Records, figure: Figure, poisoned: int
) -> None:
    """GUARANTEES 6.11: of 1,000 records in one request, all but the refused arrive, with 2·log2 n + 1 more requests
    for each refused one at most."""
    size = 1_000
    bad = {size * place // poisoned + 7 for place in range(poisoned)}
    small_project(tmp_path, size, {"destination": declared(records.url, size), "sync": UPSERT})
    records.refuses = lambda record: record["id"] in bad
    result = again(tmp_path)
    extra = records.requests - 1
    assert (result.status, result.tally.delivered_total, result.tally.rejected) == (
        "partial",
        size - poisoned,
        poisoned,
    )
    assert set(records.held) == set(range(1, size + 1)) - bad
    assert len(records.log) == size - poisoned
    assert extra <= poisoned * (2 * math.ceil(math.log2(size)) + 1)
    figure(
        "H10", f"{poisoned} poison rows in {size:,}: {len(records.held):,} delivered, {extra} extra requests over HTTP"
    )


@pytest.mark.parametrize("command", ["run", "retry", "resync"])
def test_one_command_never_sends_a_refused_record_twice(tmp_path: Path, records: Records, command: str) -> None:
    """A command that finishes an open run and then makes one of its own asks for each record once, and its two runs
    count as one: the next run asks again."""
    small_project(tmp_path, 5, {"destination": declared(records.url, 1), "sync": UPSERT})
    records.behave = lambda number, path: "307" if number >= 3 else "ok"
    assert again(tmp_path).status == "paused"
    asked: list[int] = []
    records.behave = lambda number, path: "ok"
    records.refuses = lambda record: bool(record["id"] == 4 and (asked.append(1) or True))  # type: ignore[func-returns-value]
    ended = levada(tmp_path, command, SYNC, "--json")
    assert (ended.code, len(asked)) == (3, 1), ended
    assert (ended.document["rejected"], ended.document["waiting"]) == (0, 1)
    assert ended.document["resumed"][0]["rejected"] == 1
    assert len(records.held) == 4
    assert (again(tmp_path).tally.rejected, len(asked)) == (1, 2)
    assert (again(tmp_path).tally.waiting, len(asked)) == (1, 2)


def test_a_day_is_enough_however_few_runs_there_were(tmp_path: Path, records: Records) -> None:
    """Time counts beside runs: a sync that runs once a day asks each day, one that runs often as its runs say."""
    small_project(tmp_path, 3, {"destination": declared(records.url, 1), "sync": UPSERT})
    records.refuses = lambda record: record["id"] == 2
    clock = FakeClock()
    with Project.open(tmp_path, clock=clock) as project:
        assert [project.run(SYNC).tally.rejected for _ in range(5)] == [1, 1, 0, 1, 0]
        clock.advance(86_399)
        assert project.run(SYNC).tally.rejected == 0
        clock.advance(1)
        assert project.run(SYNC).tally.rejected == 1
        assert project.run(SYNC).tally.rejected == 0
