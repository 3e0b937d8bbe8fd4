"""From a run's journal to what folding and reports need: how every operation of the plan ended."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from levada.change import Kind
from levada.delivery.idempotency import AT_MOST_ONCE, KEY_EXPIRED, TWICE, UNANSWERED
from levada.gathering import ROWS, Rows
from levada.outcome import GONE, Effect, Outcome, Outcomes
from levada.plan import Plan
from levada.planner import Settled, Settlement
from levada.run import Tally
from levada.store import Intent, JournalEntry

REPORTED = (TWICE.code, AT_MOST_ONCE.code)
"""Codes that a run's figures count."""
SEQUENCE: pa.Field[Any] = pa.field("sequence", pa.int64())
EXCEPTIONS = pa.schema([SEQUENCE, pa.field("settlement", pa.string()), pa.field("operation", pa.string())])
IDENTIFIERS = pa.schema([SEQUENCE, pa.field("identifier", pa.string())])
_RANGES: list[pa.Field[Any]] = [pa.field("first", pa.int64()), pa.field("stop", pa.int64())]
EFFECTS = pa.schema([*_RANGES, pa.field("effect", pa.string())])


def settlement_of(outcome: Outcome, *, doubtful: bool) -> Settlement:
    """How one operation of an answered batch ended, for the ledger.

    A record refused after an attempt that may have been applied stays unknown: the refusal says nothing
    about the earlier attempt (E7). What is gone is gone, whatever was sent before.
    """
    if outcome.end == "rejected" and outcome.code == GONE:
        return "gone"
    match outcome.end:
        case "delivered":
            return "delivered"
        case "rejected":
            return "unknown" if doubtful else "rejected"
        case "waiting":
            return "rejected"  # as the earlier run left it: nothing was sent
        case "suppressed":
            return "suppressed"
        case "not_applied":
            return "unknown" if doubtful else "unsent"
        case "unknown":
            return "unknown"


def settle(plan: Plan, entries: Iterable[JournalEntry], requests: int, folder: Path) -> tuple[Settled, Tally]:
    """How every operation of the plan ended, and the figures. What was never intended is unsent.

    The figures count a doubtful rejection as rejected (that is what the destination said); the ledger takes
    it as unknown. The ids of unknown operations are filled in by `PlanReader.with_operations`. Tables that are
    large lie in a file without a name in `folder`, which the caller keeps private.
    """
    counted = _Counted()
    with (
        Rows(EXCEPTIONS, folder) as exceptions,
        Rows(IDENTIFIERS, folder) as identifiers,
        Rows(EFFECTS, folder) as effects,
    ):
        told = _Told(effects)
        for entry in entries:
            counted.count(entry)
            _gather(exceptions, identifiers, entry)
            told.add(entry)
        told.finish()
        for start, stop in counted.covered.gaps(plan.counts.operations):
            for first in range(start, stop, ROWS):
                places = pa.array(range(first, min(stop, first + ROWS)), pa.int64())
                exceptions.extend([places, pa.repeat("unsent", len(places)), pa.nulls(len(places), pa.string())])
        tally = counted.tally(plan, requests)
        ended, named, made = (_unless_empty(rows.table()) for rows in (exceptions, identifiers, effects))
    return Settled("delivered", ended, named, made), tally


def _unless_empty(table: pa.Table) -> pa.Table | None:
    return table if table.num_rows else None


def figures(plan: Plan, entries: Iterable[JournalEntry], requests: int) -> Tally:
    """The figures alone: for a run that has not come to its end."""
    counted = _Counted()
    for entry in entries:
        counted.count(entry)
    return counted.tally(plan, requests)


class _Ranges:
    """Disjoint ranges, those that touch joined: a journal that is read in order is one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        place = bisect_right(self._starts, start)
        before = self._stops[place - 1] if place else None
        after = self._starts[place] if place < len(self._starts) else None
        assert before is None or before <= start, "two batches hold the same operation"
        assert after is None or stop <= after, "two batches hold the same operation"
        if before == start and after == stop:
            self._stops[place - 1] = self._stops.pop(place)
            del self._starts[place]
        elif before == start:
            self._stops[place - 1] = stop
        elif after == stop:
            self._starts[place] = start
        else:
            self._starts.insert(place, start)
            self._stops.insert(place, stop)

    def gaps(self, total: int) -> Iterator[tuple[int, int]]:
        """What is missing of [0, total)."""
        reached = 0
        for start, stop in zip(self._starts, self._stops, strict=True):
            if start > reached:
                yield reached, start
            reached = stop
        if reached < total:
            yield reached, total


@dataclass(slots=True)
class _Counted:
    """Figures of a journal, of which nothing else is kept."""

    delivered: dict[Kind, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)
    effects: dict[Effect, int] = field(default_factory=dict)
    taken_over: int = 0
    covered: _Ranges = field(default_factory=_Ranges)

    def count(self, entry: JournalEntry) -> None:
        intent, outcomes = entry.intent, _outcomes(entry)
        self.covered.add(intent.first, intent.first + intent.size)
        for end, count in outcomes.counts(intent.size).items():
            if end == "delivered":
                self.delivered[intent.kind] = self.delivered.get(intent.kind, 0) + count
            else:
                name = "unsent" if end == "not_applied" else end
                self.others[name] = self.others.get(name, 0) + count
        self._count_effects(intent, outcomes)
        for index in range(intent.size) if outcomes.common.code in REPORTED else outcomes.exceptions:
            code = outcomes.of(index).code
            self.codes[code] = self.codes.get(code, 0) + 1

    def _count_effects(self, intent: Intent, outcomes: Outcomes) -> None:
        exceptions = outcomes.exceptions.items()
        if outcomes.common.end == "delivered":
            others = (index for index, outcome in exceptions if outcome.end != "delivered")
            found = outcomes.effects.counts(intent.size, others)
        else:
            found = {}
            for index, outcome in exceptions:
                if outcome.end == "delivered":
                    effect = outcomes.effects.of(index)
                    found[effect] = found.get(effect, 0) + 1
        for effect, count in found.items():
            self.effects[effect] = self.effects.get(effect, 0) + count
            if intent.kind == "added" and effect in ("updated", "same"):
                self.taken_over += count

    def tally(self, plan: Plan, requests: int) -> Tally:
        """With what was never intended as unsent."""
        operations = plan.counts.operations
        unsent = sum(stop - start for start, stop in self.covered.gaps(operations))
        tally = Tally(
            delivered=self.delivered,
            rejected=self.others.get("rejected", 0),
            waiting=self.others.get("waiting", 0),
            suppressed=self.others.get("suppressed", 0),
            unknown=self.others.get("unknown", 0),
            unsent=self.others.get("unsent", 0) + unsent,
            requests=requests,
            effects=self.effects,
            taken_over=self.taken_over,
            possibly_duplicated=self.codes.get(TWICE.code, 0),
            possibly_missing=self.codes.get(AT_MOST_ONCE.code, 0),
        )
        assert tally.operations == operations, "an operation has no end, or two"
        return tally


class _Told:
    """Gathers effects as ranges: those of one batch after the other, neighbours that are alike as one."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._range = (0, 0, "untold")

    def add(self, entry: JournalEntry) -> None:
        if entry.outcomes is None:
            return
        place = entry.intent.first
        for effect, length in entry.outcomes.effects.runs(entry.intent.size):
            first, stop, before = self._range
            if (stop, before) == (place, effect):
                self._range = (first, place + length, effect)
            else:
                self.finish()
                self._range = (place, place + length, effect)
            place += length

    def finish(self) -> None:
        """Nothing follows the range that was begun."""
        if self._range[2] != "untold":
            self._rows.append(*self._range)


def _outcomes(entry: JournalEntry) -> Outcomes:
    return entry.outcomes or Outcomes(Outcome("unknown"))


def _gather(exceptions: Rows, identifiers: Rows, entry: JournalEntry) -> None:
    """What the ledger wants to know of one batch."""
    first, outcomes = entry.intent.first, _outcomes(entry)
    doubtful = entry.doubtful or entry.outcomes is None
    common = settlement_of(outcomes.common, doubtful=doubtful)
    for index in range(entry.intent.size) if common != "delivered" else outcomes.exceptions:
        outcome = outcomes.of(index)
        settlement: Settlement = settlement_of(outcome, doubtful=doubtful)
        if outcome.code == UNANSWERED.code or (outcome.code == KEY_EXPIRED.code and entry.intent.kind == "removed"):
            settlement = "unsent"  # what is known of an earlier request stays as it is
        if settlement != "delivered":
            exceptions.append(first + index, settlement, None)
    for index, identifier in outcomes.identifiers.items():
        if outcomes.of(index).end == "delivered":
            identifiers.append(first + index, identifier)
