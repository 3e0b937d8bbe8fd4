"""Runs whose connections break at a byte of a request or an answer, judged by what the destination accepted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from processes import judge
from processes.command import Commands, Ended
from processes.matrix import RUN, Matrix, Start
from processes.worlds import THIRD, World
from servers.fault_proxy import ALL, Fault, FaultProxy, Kind, Message, Side

STATUS_LINE = len("HTTP/1.1 200 OK")
RUNS_MAX = 2
"""After a fault the destination is as the model wants it after at most so many more runs (G3)."""


@dataclass(frozen=True, slots=True)
class Region:
    """A part of the messages of one side, as the places in message `number` that belong to it."""

    name: str
    side: Side
    number: int
    places: range

    def __str__(self) -> str:
        return f"{self.side}: {self.name}"


def regions(requests: list[Message], answers: list[Message]) -> Iterator[Region]:
    """Every part of every request and answer of an undisturbed run over HTTP."""
    for one in requests:
        yield Region("nothing of it", "request", one.number, range(1))
        yield Region("head", "request", one.number, range(1, one.head))
        if one.size > one.head:
            yield Region("between head and body", "request", one.number, range(one.head, one.head + 1))
            yield Region("body", "request", one.number, range(one.head + 1, one.size))
        yield Region("all of it, no answer", "request", one.number, range(one.size, one.size + 1))
    for one in answers:
        yield Region("nothing of it", "answer", one.number, range(1))
        yield Region("status line", "answer", one.number, range(1, STATUS_LINE + 1))
        yield Region("headers", "answer", one.number, range(STATUS_LINE + 1, one.head))
        yield Region("between head and body", "answer", one.number, range(one.head, one.head + 1))
        yield Region("body", "answer", one.number, range(one.head + 1, one.size - 1))
        yield Region("all but the last byte", "answer", one.number, range(one.size - 1, one.size))
        yield Region("all of it: a kept connection breaks", "answer", one.number, range(one.size, one.size + 1))


@dataclass
class Cuts:
    """All cases of one world behind a proxy. `bad` are findings with the way to see them again."""

    world: World
    commands: Commands
    scratch: Path
    proxy: FaultProxy
    cases: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    doubted: int = 0
    bad: list[str] = field(default_factory=list)
    _matrix: Matrix = field(init=False)

    def __post_init__(self) -> None:
        self._matrix = Matrix(self.world, self.commands, self.scratch)

    def begin(self, scenario: str) -> Start:
        """Before the very first run (`first`), or before one that adds, changes and removes (`change`)."""
        self.proxy.aim(None)
        return self._matrix.begin(scenario)

    def undisturbed(self, start: Start) -> tuple[list[Message], list[Message]]:
        """The sizes of what a run says and hears."""
        self._back(start)
        self.proxy.aim(None)
        ended = self._run()
        assert ended.code == 0, (ended.out, ended.talk)
        return self.proxy.requests, self.proxy.answers

    def one(self, start: Start, fault: Fault | None, part: str, *, edit: bool = False) -> None:
        """One case: a run with the fault (None: nobody listens), then runs without until it says it is done; and one
        more. `edit`: the model changes after the first."""
        world, proxy = self.world, self.proxy
        self._back(start)
        proxy.aim(fault)
        if fault is None:
            proxy.refuse()
        first = self._run()
        self._settled()
        struck = proxy.struck if fault else 1
        if fault is None:
            proxy.listen()
        proxy.aim(None)
        where = f"class {world.letter}, {start.folder.name}, {fault or 'refused'} ({part}), edit={edit}"
        say = [f"{where}: never struck"] if not struck else []
        say += [f"{where}: {each}" for each in self._at_once(first, lasting=fault is None or fault.times == ALL)]
        mark = len(world.log())
        if edit:
            world.model(THIRD)
        ended = first
        for _ in range(RUNS_MAX):
            if ended.code in self._matrix.good_codes and not (edit and ended is first):
                break
            ended = self._run()
        quiet_from = world.writes()
        quiet = self._run()
        for each in (ended, quiet):
            if each.code not in self._matrix.good_codes:
                say.append(f"{where}: a later start ended with {each.code}: {each.out} {each.talk}")
        log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
        reports = world.reports()
        evidence = judge.Evidence(
            world.letter, world.history, log, world.held(), reports, [mark], world.writes() - quiet_from
        )
        say += [f"{where}: {found}" for found in judge.findings(evidence)]
        twice = list(_written_twice(log))
        if world.letter.startswith("T") and twice:
            say.append(f"{where}: doubled: {twice} was written already")
        self.bad += say
        self.cases += 1
        self.kinds[fault.kind if fault else "reset"] += 1
        self.parts[part] += 1
        self.doubted += sum(report.get("unknown", 0) + report.get("possibly_duplicated", 0) for report in reports)

    def _at_once(self, first: Ended, *, lasting: bool) -> Iterator[str]:
        """What the run with the fault said, against what the destination had accepted by then."""
        world = self.world
        codes = (2, 5) if lasting else self._matrix.good_codes
        if not world.http and not world.log():
            # a database that goes away before anything was written is a mistake in a file, most of the time
            codes = (*codes, 2)
        if "Traceback" in first.talk or first.code not in codes:
            yield f"the run with the fault ended with {first.code}: {first.out} {first.talk}"
        reports = world.reports()
        accepted = [(one.key, json.dumps(one.values)) for one in world.log() if one.verb != "replay"]
        told = sum(sum(report.get("delivered", {}).values()) for report in reports)
        if told > len(set(accepted)):
            yield f"taken for a delivery: {told} told, {len(set(accepted))} accepted"
        doubled = sum(times > 1 for times in Counter(accepted).values())
        admitted = sum(report.get("possibly_duplicated", 0) for report in reports)
        if world.letter == "D" and first.code == 0 and doubled > admitted:
            yield f"doubled without a word: {doubled} records came again, {admitted} are told as perhaps doubled"

    def _run(self) -> Ended:
        return self.commands.run(self.world.folder, *RUN)

    def _settled(self) -> None:
        """Whatever had been passed on has taken effect or been dropped."""
        if self.world.http:
            self.world.server.wait_until_idle()

    def _back(self, start: Start) -> None:
        self.proxy.aim(None)
        self._matrix.back(start)


def _written_twice(log: list[judge.Line]) -> Iterator[judge.Line]:
    """What says of a record what was said of it last."""
    last: dict[int, object] = {}
    for line in log:
        _, _, key, values, _ = line
        if key in last and last[key] == values:
            yield line
        last[key] = values
