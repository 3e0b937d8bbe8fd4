"""How commands end: what cannot be reached, another process, a bug, and code of the user's that ends a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from levada import Project
from levada.cli.app import execute
from levada.errors import LevadaError
from levada.planners.local import LocalPlanner
from levada.runner.attempt import last_attempt
from levada_process import environment, levada, small_project, write

SYNC = "customers_to_crm"
DOWN = {
    "destinations/away.yml": "type: http\nbase_url: http://127.0.0.1:9\ncheck: GET /me\n"
    "objects:\n  contacts: {match: id, upsert: {send: 'POST /c'}}\n",
    "destinations/away_db.yml": "type: postgres\nurl: postgresql://u:p@127.0.0.1:9/db\ncreate_tables: true\n",
    "syncs/to_away.yml": "model: customers\nto: away.contacts\nfields: {id: id, email: email}\n",
    "syncs/to_away_db.yml": "model: customers\nto: away_db.contacts\nfields: {id: id, email: email}\n",
}
BROKEN = {"syncs/broken.yml": "model: customers\nto: crm.others\nfields: {id: id, email: emial}\n"}


@pytest.mark.parametrize("sync", ["to_away", "to_away_db"])
def test_what_cannot_be_reached_is_5_in_every_command(tmp_path: Path, sync: str) -> None:
    """Nothing was sent and nobody has to change a file: `run`, `plan`, `check` and `resync` say the same."""
    folder = write(small_project(tmp_path, rows=3), DOWN)
    for command in ("run", "resync"):
        ended = levada(folder, command, sync, "--json")
        assert (ended.code, ended.document["status"]) == (5, "paused"), ended
        assert ended.document["error"]["code"] == "destination.unavailable"
    if sync == "to_away_db":
        planned = levada(folder, "plan", sync, "--json")
        assert (planned.code, planned.document["status"]) == (5, "paused")
    checked = levada(folder, "check", sync, "--json")
    assert checked.code == 5, checked
    assert {one["state"] for one in checked.document["checks"]} == {"ok", "away"}
    assert levada(folder, "run", sync).code == 5


@pytest.mark.needs("postgres")
def test_a_source_that_cannot_be_reached_is_5_and_a_mistake_in_its_url_2(tmp_path: Path) -> None:
    """The same word for both ends of a sync."""
    folder = small_project(tmp_path, changes={"source": "type: postgres\nurl: postgresql://u:p@127.0.0.1:9/db\n"})
    away = levada(folder, "run", SYNC, "--json")
    assert (away.code, away.document["error"]["code"], away.document["status"]) == (5, "source.unreachable", "paused")
    assert levada(folder, "check", SYNC).code == 5
    write(folder, {"sources/shop.yml": "type: postgres\nurl: postgresql://u:p@127.0.0.1:9/db?sslmode=perhaps\n"})
    assert levada(folder, "run", SYNC).code == 2


@pytest.mark.parametrize("kind", ["sqlite", "duckdb"])
@pytest.mark.parametrize("path", ["nowhere/crm.db", "data", "levada.yml"])
def test_a_path_that_can_be_no_database_is_a_mistake_in_a_file(tmp_path: Path, kind: str, path: str) -> None:
    """A folder that is not there, a folder, another file: exit code 2 in `check` and `run`, and no outage."""
    folder = small_project(tmp_path, changes={"destination": f"type: {kind}\npath: {path}\ncreate_tables: true\n"})
    with Project.open(folder) as project:
        assert project.check().exit_code == 2
        with pytest.raises(LevadaError) as caught:
            project.run(SYNC)
    assert caught.value.exit_code == 2, caught.value


def test_several_syncs_end_with_the_code_of_what_must_be_mended_first(tmp_path: Path) -> None:
    """Each tells its own end in a line of JSON; the others still run."""
    folder = write(small_project(tmp_path, rows=3), DOWN)
    ended = levada(folder, "run", SYNC, "to_away", "to_away_db", "--json")
    assert [(one["sync"], one["status"]) for one in ended.lines] == [
        (SYNC, "succeeded"),
        ("to_away", "paused"),
        ("to_away_db", "paused"),
    ]
    assert ended.code == 5
    write(folder, BROKEN)
    ended = levada(folder, "plan", SYNC, "to_away_db", "broken", "--json")
    found = {one["sync"]: one.get("status") for one in ended.lines}
    assert found == {SYNC: None, "to_away_db": "paused", "broken": "failed"}
    assert ended.code == 2


def test_a_wrong_file_of_one_sync_keeps_no_other_from_running(tmp_path: Path) -> None:
    """It is one failed sync with its place, whether all are meant or it is named; exit code 2."""
    wrong = {
        "syncs/a_wrong.yml": "model: customers\nto: crm.others\nfeilds: {id: id}\n",
        "models/unused.yml": "tabel: x\n",
    }
    folder = write(small_project(tmp_path, rows=3), wrong)
    for command in (["run", "--json"], ["plan", "--json"], ["run", SYNC, "a_wrong", "--json"]):
        ended = levada(folder, *command)
        found = {one["sync"]: one.get("status") for one in ended.lines if "sync" in one}
        assert (ended.code, found["a_wrong"], found[SYNC]) in (
            (2, "failed", "succeeded"),
            (2, "failed", None),
        ), ended
        assert "syncs/a_wrong.yml:3:1" in ended.talk
        assert ("models/unused.yml" in ended.talk) == (SYNC not in command)
    assert levada(folder, "run", "a_wrong", "--json").document["error"]["code"] == "config.unknown_key"


def test_another_process_holds_the_sync(tmp_path: Path) -> None:
    """Exit code 5 and status busy; with --wait the command goes on once the other has ended."""
    folder = small_project(tmp_path, rows=3)
    script = (
        "import sys\nfrom levada import Project\nwith Project.open('.') as project:\n"
        f"    lease = project.world.store.leases.acquire('{SYNC}')\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
        "    project.world.store.leases.release(lease)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        for command in ("run", "resync", "retry", "mark-synced"):
            ended = levada(folder, command, SYNC, "--json")
            assert (ended.code, ended.document["status"], ended.document["sync"]) == (5, "busy", SYNC), ended
            assert ended.document["error"]["code"] == "store.busy"
        assert "--wait" in levada(folder, "run", SYNC).talk
        with subprocess.Popen(
            [sys.executable, "-m", "levada", "run", SYNC, "--wait", "--json"],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting:
            assert waiting.stderr is not None
            assert waiting.stdout is not None
            assert waiting.stderr.readline().startswith("waiting: sync customers_to_crm is being run by process")
            other.stdin.close()
            assert waiting.wait() == 0
            assert json.loads(waiting.stdout.read())["delivered"]["added"] == 3


ENDINGS = {
    "sys.exit()": "import sys\n    sys.exit(3)",
    "SystemExit": "raise SystemExit('enough')",
    "no words": "import sys\n    raise type('Own', (Exception,), {'__str__': lambda self: sys.exit(0)})",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "an exception of its own": "class Odd(BaseException): ...\n    raise Odd('odd')",
    "GeneratorExit": "raise GeneratorExit",
    "StopIteration": "raise StopIteration(1)",
    "CancelledError": "import asyncio\n    raise asyncio.CancelledError",
    "a recursion without an end": "def f(): f()\n    f()",
    "no memory": "raise MemoryError",
}


@pytest.mark.parametrize("before", ["", "yield batch.get('http://127.0.0.1:9/x') if batch is None else batch\n    "])
@pytest.mark.parametrize("name", ENDINGS)
def test_a_function_that_ends_a_process_ends_its_own_run_only(tmp_path: Path, name: str, before: str) -> None:
    """Its records are in doubt or unsent, with its words; the other syncs of the command run."""
    body = ENDINGS[name]
    files = {
        "connectors/own.py": "from levada import destination\n\n\n@destination\ndef own(batch):\n"
        + (f"    if batch is None:\n        yield batch\n    {body}\n" if before else f"    {body}\n"),
        "destinations/own.yml": "type: python\nfunction: connectors/own.py:own\n",
        "syncs/a_own.yml": "model: customers\nto: own.things\nfields: {id: id, email: email}\n",
    }
    folder = write(small_project(tmp_path, rows=3), files)
    with Project.open(folder) as project:
        own = project.run("a_own")
        assert own.status in ("paused", "failed"), own
        assert "in the function" in (own.message or str(own.error)), own
        assert project.run(SYNC).status == "succeeded"


def test_a_file_that_ends_a_process_when_it_is_imported_is_an_error_of_that_file(tmp_path: Path) -> None:
    """`sys.exit()` at the top of a file of theirs: one sync fails with exit code 2, the other runs."""
    files = {
        "connectors/own.py": "import sys\nsys.exit('not today')\n",
        "destinations/own.yml": "type: python\nfunction: connectors/own.py:own\n",
        "syncs/a_own.yml": "model: customers\nto: own.things\nfields: {id: id, email: email}\n",
    }
    folder = write(small_project(tmp_path, rows=3), files)
    ended = levada(folder, "run", "--json")
    found = {one["sync"]: one["status"] for one in ended.lines}
    assert (ended.code, found) == (2, {"a_own": "failed", SYNC: "succeeded"})


def test_a_bug_in_one_sync_is_one_failed_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others run; the message says how to go on and what to send, without a value of a row; status knows of it."""
    folder = write(small_project(tmp_path, rows=3), {"syncs/a.yml": "model: customers\nto: crm.a\nfields: all\n"})
    plan = LocalPlanner.plan

    def faulty(planner: LocalPlanner, request: object) -> object:
        if getattr(request, "sync", "") == "a":
            raise AssertionError("a row of 'ann@example.com'")
        return plan(planner, request)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalPlanner, "plan", faulty)
    monkeypatch.chdir(folder)
    for _ in range(2):
        assert execute(["run", "--json"]) == 1
        out, talk = capsys.readouterr()
        found = [json.loads(line) for line in out.splitlines()]
        assert [(one["sync"], one["status"]) for one in found] == [("a", "failed"), (SYNC, "succeeded")]
        assert found[0]["error"]["code"] == "bug"
        assert "levada run a --debug" in found[0]["error"]["hint"]
        assert "ann@example.com" not in out + talk
    assert execute(["plan", "--json"]) == 1
    assert execute(["check", "--json"]) == 0
    capsys.readouterr()
    with Project.open(folder) as project:
        assert (last_attempt(project.world, "a") or {})["code"] == "bug"
        assert project.runs("a")[0].status == "failed"
        monkeypatch.undo()
        assert project.run("a").status == "succeeded"
        assert last_attempt(project.world, "a") is None


def test_a_bug_that_comes_again_at_every_resumption_names_a_way_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After everything was sent, the run cannot be closed: the hint's command drops its plan; nothing is lost."""
    folder = small_project(tmp_path, rows=3)
    monkeypatch.chdir(folder)
    fold = LocalPlanner.fold
    faults = [True, True, True]

    def faulty(planner: LocalPlanner, *arguments: object) -> object:
        if faults:
            raise RuntimeError("boom")
        return fold(planner, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(LocalPlanner, "fold", faulty)
    for _ in range(3):
        assert execute(["run", SYNC]) == 1
        faults.pop()
        talk = capsys.readouterr().err
        assert f"levada run {SYNC} --discard-plan" in talk
        assert "is left open" in talk
    assert execute(["run", SYNC, "--discard-plan", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["counts"]["added"] + document["counts"]["changed"]) == ("succeeded", 3)
    assert execute(["run", SYNC, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 0
