"""Schedules that aim at one cell of the coverage table: first what brings an operation into the state, then the fault.

All else is drawn. What is not here: which seed aims at which cell (`drawing`).
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, cast

from simulation.schedule import (
    RUN_FAULTS,
    SOURCE_FAULTS,
    STAGE_FAULTS,
    WRITER_WEATHER,
    Edit,
    Letter,
    Schedule,
    Stage,
)

DAY_SECONDS = 86_400.0
REPEATED = ("resent", "resumed")
"""States that only those reach who send again what may have been applied."""


def aimed(cell: tuple[str, str, str], seed: int, chance: random.Random, rows_max: int) -> Schedule:
    """A schedule in which `cell` is reached, whatever is drawn."""
    fault, state, letter = cell
    count = chance.randint(min(3, rows_max), min(6, rows_max))
    rows = tuple(Edit(key, f"{chance.choice('abc')}{key}", chance.choice((None, 0, 7))) for key in range(1, count + 1))
    base = Schedule(
        seed=seed,
        letter=cast("Letter", letter),
        batch=1 if letter == "B" else chance.choice((2, 3, 4)),
        lanes=1 if fault == "poison" else chance.choice((1, 2)),
        repeats="at_least_once" if state in REPEATED else chance.choice(("at_least_once", "at_most_once")),
        rate=chance.choice((None, None, 5.0)) if letter != "T" else None,
        rows=rows,
    )
    if fault in RUN_FAULTS or fault.startswith("person_"):
        return replace(base, stages=_whole(fault, base, chance))
    return replace(base, stages=_struck(fault, state, base, chance))


def _struck(fault: str, state: str, base: Schedule, chance: random.Random) -> tuple[Stage, ...]:
    """The fault befalls the first request in that state."""
    weather = fault in (STAGE_FAULTS if base.letter != "T" else WRITER_WEATHER)
    hit: dict[str, Any] = {"weather": fault, "onset": state} if weather else {"strikes": ((state, fault),)}
    match state:
        case "changed":
            return (Stage(), Stage(edits=edited(base, chance), **hit))
        case "removed":
            gone = range(1, chance.randint(2, max(2, len(base.rows) - 1)) + 1)
            return (Stage(), Stage(edits=tuple(Edit(key, None) for key in gone), **hit))
        case "resent" | "look-up":
            lost = "lost_before" if fault == "shuffled" else _lost(base, chance)  # several found are sent one by one
            return (Stage(**{**hit, "strikes": (("added", lost), *hit.get("strikes", ()))}),)
        case "resumed":
            point = chance.choice(("request.before", "request.answered")) if base.letter != "T" else "request.before"
            return (Stage(crash=point), Stage(**hit))
        case _:
            return (Stage(**hit),)


def _lost(base: Schedule, chance: random.Random) -> str:
    """An answer that is lost such that the record is sent again."""
    return "lost_before" if base.letter == "T" else chance.choice(("lost_before", "lost_after", "error_500_applied"))


def edited(base: Schedule, chance: random.Random) -> tuple[Edit, ...]:
    """Other values for the first rows; never what they are."""
    some = base.rows[: chance.randint(min(2, len(base.rows)), len(base.rows))]
    return tuple(Edit(row.key, f"new {row.value}", row.score) for row in some)


def _whole(fault: str, base: Schedule, chance: random.Random) -> tuple[Stage, ...]:
    """What happens to a run as a whole: in its first run, or in one that changes, removes and adds."""
    work = (*edited(base, chance), Edit(len(base.rows), None), Edit(len(base.rows) + 1, "n"))
    first = chance.random() < 0.5
    before: tuple[Stage, ...] = () if first else (Stage(copied=True),)
    edits = () if first else work
    match fault:
        case "crash":
            return (*before, Stage(edits=edits, crash=chance.randint(0, 12)))
        case "torn":
            return (*before, Stage(edits=edits, torn=chance.randint(0, 12)))
        case "disk_full":
            return (*before, Stage(edits=edits, full=chance.randint(0, 24)))
        case "trigger":
            return (*before, Stage(edits=edits, trigger=0))
        case "frozen":
            return (*before, Stage(edits=edits, frozen=0))
        case "outage":
            return (*before, *_days(base, chance), Stage())
        case "mapping":
            return (Stage(), Stage(mapping=chance.choice((1, 2)), edits=() if first else work))
        case "restored":
            return (Stage(copied=True), Stage(edits=work), Stage(restored=True))
        case fault if fault in SOURCE_FAULTS:
            return (*before, Stage(edits=edits, source=fault))
    deed = fault.removeprefix("person_")
    return (Stage(), Stage(human=((deed, 1),), edits=() if first else work))


def _days(base: Schedule, chance: random.Random) -> tuple[Stage, ...]:
    """Days without the tool, in the middle of a run or before it, while the model goes on."""
    onset = chance.choice(("", "added", "changed"))
    days = []
    for day in range(chance.choice((2, 3, 4))):
        edits = tuple(Edit(row.key, f"day {day} {row.value}", row.score) for row in base.rows if chance.random() < 0.6)
        added = (Edit(100 + day, "n"),) if chance.random() < 0.4 else ()
        gone = (Edit(len(base.rows), None),) if chance.random() < 0.3 and len(base.rows) > 1 else ()
        days.append(
            Stage(
                edits=(*edits, *added, *gone),
                weather="down",
                onset="" if day else onset,
                wait_seconds=DAY_SECONDS if day else 0.0,
            )
        )
    return tuple(days)
