"""What happens in one schedule, as plain data: so it can be printed, replayed and shrunk.

What is not here: how a seed becomes a schedule (`drawing`).
"""

from __future__ import annotations

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
"""What holds for a whole stage over HTTP, or from a moment in it on."""
WRITER_WEATHER: tuple[str, ...] = ("down",)
"""The same for a table."""
SOURCE_FAULTS: tuple[str, ...] = ("breaks", "empty", "loses_column")
RUN_FAULTS: tuple[str, ...] = (
    "crash", "torn", "disk_full", "outage", "trigger", "frozen", "mapping", "restored", *SOURCE_FAULTS,
)  # fmt: skip
"""What happens to a run as a whole."""
FATES: tuple[str, ...] = ("refused", "suppressed", "unheard_before", "unheard_after", "together", "away")
"""What becomes of a record whenever it is sent: refused, left out by policy, not answered for (and not applied, or
applied); refused with every other record of its request; or, once it is sent alone, the tool is away from then on."""
DEEDS: tuple[str, ...] = ("edit", "add", "delete")
"""What people do in the tool."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`value` None removes the row."""

    key: int
    value: str | None
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """What changes, then one run, and what goes wrong meanwhile.

    `faults`: by number of the request in the stage. `strikes`: (state, fault), each for the first request in that
    state that is left. `onset`: the state with whose first request the weather begins; empty: it holds all along.
    `crash`: the process dies at that transaction or request, by number, or at the first of that name. `torn`: it
    dies at that operation on a file, which stays half done. `full`: from that step on the disk is full. `fates`: by
    key, what becomes of a record in this run; there may be several of one. `undo`: in place of a run, that of the stage
    with this number is taken back. `approved`: a run that is held after an undo is approved, and started again.
    """

    edits: tuple[Edit, ...] = ()
    faults: tuple[tuple[int, str], ...] = ()
    strikes: tuple[tuple[str, str], ...] = ()
    weather: str = ""
    onset: str = ""
    source: str = ""
    crash: int | str | None = None
    torn: int | None = None
    full: int | None = None
    trigger: int | None = None
    frozen: int | None = None
    human: tuple[tuple[str, int], ...] = ()
    mapping: int = 0
    wait_seconds: float = 0.0
    restored: bool = False
    copied: bool = False
    fates: tuple[tuple[int, str], ...] = ()
    undo: int | None = None
    approved: bool = False


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
    #: a plan's file is read in pieces of so many rows; 0: as a whole
    pieces: int = 0
    #: what becomes of rows that change or leave; class D appends
    mode: Literal["mirror", "upsert", "insert"] = "mirror"
    #: records are changed and removed by the tool's own id, several in one request
    bulk: bool = False
    #: records of somebody else's that are there before the first run, with a field that is not mapped
    theirs: tuple[Edit, ...] = ()
    #: class A: does the tool tell whether a record was made or was there?
    told: bool = False

    def smaller(self) -> Iterator[Schedule]:
        """Schedules with one part less, the big parts first."""
        for index in range(len(self.stages) if len(self.stages) > 1 else 0):
            yield replace(self, stages=tuple(_without(self.stages, index)))
        for index, stage in enumerate(self.stages):
            for less in _less(stage):
                yield replace(self, stages=(*self.stages[:index], less, *self.stages[index + 1 :]))
        for index in range(len(self.rows)):
            if len(self.rows) > 1:
                yield replace(self, rows=self.rows[:index] + self.rows[index + 1 :])
        if self.bulk:
            yield replace(self, bulk=False)
        if self.pieces:
            yield replace(self, pieces=0)
        if self.rate is not None:
            yield replace(self, rate=None)
        if self.lanes > 1:
            yield replace(self, lanes=1)
        if self.batch > 1:
            yield replace(self, batch=1)


def _without(stages: tuple[Stage, ...], index: int) -> Iterator[Stage]:
    """The stages but one; an undo of it becomes a run."""
    for stage in stages[:index] + stages[index + 1 :]:
        if stage.undo is None or stage.undo < index:
            yield stage
        else:
            yield replace(stage, undo=stage.undo - 1 if stage.undo > index else None)


def _less(stage: Stage) -> Iterator[Stage]:
    parts: tuple[tuple[str, Any], ...] = (
        ("weather", ""), ("onset", ""), ("source", ""), ("crash", None), ("torn", None), ("full", None),
        ("trigger", None), ("frozen", None),
        ("mapping", 0), ("wait_seconds", 0.0), ("restored", False), ("copied", False), ("human", ()),
        ("approved", False),
    )  # fmt: skip
    for name, none in parts:
        if getattr(stage, name) != none:
            yield replace(stage, **{name: none})
    for index in range(len(stage.faults)):
        yield replace(stage, faults=stage.faults[:index] + stage.faults[index + 1 :])
    for index in range(len(stage.strikes)):
        yield replace(stage, strikes=stage.strikes[:index] + stage.strikes[index + 1 :])
    for index in range(len(stage.fates)):
        yield replace(stage, fates=stage.fates[:index] + stage.fates[index + 1 :])
    for index in range(len(stage.edits)):
        yield replace(stage, edits=stage.edits[:index] + stage.edits[index + 1 :])
