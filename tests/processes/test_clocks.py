"""6.24: clocks that are set forward or back, between runs and in the middle of one, by seconds or by years.

Each process has its own idea of the time (`steps.c`): one is killed, the next goes on, a third has nothing to do, and
no two agree. Nothing is lost, doubled or stale, nobody waits for a day that was passed already.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import claims
from levada_process import small_project, write_customers
from processes import judge
from processes.command import Clocks, Commands, Strike
from processes.destination import Destination
from processes.matrix import RUN, Matrix, Start, left_to_a_person
from processes.worlds import SECOND, THIRD, Letter, World

HOUR, DAY = 3_600, 86_400
YEAR = 365 * DAY
JUMPS = (0, 30, -30, HOUR, -HOUR, 2 * DAY, -2 * DAY, YEAR, -YEAR, 13 * YEAR, -20 * YEAR)
"""Seconds: small corrections, a zone that was set wrongly, a dead battery, past 2038 and back to before there was a
Levada."""
LETTERS: tuple[Letter, ...] = ("T", "A", "B", "C", "D", "D once") if claims.full() else ("B", "D once")
CASES = 20 if claims.full() else 2
IDEMPOTENCY_SECONDS = DAY
"""What the world of class B declares."""


@dataclass
class Jumps(Matrix):
    """All clocks of a case are drawn."""

    chance: random.Random = field(default_factory=random.Random)

    def case(self, start: Start, steps: int) -> None:
        """Killed at any step with the clock set in the middle of the run; two more, each with another clock."""
        world, chance = self.world, self.chance
        self.back(start)
        strike = Strike(chance.randrange(steps))
        walls = [chance.choice(JUMPS) for _ in range(3)]
        first = self.commands.run(
            world.folder, *RUN, strike=strike, clocks=Clocks(walls[0], since=chance.randrange(steps))
        )
        world.server.wait_until_idle()
        marks = [len(world.log())]
        if chance.random() < 0.5:
            world.model(THIRD)
        second = self.commands.run(world.folder, *RUN, clocks=Clocks(walls[1], since=chance.randrange(steps)))
        quiet_from = world.writes()
        quiet = self.commands.run(world.folder, *RUN, clocks=Clocks(walls[2]))
        self.cases += 1
        self.pairs += first.killed
        where = f"class {world.letter}: {strike}, clocks set by {walls}"
        good = (0, 3) if world.letter in ("B", "D once") else (0,)
        for ended in (second, quiet):
            if ended.code not in good:
                self.bad.append(f"{where}: {ended.code}: {ended.out} {ended.talk}")
                return
        log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
        evidence = judge.Evidence(
            world.letter, world.history, log, world.held(), world.reports(), marks, world.writes() - quiet_from
        )
        found = list(judge.findings(evidence))
        if world.letter == "B":
            found = [each for each in found if not left_to_a_person(each, world, quiet)]
        self.bad += [f"{where}: {each}" for each in found]


@pytest.mark.needs("steps")
@pytest.mark.claim("CLOCK")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", LETTERS)
def test_clocks_that_jump_lose_and_double_nothing(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Between runs and within them. A run that waited for a wrong day would never end, and the test with it."""
    jumps = Jumps(World(letter, tmp_path / "project", server), forge, tmp_path)
    jumps.chance = random.Random(f"clocks {letter}")
    start = jumps.begin("change")
    steps = len(jumps.steps_of(start))
    for _ in range(CASES):
        jumps.case(start, steps)
    assert not jumps.bad, f"{len(jumps.bad)} findings in {jumps.cases} cases: " + "\n".join(jumps.bad[:8])
    figure(
        "CLOCK",
        f"class {letter}: {jumps.cases:,} crashed runs{'' if claims.full() else ' (drawn)'} with clocks set by up to "
        "20 years between and within them: 0 lost, doubled or stale",
    )


AGES = {
    "the clock was set back while the key grew old": Clocks(wall=-DAY, monotonic=2 * DAY),
    "the clock stood where it was while the key grew old": Clocks(wall=0, monotonic=2 * DAY),
    "only the clock knows of the time, as after a sleep": Clocks(wall=2 * DAY, monotonic=0),
}


@pytest.mark.needs("steps")
@pytest.mark.parametrize("age", AGES)
def test_an_idempotency_key_that_is_too_old_does_not_look_fresh(
    age: str, forge: Commands, server: Destination, tmp_path: Path
) -> None:
    """The tool has applied the create, the answer was lost, and it has forgotten the key: no second record, whatever
    the clock says."""
    world = World("B", tmp_path / "project", server)
    world.prepare()
    died = forge.run(world.folder, *RUN, strike=Strike(2, after=True, only="recv"))
    assert died.killed
    server.wait_until_idle()
    assert world.held(), "nothing was created before the process died"
    server.held.replays.clear()
    assert AGES[age].wall > IDEMPOTENCY_SECONDS or AGES[age].monotonic > IDEMPOTENCY_SECONDS
    later = forge.run(world.folder, *RUN, clocks=AGES[age])
    assert later.code == 3, f"{later.code}: {later.out} {later.talk}"
    assert later.document["unknown"] or later.document["resumed"]
    keys = [row["id"] for row in world.held()]
    assert len(keys) == len(set(keys)), f"doubled: {keys}"


@pytest.mark.needs("steps")
def test_an_owner_with_another_clock_is_still_the_owner(forge: Commands, server: Destination, tmp_path: Path) -> None:
    """A lease ends by the monotonic clock: a process whose wall clock is years ahead takes nothing from one that
    runs."""
    world = World("C", tmp_path / "project", server, lanes=1)
    world.prepare()
    assert forge.run(world.folder, *RUN).code == 0
    world.model(SECOND)
    at_work, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        if not at_work.is_set():
            at_work.set()
            assert go_on.wait(60)

    server.pause = wait
    pid = forge.start(world.folder, *RUN, clocks=Clocks(wall=-YEAR))
    assert at_work.wait(60)
    intruder = forge.run(world.folder, *RUN, clocks=Clocks(wall=5 * YEAR))
    go_on.set()
    owner = forge.wait(pid)
    server.pause = lambda number: None
    assert owner.code == 0, owner.talk
    assert intruder.document["error"]["code"] == "store.busy"


@pytest.mark.needs("steps")
def test_an_approval_is_not_prolonged_by_a_clock_that_is_set_back(forge: Commands, tmp_path: Path) -> None:
    """It holds for a day. With a clock from before it, or from after that day, the guard asks again."""
    folder = small_project(tmp_path / "project", 40)
    run = ("run", "customers_to_crm", "--json")
    assert forge.run(folder, *run).code == 0
    write_customers(folder, 20)
    blocked = forge.run(folder, *run)
    assert blocked.document["status"] == "blocked"
    assert forge.run(folder, "approve", blocked.document["plan_id"]).code == 0
    for wall in (-YEAR, -2 * HOUR, 2 * DAY):
        assert forge.run(folder, *run, clocks=Clocks(wall)).document["status"] == "blocked"
    assert forge.run(folder, *run, clocks=Clocks(-60)).document["status"] == "succeeded"
