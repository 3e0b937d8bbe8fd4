"""Whoever upgrades is told which syncs sent instants in the zone of the machine, and what mends it.

`earlier_instants.tar.xz` is the state that the version before left of the project below, on a machine in Tokyo: it had
sent 16:02:23Z for 07:02:23Z.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from levada.runner.project import Project
from levada_process import write
from values.witnesses import Tape, tape

STATE = Path(__file__).with_name("earlier_instants.tar.xz")
FILES = {
    "levada.yml": "name: earlier\n",
    "sources/w.yml": "type: duckdb\npath: w.duckdb\n",
    "models/people.sql": "/*\nsource: w\nkey: id\n*/\nselect * from people\n",
    "destinations/crm.yml": "type: http\nbase_url: ${CRM}\nauth: none\nobjects: {people: {upsert: POST /people}}\n",
    "syncs/people_to_crm.yml": "model: people\nto: crm.people\nfields: {id: id, seen: seen}\n",
    "syncs/names_to_crm.yml": "model: people\nto: crm.people\nfields: {id: id, name: name}\n",
    "destinations/out.yml": "type: files\npath: out\nformat: jsonl\n",
    "syncs/people_to_files.yml": "model: people\nto: out.people\nmode: append\nfields: {id: id, seen: seen}\n",
}


@pytest.fixture
def crm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tape]:
    with tape() as received:
        monkeypatch.setenv("CRM", received.url)
        yield received


def made(folder: Path) -> Path:
    write(folder, FILES)
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE TABLE people AS SELECT 1 AS id, 'Ana' AS name, timestamptz '2024-03-01 07:02:23+00' AS seen"
        )
    return folder


def upgraded(folder: Path) -> Path:
    """The project, with the state of the earlier version."""
    made(folder)
    with tarfile.open(STATE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def named(project: Project) -> list[tuple[str, str]]:
    """The syncs that doctor names, and what it says to do."""
    return [(one.subject, one.hint) for one in project.doctor() if one.subject.startswith("sync ")]


def test_the_syncs_that_sent_instants_over_http_are_named(tmp_path: Path, crm: Tape) -> None:
    """With the command that mends it; neither those without instants, nor those to files, which were right."""
    with Project.open(upgraded(tmp_path)) as project:
        (one,) = named(project)
        assert one[0] == "sync people_to_crm"
        assert "`levada resync people_to_crm`" in one[1]


def test_a_resync_mends_it_and_a_run_does_not(tmp_path: Path, crm: Tape) -> None:
    """The next run sends nothing, since the ledger holds the right value; a resync sends UTC, and nothing is named."""
    with Project.open(upgraded(tmp_path)) as project:
        assert project.run("people_to_crm").counts.operations == 0
        assert len(named(project)) == 1
        assert project.resync("people_to_crm").status == "succeeded"
        assert crm.bodies == [("/people", b'{"id":1,"seen":"2024-03-01T07:02:23Z"}')]
        assert named(project) == []


def test_a_resync_that_is_not_carried_to_its_end_changes_nothing(
    tmp_path: Path, crm: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the destination cannot be reached nothing was sent again: the sync stays named."""
    upgraded(tmp_path)
    monkeypatch.setenv("CRM", "http://127.0.0.1:9")
    with Project.open(tmp_path) as project:
        assert project.resync("people_to_crm").status in ("failed", "paused")
        assert len(named(project)) == 1


def test_a_sync_that_begins_now_is_not_named(tmp_path: Path, crm: Tape) -> None:
    """All that it ever sent was in UTC."""
    with Project.open(made(tmp_path)) as project:
        for sync in ("people_to_crm", "names_to_crm", "people_to_files"):
            assert project.run(sync).status == "succeeded"
        assert named(project) == []


def test_taken_as_synced_is_not_sent_again(tmp_path: Path, crm: Tape) -> None:
    """`mark-synced` sends nothing: what an earlier version sent stays in doubt, and what none sent is in none."""
    upgraded(tmp_path)
    with Project.open(tmp_path) as project:
        project.mark_synced("people_to_crm")
        assert len(named(project)) == 1
    with Project.open(made_anew(tmp_path)) as project:
        project.mark_synced("people_to_crm")
        assert named(project) == []


def made_anew(folder: Path) -> Path:
    return made(folder / "new")
