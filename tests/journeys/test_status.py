"""`levada status` tells of a sync, whatever its last run was, and says who must act on each fact."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada import Project
from levada.errors import LevadaError
from levada.runner.doubt import doubt
from levada.runner.status import SyncStatus, who_words
from levada.testing.clock import FakeClock
from levada_process import levada, small_project, write, write_customers
from servers.records import Records, declared, records_server

SYNC = "customers_to_crm"
UPSERT = (
    "model: customers\nto: crm.contacts\nmode: upsert\nguard: {changed_max: none}\nfields: {id: id, score: score}\n"
)


@pytest.fixture
def records() -> Iterator[Records]:
    with records_server() as found:
        yield found


def looked(folder: Path, name: str = SYNC) -> SyncStatus:
    with Project.open(folder) as project:
        return next(one for one in project.status().syncs if one.sync == name)


def told(one: SyncStatus) -> set[tuple[str, str]]:
    """What is said, by state and who must act."""
    return {(fact.state, fact.who) for fact in one.standing}


def test_what_is_refused_or_invalid_is_told_whatever_came_after(tmp_path: Path, records: Records) -> None:
    """After an undo, a stopped plan, and a start that came to nothing: refused and invalid ones are still there."""
    small_project(tmp_path, 4, {"destination": declared(records.url), "sync": UPSERT})
    write_customers(tmp_path, 4, extra=",nobody@example.com,1\n")
    records.refuses = lambda record: record["id"] == 2
    left = {("records", "destination"), ("records", "model")}
    with Project.open(tmp_path) as project:
        first = project.run(SYNC)
    assert (first.tally.rejected, first.counts.invalid) == (1, 1)
    one = looked(tmp_path)
    assert (told(one), one.state, one.who, one.needs_you) == (left, "records", "destination", True)
    assert one.next_command == f"levada records {SYNC} --outcome rejected"
    assert (one.known.left["rejected"], one.known.left["invalid"]) == (1, 1)
    write_customers(tmp_path, 4, changed=(1,), extra=",nobody@example.com,1\n")
    with Project.open(tmp_path) as project:
        undone = project.undo(project.run(SYNC).run_id)
    one = looked(tmp_path)
    assert told(one) == {*left, ("held", "you")}
    assert undone.run_id in one.sentence
    assert one.as_dict()["held_by"] == [undone.run_id]
    # the next plan brings back what was taken back, and waits
    with Project.open(tmp_path) as project:
        blocked = project.run(SYNC)
    assert blocked.status == "blocked"
    one = looked(tmp_path)
    assert told(one) == {*left, ("blocked", "you")}, "the plan says whose work it would send again"
    assert one.sentence.count(undone.run_id) == 1
    assert (one.next_command, one.as_dict()["plan_waiting"]) == (f"levada approve {blocked.plan_id}", blocked.plan_id)
    with Project.open(tmp_path) as project:
        project.approve(blocked.plan_id)
    assert ("blocked", "nobody") in told(looked(tmp_path))
    # a start that comes to nothing adds its words and takes none away
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    with Project.open(tmp_path) as project, pytest.raises(LevadaError):
        project.run(SYNC)
    assert {*left, ("blocked", "nobody"), ("failed", "you")} <= told(looked(tmp_path))
    shutil.move(tmp_path / "elsewhere", tmp_path / "data")
    records.refuses = lambda record: False
    write_customers(tmp_path, 4)
    with Project.open(tmp_path) as project:
        plan = project.run(SYNC)
        if plan.status == "blocked":
            project.approve(plan.plan_id)
        project.retry(SYNC)
        view = project.status()
    assert (view.sentence, told(view.syncs[0])) == ("All is well.", {("well", "nobody")})


def test_an_open_run_is_told_beside_what_earlier_runs_left(tmp_path: Path, records: Records) -> None:
    """Paused amid its way: what was delivered so far, which run it is, who must act; and what was refused before."""
    small_project(tmp_path, 5, {"destination": declared(records.url), "sync": UPSERT})
    records.refuses = lambda record: record["id"] == 2
    with Project.open(tmp_path) as project:
        project.run(SYNC)
    write_customers(tmp_path, 5, changed=(3, 4, 5))
    sent = records.requests
    records.behave = lambda number, path: "307" if number > sent + 2 else "ok"
    with Project.open(tmp_path) as project:
        paused = project.run(SYNC)
    assert (paused.status, paused.pause) == ("paused", "setup")
    one = looked(tmp_path)
    assert told(one) == {("paused", "you"), ("records", "destination")}
    assert f"resumes {paused.run_id}" in one.sentence
    assert "2 delivered so far" in one.sentence
    assert one.as_dict()["open_run"] == paused.run_id
    # its plan is dropped: until the next run, more may be there than is known
    records.refuses = lambda record: True
    with Project.open(tmp_path) as project:
        store = project.world.store
        lease = store.leases.acquire(SYNC)
        doubt(store.memory, lease)
        store.runs.update(lease, paused.run_id, phase="closed", status="cancelled")
        store.leases.release(lease)
    assert ("doubt", "nobody") in told(looked(tmp_path))


def test_starts_that_come_to_nothing_are_told_until_one_ends(tmp_path: Path, records: Records) -> None:
    """A tool away: nobody, with the next run. A file that is wrong: a person. An older success hides neither."""
    small_project(tmp_path, 3, {"destination": declared(records.url), "sync": UPSERT})
    with Project.open(tmp_path) as project:
        project.run(SYNC)
    write_customers(tmp_path, 3, changed=(1,))
    write(tmp_path, {"destinations/crm.yml": declared("http://127.0.0.1:9")})
    with Project.open(tmp_path) as project:
        away = project.run(SYNC)
        view = project.status()
    assert (away.status, away.pause, away.exit_code) == ("paused", "outage", 5)
    one = view.syncs[0]
    assert (told(one), one.needs_you) == ({("paused", "nobody")}, False)
    assert "nothing was sent" in one.sentence
    assert view.sentence == "Nothing needs you; 1 of 1 goes on with the next run."
    assert one.standing[0].as_dict(one.schedule)["when"] == "with the next run (when asked)"
    assert who_words(one.standing[0], one.schedule) == "nobody: the next run (when asked) goes on"
    write(tmp_path, {"destinations/crm.yml": declared(records.url), "models/customers.sql": BROKEN_MODEL})
    with Project.open(tmp_path) as project:
        with pytest.raises(LevadaError):
            project.run(SYNC)
        one = project.status().syncs[0]
    assert ("failed", "you") in told(one) or ("failed", "model") in told(one)
    assert "scor" in one.sentence


BROKEN_MODEL = "/*\nsource: shop\nkey: id\n*/\nselect id, email, scor from customers\n"


def test_a_sync_that_runs_now_says_so(tmp_path: Path) -> None:
    """While a process holds it nobody must act; once that process is gone, it is no longer said."""
    folder = small_project(tmp_path, rows=2)
    with Project.open(folder) as project:
        project.run(SYNC)
    script = (
        "import sys\nfrom levada import Project\nwith Project.open('.') as project:\n"
        f"    project.world.store.leases.acquire('{SYNC}')\n    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == "held\n"
        with Project.open(folder) as project:
            view = project.status()
        (one,) = view.syncs
        assert told(one) == {("busy", "nobody")}
        assert f"process {other.pid}" in one.sentence
        assert view.sentence == "Nothing needs you; 1 run is under way."
        other.kill()
    assert told(looked(folder)) == {("well", "nobody")}


def test_how_old_it_is(tmp_path: Path) -> None:
    """When it was last brought in step, in words and in seconds."""
    folder = small_project(tmp_path, rows=2)
    clock = FakeClock()
    with Project.open(folder, clock=clock) as project:
        project.run(SYNC)
        clock.advance(3 * 3600)
        view = project.status()
        document = view.as_dict()["syncs"][0]
        assert "3 hours ago" in document["sentence"]
        assert (document["age_seconds"], document["who"], document["left"]["rejected"]) == (10_800, "nobody", 0)
        clock.advance(2 * 86_400)
        assert "2 days ago" in project.status().syncs[0].sentence


def test_a_damaged_sync_does_not_hide_the_others(tmp_path: Path) -> None:
    """Its own line says what is damaged and what to do; the other is in step."""
    folder = write(
        small_project(tmp_path, rows=2), {"syncs/other.yml": "model: customers\nto: crm.others\nfields: all\n"}
    )
    with Project.open(folder) as project:
        project.run(SYNC)
        project.run("other")
    (database,) = (path for path in (folder / ".levada").glob("state.sqlite"))
    with sqlite3.connect(database) as state:
        state.execute("UPDATE ledger SET checksum = checksum + 1 WHERE sync = 'other'")
    ended = levada(folder, "status", "--json")
    states = {one["sync"]: one["state"] for one in ended.document["syncs"]}
    assert states == {SYNC: "well", "other": "unreadable"}, ended


def test_the_page_for_people_says_who_and_how(tmp_path: Path) -> None:
    """Each fact on its line, below it who must act and the command."""
    folder = small_project(tmp_path, rows=2)
    write_customers(folder, 2, extra=",nobody@example.com,1\n")
    levada(folder, "run")
    out = levada(folder, "status").out
    assert "finished with 1 invalid: 1 row of the model cannot be sent" in out
    assert "the owner of the model: " in out
    assert f"levada records {SYNC} --outcome invalid" in out


def test_a_wrong_file_of_one_sync_does_not_hide_the_others(tmp_path: Path) -> None:
    """What is wrong is told after them, and the exit code says so; with --json it stands in `errors`."""
    folder = small_project(tmp_path, 3)
    write(folder, {"destinations/ads.yml": "type: nonsense\n", "syncs/broken.yml": "model: customers\nto: ads.x\n"})
    ended = levada(folder, "status")
    assert ended.code == 2
    assert SYNC in ended.out
    assert "destinations/ads.yml" in ended.talk
    document = levada(folder, "status", "--json").document
    assert [one["sync"] for one in document["syncs"]] == [SYNC]
    assert {one["where"].partition(":")[0] for one in document["errors"]} >= {"destinations/ads.yml"}
    assert levada(folder, "status", SYNC).code == 0
