"""From a seed to a schedule: two in five are drawn freely, two in five aim at a cell of the table of faults, and one
in five at a pair of states that meet in a batch. Of those drawn freely one in twelve is of runs and their undos.

The aims follow one another, so that ENFORCED_FROM consecutive seeds hold an aim at every fault in every state of every
class, and PAIRS_ENFORCED_FROM one at every pair.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from simulation import undoing
from simulation.aims import aimed
from simulation.coverage import Cell, cells_of
from simulation.pairing import Mode, meeting
from simulation.pairs import meetings
from simulation.schedule import (
    DEEDS,
    LETTERS,
    REQUEST_FAULTS,
    SOURCE_FAULTS,
    STAGE_FAULTS,
    WRITER_FAULTS,
    Edit,
    Letter,
    Schedule,
    Stage,
)

PERIOD = 5
AIMED = (1, 3)
"""Of so many schedules of a class in a row, those with these numbers aim at a fault."""
PAIRED = 4
"""And the one with this number at a pair."""
UNDOS, UNDOS_PERIOD = (12, 42), 60
"""Of UNDOS_PERIOD in a row those with these numbers, which would be drawn freely, have undos."""


def draw(seed: int, *, rows_max: int = 12) -> Schedule:
    """The schedule of a seed."""
    cell = aim_of(seed)
    chance = random.Random(f"schedule {seed}")
    if (pair := pair_of(seed)) is not None:
        found = meeting(*pair, LETTERS[seed % len(LETTERS)], seed, chance)
        return _troubled(found, spared=len(found.stages))
    if (undos := undos_of(seed)) is not None:
        return _in_pieces(undoing.drawn(seed, chance, undos), chance)
    if cell is None:
        return _moded(_troubled(_free(seed, chance, rows_max)))
    found = aimed(cell, seed, chance, rows_max)
    more = chance.choice((0, 0, 1, 2))
    count, reached = len(found.rows), len(found.stages)
    noise = tuple(_stage(chance, found.letter, count, reached + number) for number in range(more))
    return _troubled(replace(found, stages=(*found.stages, *noise)), spared=reached)


def aim_of(seed: int) -> Cell | None:
    """The cell that a seed's schedule aims at; None for one that is drawn freely."""
    letter, number = LETTERS[seed % len(LETTERS)], seed // len(LETTERS)
    if number % PERIOD not in AIMED:
        return None
    cells = _cells(letter)
    return cells[(number // PERIOD * len(AIMED) + AIMED.index(number % PERIOD)) % len(cells)]


def pair_of(seed: int) -> tuple[str, str, str] | None:
    """The pair of states, and the kind, that a seed's schedule aims at, if it does."""
    letter, number = LETTERS[seed % len(LETTERS)], seed // len(LETTERS)
    found = _mixed(letter)
    return found[number // PERIOD % len(found)] if number % PERIOD == PAIRED else None


def undos_of(seed: int) -> int | None:
    """If the seed's schedule has undos: the how manieth of its class it is."""
    number = seed // len(LETTERS)
    if number % UNDOS_PERIOD not in UNDOS:
        return None
    return number // UNDOS_PERIOD * len(UNDOS) + UNDOS.index(number % UNDOS_PERIOD)


def _moded(schedule: Schedule) -> Schedule:
    """One in three in another mode than mirror; one in three of classes B and C in bulk."""
    chance = random.Random(f"mode {schedule.seed}")
    modes: tuple[Mode, ...] = ("upsert", "insert") if schedule.letter in ("B", "C", "T") else ("upsert",)
    mode = chance.choice(modes) if chance.random() < 1 / 3 else "mirror"
    bulk = schedule.letter in ("B", "C") and chance.random() < 1 / 3
    return replace(schedule, mode=mode, bulk=bulk, batch=max(2, schedule.batch) if bulk else schedule.batch)


@cache
def _mixed(letter: Letter) -> tuple[tuple[str, str, str], ...]:
    """The pairs in an order in which each few hundred schedules meet some of every kind."""
    found = meetings(letter)
    return tuple(random.Random("pairs").sample(found, k=len(found)))


@cache
def _cells(letter: Letter) -> tuple[Cell, ...]:
    return tuple(cells_of(letter))


def _free(seed: int, chance: random.Random, rows_max: int) -> Schedule:
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


def _troubled(schedule: Schedule, spared: int = 0) -> Schedule:
    """One stage in eight beyond the `spared` has trouble with its disk or dies amid its files. Three plans in five are
    read in pieces."""
    chance = random.Random(f"trouble {schedule.seed}")
    stages = list(schedule.stages)
    for number in range(spared, len(stages)):
        drawn = chance.random()
        if drawn < 0.06:
            stages[number] = replace(stages[number], full=chance.randint(0, 60))
        elif drawn < 0.12:
            stages[number] = replace(stages[number], torn=chance.randint(0, 40))
    return _in_pieces(replace(schedule, stages=tuple(stages)), chance)


def _in_pieces(schedule: Schedule, chance: random.Random) -> Schedule:
    return replace(schedule, pieces=chance.choice((0, 0, 1, 2, 3)))


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
        wait_seconds=chance.choice((0.0, 0.0, 1.0, 30.0, 3_600.0, 200_000.0)),
        restored=number > 0 and chance.random() < 0.08,
        copied=chance.random() < 0.3,
    )


def _people(chance: random.Random, count: int) -> tuple[tuple[str, int], ...]:
    return tuple((chance.choice(DEEDS), chance.randint(1, count)) for _ in range(chance.choice((1, 2))))
