"""Worlds beside each other: what stops or hears one run does nothing to another, and two go at once in one process."""

from __future__ import annotations

import sqlite3
import threading
from functools import partial
from pathlib import Path

import pytest

from levada import Project, events
from levada.errors import StoppedError
from levada.halt import Halt
from levada.run import RunResult
from levada.runner.run import run
from levada.runner.world import World
from levada_process import small_project, write

OTHER = "model: customers\nto: crm.people\nmode: mirror\nfields: {id: id, score: score}\n"


def two_syncs(folder: Path, rows: int = 40) -> Path:
    small_project(folder, rows)
    write(folder, {"syncs/other.yml": OTHER})
    return folder


def stop_when_it_starts(world: World, hears: list[events.Event], event: events.Event) -> None:
    hears.append(event)
    if isinstance(event, events.RunStarted):
        world.halt.set()


def held(folder: Path, table: str) -> int:
    connection = sqlite3.connect(folder / "crm.db")
    try:
        ((rows,),) = connection.execute(f"SELECT count(*) FROM {table}")
        return int(rows)
    finally:
        connection.close()


def test_a_halt_apart_is_set_by_the_one_above_and_not_the_other_way_round() -> None:
    """Also for what begins after the stop."""
    above = Halt()
    with above.apart() as first, above.apart() as second:
        first.set()
        assert (first.is_set(), second.is_set(), above.is_set()) == (True, False, False)
        above.set()
        assert second.is_set()
    with above.apart() as late:
        assert late.is_set()


def test_what_computes_apart_is_known_above() -> None:
    """For whoever decides whether a stop may end the process."""
    above = Halt()
    with above.apart() as apart, apart.watch(lambda: None):
        assert above.computing
    assert not above.computing


def test_a_run_that_is_stopped_does_not_stop_the_next(tmp_path: Path) -> None:
    """Two runs of one process, each with its halt and its listener; stores and destinations are opened once."""
    two_syncs(tmp_path)
    heard: dict[str, list[events.Event]] = {"customers_to_crm": [], "other": []}
    results: dict[str, RunResult] = {}
    with Project.open(tmp_path) as project:
        for sync, hears in heard.items():
            with project.world.apart(hears.append) as world:
                if sync == "customers_to_crm":
                    world.listener = partial(stop_when_it_starts, world, hears)
                results[sync] = run(world, sync)
                assert world.store is project.world.store
                assert world.destination("crm") is project.world.destination("crm")
        assert not project.stopped
    assert {sync: result.status for sync, result in results.items()} == {
        "customers_to_crm": "cancelled",
        "other": "succeeded",
    }
    assert held(tmp_path, "people") == 40
    for sync, hears in heard.items():
        assert {event.sync for event in hears if not isinstance(event, events.Notice)} == {sync}


def test_a_project_that_is_stopped_stops_what_runs_apart(tmp_path: Path) -> None:
    """`Project.stop` is for all of it."""
    two_syncs(tmp_path)
    with Project.open(tmp_path) as project:
        project.stop()
        with pytest.raises(StoppedError):
            project.run("other")


def test_two_runs_go_at_once_in_one_process(tmp_path: Path) -> None:
    """A project in each of two threads over one folder: both syncs arrive whole."""
    two_syncs(tmp_path, 2_000)
    start = threading.Barrier(2)
    found: dict[str, RunResult | BaseException] = {}

    def go(sync: str) -> None:
        try:
            with Project.open(tmp_path) as project:
                start.wait(timeout=60)
                found[sync] = project.run(sync)
        except Exception as error:  # noqa: BLE001 -- told below
            found[sync] = error

    threads = [threading.Thread(target=go, args=(sync,)) for sync in ("customers_to_crm", "other")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert {sync: getattr(result, "status", result) for sync, result in found.items()} == {
        "customers_to_crm": "succeeded",
        "other": "succeeded",
    }
    assert (held(tmp_path, "contacts"), held(tmp_path, "people")) == (2_000, 2_000)
