"""A plan says what a run will really send: its figures are those of the run that follows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from levada.delivery.account import Patience
from levada.retry import RetryPolicy
from levada.runner.project import Project
from servers.answering import answering, http_project

ROWS = "id,name\n" + "".join(f"{n},N{n}\n" for n in range(6))
LONG = 600
A = "max_server_seconds: %s\nlimits: {concurrent_requests: 1, records_per_request: 1}\n"
UPSERT = A + "objects: {things: {upsert: {send: POST /things, record: '{fields_all}'}, delete: POST /things/gone}}"


QUICK = Patience(RetryPolicy(attempts_max=2, base_seconds=0.001), contact_seconds=0.1, outage_seconds=0.5)


@contextmanager
def opened(folder: Path) -> Iterator[Project]:
    """A project that gives up on a tool at once."""
    with Project.open(folder) as project:
        project.world.dispatcher._patience = QUICK
        yield project


class Tool:
    """Refuses the records of `refused`, answers 500 for those of `mute`; `asked` are the records it was sent."""

    def __init__(self) -> None:
        self.refused: set[int] = set()
        self.mute: set[int] = set()
        self.asked: list[int] = []

    def __call__(self, method: str, path: str, body: str) -> tuple[int, Any]:
        found = json.loads(body) if body else {}
        key = int(found["id"]) if "id" in found else -1
        self.asked.append(key)
        return (422, {"m": "no"}) if key in self.refused else (500, {}) if key in self.mute else (200, {})


def write(folder: Path, rows: dict[int, str]) -> None:
    (folder / "data" / "m.csv").write_text("id,name\n" + "".join(f"{key},{name}\n" for key, name in rows.items()))


def test_what_waits_after_refusals_is_shown_apart_from_what_is_sent(tmp_path: Path) -> None:
    """Refused twice, a record waits for a run: the plan leaves it out of what is sent, and so does the run."""
    tool = Tool()
    tool.refused = {1}
    with answering(tool) as server:
        http_project(tmp_path, UPSERT % 1, ROWS, "", server.url)
        with opened(tmp_path) as project:
            project.run("s")
            project.run("s")
            view = project.plan("s")
            assert (view.plan.counts.added, view.outlook.sent, view.outlook.waiting) == (1, 0, 1)
            assert view.next_command == "levada retry s"
            document = view.as_dict()
            assert (document["sends"], document["waiting"]) == ({"added": 0, "changed": 0, "removed": 0}, 1)
            before = len(tool.asked)
            result = project.run("s")
            assert (len(tool.asked) - before, result.tally.waiting, result.tally.delivered_total) == (0, 1, 0)


def test_what_waits_for_an_open_end_is_shown_apart_with_its_time_and_its_option(tmp_path: Path) -> None:
    """The change of record 2 was never answered: 3 goes at once, 2 after the wait, and the plan says so."""
    tool = Tool()
    rows = {n: f"N{n}" for n in range(6)}
    with answering(tool) as server:
        http_project(tmp_path, UPSERT % LONG, ROWS, "", server.url)
        with opened(tmp_path) as project:
            project.run("s")
            tool.mute = {2}
            write(tmp_path, rows | {1: "x", 2: "x", 4: "x"})
            assert project.run("s").tally.unknown == 1
            write(tmp_path, rows | {1: "x", 2: "y", 3: "y", 4: "x"})
            view = project.plan("s")
    found = view.outlook
    assert (view.plan.counts.changed, found.sent, found.held, found.waiting, found.in_doubt) == (2, 1, 1, 0, 0)
    assert found.wait is not None
    assert (found.wait.option, found.wait.records) == ("max_server_seconds", 1)
    assert 0 < found.wait.seconds <= LONG
    assert found.wait.as_dict() == view.as_dict()["wait"]
    (told,) = [notice for notice in view.notices if "max_server_seconds" in notice]
    assert told.startswith("1 record waits, because an earlier request for it was not answered")


def test_what_is_in_doubt_is_not_among_what_is_sent(tmp_path: Path) -> None:
    """Events, at most once: what may have arrived is not sent again, neither by the plan's word nor by the run."""
    tool = Tool()
    tool.mute = {2}
    events = A % 0.1 + "objects: {things: {append: {send: POST /things, record: '{fields_all}'}}}"
    with answering(tool) as server:
        http_project(tmp_path, events, ROWS, "mode: append\ndelivery: at_most_once", server.url)
        with opened(tmp_path) as project:
            project.run("s")
            found = project.plan("s").outlook
            assert (found.sent, found.in_doubt, found.held) == (0, 1, 0)
            before = len(tool.asked)
            again = project.run("s")
            assert (len(tool.asked) - before, again.tally.unknown) == (0, 1)


@pytest.mark.parametrize("sync", ["", "first_run: skip"])
def test_the_figures_of_a_first_plan_are_those_of_its_run(tmp_path: Path, sync: str) -> None:
    """A first run that takes all as synced sends nothing, and its plan says nothing else."""
    with answering(Tool()) as server:
        http_project(tmp_path, UPSERT % 1, ROWS, sync, server.url)
        with opened(tmp_path) as project:
            view = project.plan("s")
            result = project.run("s")
    assert view.outlook.sent == result.tally.delivered_total == (0 if sync else 6)
    assert view.next_command == "levada run s"


def test_a_run_that_was_left_open_is_named(tmp_path: Path) -> None:
    """It goes on first: the plan is made against the state before it."""
    tool = Tool()
    with answering(tool) as server:
        http_project(tmp_path, UPSERT % 1, ROWS, "", server.url)
        with opened(tmp_path) as project:
            tool.mute = set(range(6))
            paused = project.run("s")
            assert paused.status == "paused"
            view = project.plan("s")
    assert view.resumes == view.as_dict()["resumes"] == paused.run_id
    assert any(paused.run_id in notice for notice in view.notices)
