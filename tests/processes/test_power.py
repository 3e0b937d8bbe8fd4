"""H4, 6.2: after a power cut at any moment the next start needs no person, and nothing acknowledged is lost.

A real run is watched (strace); for moments of it the folder is rebuilt as a disk may hold it when the power goes: what
was fsynced, and of the rest nothing, or some. The destination keeps what it had accepted by then. The process that is
cut off belongs to another boot than the one that goes on.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import claims
from processes import judge
from processes.command import Commands, Ended, copied
from processes.destination import Destination, Held
from processes.disk import SURVIVALS, Disk, Survival
from processes.matrix import RUN, left_to_a_person
from processes.test_crash_points import AGAIN_MAX
from processes.witness import Event, events, watched
from processes.worlds import LANES, SECOND, Letter, World

LETTERS: tuple[Letter, ...] = (
    ("T", "T duckdb", "A", "B", "C", "D", "D once") if claims.full() else ("T", "T duckdb", "A", "D once")
)
SCENARIOS = ("first", "change")
POINTS_FULL = int(os.environ.get("LEVADA_POINTS", "60"))
"""Moments for each class and scenario in the full size, each with every survival."""
AT_ONCE: Mapping[str, object] = {
    "levada.stores.leases.LEASE_SECONDS": 0.02,
    "levada.stores.leases._WATCH_POLL_SECONDS": 0.01,
}
"""How long the owner of another boot is watched for a sign of life."""


@dataclass
class Recording:
    """A run as it happened: what it did to the folder, and what the destination held at each time."""

    start: Path
    events: list[Event]
    held: list[tuple[float, Held]]
    models: int

    def at(self, place: int) -> Held:
        """What the destination has taken, or will yet take, of what was sent before this event."""
        when = self.events[place].when if place < len(self.events) else float("inf")
        return next((held for taken, held in self.held if taken > when), self.held[-1][1])


@dataclass
class PowerCuts:
    world: World
    commands: Commands
    scratch: Path
    cases: int = 0
    accepted: int = 0
    again: int = 0
    survivals: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)

    def record(self, scenario: str) -> Recording:
        """Watch a run from nothing (`first`), or one that adds, changes and removes (`change`)."""
        world = self.world
        world.prepare()
        if scenario == "change":
            assert self.commands.run(world.folder, *RUN).code == 0
            world.model(SECOND)
        start = self.scratch / scenario
        copied(world.folder, start)
        taken: list[tuple[float, Held]] = []
        lock = threading.Lock()

        def note(number: int) -> None:
            with lock:
                taken.append((time.time(), world.server.copy()))

        boot = self.scratch / "boot"
        boot.write_text("the-boot-before-the-power-cut\n", encoding="ascii")
        trace = self.scratch / f"{scenario}.strace"
        world.server.pause = note
        ended = watched(world.folder, trace, RUN, boot=boot)
        world.server.pause = lambda number: None
        assert ended.code == 0, ended.talk
        world.server.wait_until_idle()
        taken.append((float("inf"), world.server.copy()))
        done = list(events(trace, world.folder))
        trace.unlink()
        return Recording(start, done, taken, len(world.history))

    def cut(self, recording: Recording, place: int, disk: Disk, survival: Survival, chance: random.Random) -> None:
        """The power goes before the event of this number; one start finishes, the one after it has nothing to do."""
        world = self.world
        disk.write(world.folder, survival, chance)
        world.server.put_back(recording.at(place))
        (world.folder / "tmp").mkdir(exist_ok=True)
        before = world.log()
        quiet_at = [world.writes()]
        for _ in range(2):
            ended = self.go_on()
            quiet_at.append(world.writes())
            if ended.code not in ((0, 3) if world.letter in ("B", "D once") else (0,)):
                self.bad.append(f"{self._where(recording, place, survival)}: {ended.code}: {ended.out} {ended.talk}")
                return
        evidence = judge.Evidence(
            letter=world.letter,
            history=world.history,
            log=[(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()],
            held=world.held(),
            reports=world.reports(),
            marks=[len(before)],
            quiet_writes=quiet_at[2] - quiet_at[1],
        )
        found = list(judge.findings(evidence))
        if world.letter == "B":
            found = [each for each in found if not left_to_a_person(each, world, ended)]
        again = max(judge.sent_again(evidence))
        if place == len(recording.events) and quiet_at[1] != quiet_at[0]:
            found.append(f"forgotten: the run had ended well, and {quiet_at[1] - quiet_at[0]} writes came after it")
        if again > AGAIN_MAX.get(world.letter, LANES):
            found.append(f"forgotten: {again} batches were sent again")
        self.bad += [f"{self._where(recording, place, survival)}: {each}" for each in found]
        self.cases += 1
        self.accepted += len(before)
        self.again = max(self.again, again)
        self.survivals[survival] += 1

    def go_on(self) -> Ended:
        return self.commands.wait(self.commands.start(self.world.folder, *RUN, constants=AT_ONCE))

    def _where(self, recording: Recording, place: int, survival: Survival) -> str:
        last = recording.events[place - 1] if place else None
        done = f"{last.call} {last.path}" if last else "nothing"
        return f"class {self.world.letter}, {recording.start.name}, cut {place} after {done}, {survival} survives"

    def all(self, scenario: str, chance: random.Random, points: int, survivals: Sequence[Survival]) -> None:
        """Cut at drawn moments, most of them after the plan was begun, and after the end, with each survival."""
        recording = self.record(scenario)
        last = len(recording.events)
        planned = next(place for place, event in enumerate(recording.events) if "/plans/" in event.path)
        places = {
            *chance.sample(range(planned), points // 5),
            *chance.sample(range(planned, last), points - points // 5),
        }
        disk = Disk(recording.start)
        followed = 0
        for place in sorted({*places, last}):
            for event in recording.events[followed:place]:
                disk.follow(event)
            followed = place
            for survival in survivals:
                self.cut(recording, place, disk, survival, chance)


@pytest.mark.needs("strace", "tmpfs")
@pytest.mark.claim("H4")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", LETTERS)
def test_after_a_power_cut_the_next_start_finishes_and_nothing_acknowledged_is_lost(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Nothing lost, doubled or stale, no operator; what the journal had acknowledged is not sent again."""
    cuts = PowerCuts(World(letter, tmp_path / "project", server), forge, tmp_path)
    if claims.full():
        for scenario in SCENARIOS:
            cuts.all(scenario, random.Random(f"power {letter} {scenario}"), POINTS_FULL, SURVIVALS)
    else:
        chance = random.Random(f"power {letter}")
        cuts.all("change" if letter == "T" else "first", chance, 1, ("nothing", "drawn"))
    assert not cuts.bad, f"{len(cuts.bad)} findings in {cuts.cases} cases: " + "\n".join(cuts.bad[:5])
    figure(
        "H4",
        f"class {letter}: {cuts.cases:,} power cuts{'' if claims.full() else ' (drawn)'}, of what was not synced "
        f"{', '.join(f'{name} {count:,}' for name, count in sorted(cuts.survivals.items()))} times; of "
        f"{cuts.accepted:,} accepted operations 0 lost, at most {cuts.again} batches sent again",
    )
