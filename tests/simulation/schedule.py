"""What happens in one schedule, as plain data drawn from a seed: so it can be printed, replayed and shrunk."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Letter = Literal["T", "A", "B", "C", "D"]
LETTERS: tuple[Letter, ...] = ("T", "A", "B", "C", "D")

REQUEST_FAULTS: tuple[str, ...] = (
    "refuse_record", "refuse_batch", "throttle", "lost_before", "lost_after", "late", "half",
    "shuffled", "fewer", "lie_html", "lie_empty", "lie_truncated", "lie_garbage", "lie_unapplied",
    "error_500", "error_500_applied", "no_connection", "expired",
)  # fmt: skip
"""What may happen to one request over HTTP."""
WRITER_FAULTS: tuple[str, ...] = ("refuse_record", "refuse_batch", "lost_before", "lost_after", "no_connection")
"""What may happen to one batch of a table."""
STAGE_FAULTS: tuple[str, ...] = ("down", "revoked", "poison", "quota")
"""What holds for a whole stage over HTTP."""
SOURCE_FAULTS: tuple[str, ...] = ("breaks", "empty", "loses_column")
RUN_FAULTS: tuple[str, ...] = ("crash", "trigger", "frozen", "mapping", "restored", *SOURCE_FAULTS)
"""What happens to a run as a whole."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`value` None removes the row."""

    key: int
    value: str | None
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What changes, then one run, and what goes wrong meanwhile. `faults`: by number of the request in the stage."""

    edits: tuple[Edit, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()
    weather: str = ""
    source: str = ""
    crash: int | None = None
    trigger: int | None = None
    frozen: int | None = None
    human: tuple[tuple[str, int], ...] = ()
    mapping: int = 0
    wait_seconds: float = 0.0
    restored: bool = False
    copied: bool = False


@dataclass(frozen=True, slots=True)
class Schedule:
    seed: int
    letter: Letter
    batch: int
    lanes: int
    repeats: Literal["at_least_once", "at_most_once"]
    rate: float | None
    rows: tuple[Edit, ...]
    stages: tuple[Stage, ...] = field(default_factory=tuple)

    def smaller(self) -> Iterator[Schedule]:
        """Schedules with one part less, the big parts first."""
        for index in range(len(self.stages) if len(self.stages) > 1 else 0):
            yield replace(self, stages=self.stages[:index] + self.stages[index + 1 :])
        for index, stage in enumerate(self.stages):
            for less in _less(stage):
                yield replace(self, stages=(*self.stages[:index], less, *self.stages[index + 1 :]))
        for index in range(len(self.rows)):
            if len(self.rows) > 1:
                yield replace(self, rows=self.rows[:index] + self.rows[index + 1 :])
        if self.rate is not None:
            yield replace(self, rate=None)
        if self.lanes > 1:
            yield replace(self, lanes=1)
        if self.batch > 1:
            yield replace(self, batch=1)


def _less(stage: Stage) -> Iterator[Stage]:
    parts: tuple[tuple[str, Any], ...] = (
        ("weather", ""), ("source", ""), ("crash", None), ("trigger", None), ("frozen", None),
        ("mapping", 0), ("wait_seconds", 0.0), ("restored", False), ("copied", False), ("human", ()),
    )  # fmt: skip
    for name, none in parts:
        if getattr(stage, name) != none:
            yield replace(stage, **{name: none})
    for index in range(len(stage.faults)):
        yield replace(stage, faults=stage.faults[:index] + stage.faults[index + 1 :])
    for index in range(len(stage.edits)):
        yield replace(stage, edits=stage.edits[:index] + stage.edits[index + 1 :])


def draw(seed: int, *, rows_max: int = 12) -> Schedule:
    """The schedule of a seed."""
    chance = random.Random(f"schedule {seed}")
    letter = LETTERS[seed % len(LETTERS)]
    count = chance.randint(1, rows_max)
    return Schedule(
        seed=seed,
        letter=letter,
        batch=chance.choice((1, 2, 3, 4)) if letter != "B" else 1,
        lanes=chance.choice((1, 2, 3)),
        repeats=chance.choice(("at_least_once", "at_most_once")),
        rate=chance.choice((None, None, 5.0)) if letter != "T" else None,
        rows=tuple(Edit(key, _value(chance), chance.choice((None, 0, 7))) for key in range(1, count + 1)),
        stages=tuple(_stage(chance, letter, count, number) for number in range(chance.choice((1, 2, 2, 3, 4)))),
    )


def _value(chance: random.Random) -> str:
    return chance.choice(("a", "b", "c", "d'\"e", ""))


def _edits(chance: random.Random, count: int, number: int) -> tuple[Edit, ...]:
    if not number:
        return ()
    found = []
    for _ in range(chance.choice((0, 1, 2, 3, 4))):
        key = chance.randint(1, count + 2)
        gone = chance.random() < 0.3 and key != 1
        found.append(Edit(key, None if gone else _value(chance), chance.choice((None, 0, 7))))
    return tuple(found)


def _stage(chance: random.Random, letter: Letter, count: int, number: int) -> Stage:
    kinds = WRITER_FAULTS if letter == "T" else REQUEST_FAULTS
    faults = {}
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        faults[chance.choice((0, 0, 1, 1, 2, 3, 4, 6, 9))] = chance.choice(kinds)
    if chance.random() < 0.1:
        start, kind = chance.randint(0, 3), chance.choice(kinds)
        faults.update(dict.fromkeys(range(start, start + 9), kind))
    weather = chance.choice(STAGE_FAULTS) if letter != "T" and chance.random() < 0.15 else ""
    longest = 5 if letter == "B" else 6
    if letter == "B" and weather == "quota":
        weather = "down"  # a key that has expired is not told from a live one: docs/internals/simulation.md
    return Stage(
        edits=_edits(chance, count, number),
        faults=tuple(sorted(faults.items())),
        weather=weather,
        source=chance.choice(SOURCE_FAULTS) if chance.random() < 0.12 else "",
        crash=chance.choice((*range(34),)) if chance.random() < 0.35 else None,
        trigger=chance.randint(0, 4) if chance.random() < 0.1 else None,
        frozen=chance.randint(0, 3) if chance.random() < 0.06 else None,
        human=_people(chance, count) if chance.random() < 0.12 else (),
        mapping=chance.choice((1, 2)) if chance.random() < 0.1 else 0,
        wait_seconds=chance.choice((0.0, 0.0, 1.0, 30.0, 3_600.0, 200_000.0)[:longest]),
        restored=number > 0 and chance.random() < 0.08,
        copied=chance.random() < 0.3,
    )


def _people(chance: random.Random, count: int) -> tuple[tuple[str, int], ...]:
    deeds = ("edit", "add", "delete")
    return tuple((chance.choice(deeds), chance.randint(1, count)) for _ in range(chance.choice((1, 2))))
