"""6.4, 6.5: one process at a time sends for a sync, and one that was overtaken sends nothing more."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

import claims
from processes import judge
from processes.command import Commands, Ended, Strike, copied, stopped
from processes.destination import Destination
from processes.matrix import RUN
from processes.worlds import SECOND, THIRD, Letter, World, edited

SHORT_LEASE: Mapping[str, object] = {
    "levada.stores.leases.LEASE_SECONDS": 1.0,
    "levada.runner.heartbeat.STALE_SECONDS": 0.5,
    "levada.runner.heartbeat.BEAT_SECONDS": 0.2,
}
"""In place of a minute. The rules are the same."""
STOPS = (("connect", False), ("connect", True), ("send", True), ("recv", True))
"""Where the process is stopped: between intent and request, with a request under way, and with its answer in hand."""
WAIT_SECONDS_MAX = 30.0
POLL_SECONDS = 0.3
TRIES_MAX = 10


def taken_over(commands: Commands, world: World) -> Ended:
    """Start the sync until the stopped owner is given up."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while True:
        ended = commands.wait(commands.start(world.folder, *RUN, constants=SHORT_LEASE))
        if ended.code == 0:
            return ended
        assert ended.document["error"]["code"] == "store.busy", ended.talk
        assert time.monotonic() < deadline, ended.talk
        time.sleep(POLL_SECONDS)


def stops() -> list[tuple[Letter, tuple[str, bool]]]:
    """Every class at every stop, or some of both."""
    letters: tuple[Letter, ...] = ("A", "C", "D")
    every = [(letter, stop) for letter in letters for stop in STOPS]
    return every if claims.full() else [every[0], every[6]]


@pytest.mark.parametrize(
    ("letter", "stop"), stops(), ids=lambda given: given if isinstance(given, str) else f"{given[0]}-{given[1]}"
)
def test_a_process_that_was_stopped_and_overtaken_sends_nothing_more(
    letter: Letter, stop: tuple[str, bool], forge: Commands, server: Destination, tmp_path: Path
) -> None:
    """It wakes up when another has finished its run and sent newer values: no request, no write, and it says why."""
    # one lane: two share a thread, and the other one may have had its last look just before the stop
    world = World(letter, tmp_path / "project", server, lanes=1)
    world.prepare()
    assert forge.run(world.folder, *RUN).code == 0
    world.model(SECOND)
    pid = stopped_at(forge, world, tmp_path / "before", *stop)
    mark = len(world.log())
    taken_over(forge, world)
    world.model(THIRD)
    assert taken_over(forge, world).code == 0
    asked = len(server.copy().asked)
    os.kill(pid, signal.SIGCONT)
    late = forge.wait(pid)
    server.wait_until_idle()
    assert late.code != 0, late.out
    assert "taken over" in late.out + late.talk
    assert len(server.copy().asked) == asked, "the overtaken process has sent a request"
    quiet_from = world.writes()
    assert forge.run(world.folder, *RUN).code == 0
    log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
    evidence = judge.Evidence(
        letter, world.history, log, world.held(), world.reports(), [mark], world.writes() - quiet_from
    )
    assert list(judge.findings(evidence)) == []


def stopped_at(forge: Commands, world: World, before: Path, call: str, after: bool) -> int:
    """Start the coming run and stop it at its first such step over TCP; returns its process id.

    A process that was stopped while another thread of it wrote to the store keeps the database locked, and nobody
    can overtake it: then everything is put back, and it is tried again.
    """
    copied(world.folder, before)
    held = world.server.copy()
    strike = Strike(0, after=after, signal=signal.SIGSTOP, only=call)
    for _ in range(TRIES_MAX):
        copied(before, world.folder)
        world.server.put_back(held)
        pid = forge.start(world.folder, *RUN, strike=strike, constants=SHORT_LEASE)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not stopped(pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if not _locked(world.folder / ".levada" / "state.sqlite"):
            return pid
        os.kill(pid, signal.SIGKILL)
        forge.wait(pid)
        world.server.wait_until_idle()
    raise AssertionError(f"it held the database at each of {TRIES_MAX} tries")


def _locked(database: Path) -> bool:
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        try:
            connection.execute("begin immediate")
            connection.execute("rollback")
        except sqlite3.OperationalError:
            return True
    return False


PROCESSES = 8


def test_of_eight_processes_at_once_one_sends_at_a_time(forge: Commands, server: Destination, tmp_path: Path) -> None:
    """The log shows one sender after the other; the others are told that the sync runs, and in which run (6.4)."""
    world = World("A", tmp_path / "project", server, lanes=1)
    world.prepare()
    named: set[str] = set()
    busy = 0
    for trigger in range(200 if claims.full() else 2):
        pids = [forge.start(world.folder, *RUN) for _ in range(PROCESSES)]
        for pid in pids:
            ended = forge.wait(pid)
            if ended.code == 0:
                continue
            assert ended.code == 5, ended.talk
            error = ended.document["error"]
            assert error["code"] == "store.busy", error
            busy += 1
            named.update(re.findall(r"run_\w+", error["message"]))
        assert world.held() == list(world.history[-1].values())
        changes = {key: {**row, "score": row["score"] + trigger} for key, row in world.history[-1].items()}
        world.model(edited(world.history[-1], changes))
    from levada import Project

    with Project.open(world.folder) as project:
        runs = {run.run_id: run.epoch for run in project.runs("people", 10_000)}
    assert len(set(runs.values())) == len(runs), "two runs have one epoch"
    assert busy
    assert named
    assert named <= set(runs)
    senders = [asked.connection for asked in server.copy().asked]
    turns = [sender for place, sender in enumerate(senders) if place == 0 or senders[place - 1] != sender]
    assert len(turns) == len(set(turns)), "requests of two processes are mixed"
