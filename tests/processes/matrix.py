"""Kills a run at a step, lets the next one resume (and kills that too), and has the outcome judged."""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from processes import judge
from processes.command import Commands, Ended, Step, Strike, copied
from processes.destination import Held
from processes.worlds import SECOND, THIRD, World

RUN = ("run", "people", "--json")
TURNS = ("fsync", "fdatasync", "rename", "link", "unlink", "mkdir", "rmdir", "ftruncate", "send", "recv")
"""Calls that move what the next process finds by more than a piece of a file: the points of the pairs."""

ACKNOWLEDGING = 15
"""So many steps after the last one at the destination its answer is written down, about."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a case begins from."""

    folder: Path
    held: Held
    models: int


@dataclass
class Matrix:
    """All cases of one world. `bad` are findings with the way to see them again."""

    world: World
    commands: Commands
    scratch: Path
    cases: int = 0
    pairs: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    again: int = 0
    #: the case in which so many batches were sent again
    most: str = ""
    #: is it allowed that a record stays in doubt? Where at most once is asked for, yes
    doubts: bool = True
    bad: list[str] = field(default_factory=list)

    def begin(self, scenario: str) -> Start:
        """Before the very first run (`first`), or before one that adds, changes and removes (`change`)."""
        world = self.world
        world.prepare()
        if scenario == "change":
            assert self.commands.run(world.folder, *RUN).code == 0
            world.model(SECOND)
        return self.kept(scenario)

    def kept(self, name: str) -> Start:
        """Everything as it is now, to go back to."""
        to = self.scratch / name
        copied(self.world.folder, to)
        return Start(to, self.world.server.copy(), len(self.world.history))

    def back(self, start: Start) -> None:
        world = self.world
        if world.letter in ("T postgres", "T mariadb"):
            world.prepare()
            return
        copied(start.folder, world.folder)
        world.server.put_back(start.held)
        del world.history[start.models :]

    def steps_of(self, start: Start) -> tuple[Step, ...]:
        """The steps of an undisturbed run: the list of crash points, made by the run itself."""
        self.back(start)
        ended = self.commands.run(self.world.folder, *RUN)
        assert ended.code == 0, (ended.out, ended.talk)
        self.steps.update(step.sort for step in ended.steps)
        return ended.steps

    def die(self, strike: Strike) -> Ended:
        """One process that is killed, if it comes so far."""
        ended = self.commands.run(self.world.folder, *RUN, strike=strike)
        if len(ended.steps) > strike.number:
            self.struck[ended.steps[strike.number].sort] += 1
        asked_to_end = (5, -strike.signal) if strike.signal != signal.SIGKILL else ()
        if not ended.killed and ended.code not in (*self.good_codes, *asked_to_end):
            self.bad.append(f"{self.world.letter}: {strike}, and it ended with {ended.code}: {ended.talk}")
        self.world.server.wait_until_idle()
        return ended

    @property
    def good_codes(self) -> tuple[int, ...]:
        return (0, 3) if self.doubts and self.world.letter == "D once" else (0,)

    def one(self, start: Start, strikes: Sequence[Strike], *, edit: bool) -> tuple[Step, ...]:
        """One case: a process for each strike, then one that finishes, then one that has nothing to do.

        `edit`: the model changes after the first kill. Returns the steps of the process that finished.
        """
        world = self.world
        self.back(start)
        marks: list[int] = []
        killed = 0
        for place, strike in enumerate(strikes):
            killed += self.die(strike).killed
            marks.append(len(world.log()))
            if edit and not place:
                world.model(THIRD)
        resumed = self.commands.run(world.folder, *RUN)
        quiet_from = world.writes()
        quiet = self.commands.run(world.folder, *RUN)
        self.cases += 1
        self.pairs += killed > 1
        where = f"class {world.letter}, {start.folder.name}, {', then '.join(map(str, strikes))}, edit={edit}"
        for ended in (resumed, quiet):
            if ended.code not in self.good_codes:
                self.bad.append(f"{where}: the next start ended with {ended.code}: {ended.out} {ended.talk}")
                return resumed.steps
        evidence = judge.Evidence(
            letter=world.letter,
            history=world.history,
            log=[(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()],
            held=world.held(),
            reports=world.reports(),
            marks=marks,
            quiet_writes=world.writes() - quiet_from,
        )
        self.bad += [f"{where}: {found}" for found in judge.findings(evidence)]
        again = max(judge.sent_again(evidence))
        if again > self.again:
            self.again, self.most = again, where
        return resumed.steps

    def all(self, scenario: str, chance: random.Random, *, points: int | None, pairs: int) -> None:
        """Every point of the scenario's run, or a drawn `points` of them; and `pairs` drawn pairs of points."""
        start = self.begin(scenario)
        steps = self.steps_of(start)
        chosen = list(_points(steps))
        if points is not None:
            chosen = _drawn(chosen, _delivering(steps), points, chance)
        resumes: list[tuple[Strike, bool, tuple[Step, ...]]] = []
        for place, strike in enumerate(chosen):
            edit = place % 2 == 1
            resumes.append((strike, edit, self.one(start, [strike], edit=edit)))
        turns = [each for each in resumes if steps[each[0].number].call.startswith(TURNS)] or resumes
        for _ in range(pairs):
            first, edit, resumed = chance.choice(turns)
            second = chance.choice([step for step in resumed if step.call.startswith(TURNS)])
            self.one(start, [first, Strike(second.number)], edit=edit)
        shutil.rmtree(start.folder)


def left_to_a_person(finding: str, world: World, ended: Ended) -> bool:
    """Where nobody knows any more how old an idempotency key is, the record is told of instead of sent again.

    So after a reboot, or when a clock was set back: docs/concepts/destination-classes.md.
    """
    held = {row["id"] for row in world.held()}
    missing = [key for key in world.history[-1] if key not in held]
    return finding.startswith(("lost or left", "report")) and 0 < len(missing) <= ended.document["unknown"]


def _drawn(every: Sequence[Strike], busy: range, points: int, chance: random.Random) -> list[Strike]:
    """Some of the points; all but one of them where the destination is at work, which is a small part of the run."""
    inside = [strike for strike in every if strike.number in busy]
    outside = [strike for strike in every if strike.number not in busy]
    some = min(len(inside), points - 1) if points > 1 else 1
    drawn = [*chance.sample(inside, some), *chance.sample(outside, points - some)]
    return sorted(drawn, key=lambda strike: strike.number)


def _delivering(steps: Sequence[Step]) -> range:
    """From the first step at the destination to the time when its last answer has been written down."""
    there = [step.number for step in steps if step.where == "tcp" or step.where.startswith("there.")]
    return range(min(there), max(there) + ACKNOWLEDGING)


def _points(steps: Sequence[Step]) -> Iterator[Strike]:
    """Before every step, which is after the one before it; and after what goes over the network, and the last."""
    for step in steps:
        yield Strike(step.number)
        if step.where == "tcp" or step is steps[-1]:
            yield Strike(step.number, after=True)
