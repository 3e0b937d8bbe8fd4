"""From a run's journal to what folding and reports need: how every operation of the plan ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from levada.change import Kind
from levada.delivery.doubts import AT_MOST_ONCE, KEY_EXPIRED, TWICE, UNANSWERED
from levada.outcome import GONE, Outcome, Outcomes
from levada.plan import Plan
from levada.planner import Settled, Settlement
from levada.run import Tally
from levada.store import JournalEntry

REPORTED = (TWICE.code, AT_MOST_ONCE.code)
"""Codes that a run's figures count."""


@dataclass(slots=True)
class _Gathered:
    sequences: list[int] = field(default_factory=list)
    settlements: list[Settlement] = field(default_factory=list)
    identified: list[int] = field(default_factory=list)
    identifiers: list[str] = field(default_factory=list)
    delivered: dict[Kind, int] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)


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


def settle(plan: Plan, entries: Sequence[JournalEntry], requests: int) -> tuple[Settled, Tally]:
    """How every operation of the plan ended, and the figures. What was never intended is unsent.

    The figures count a doubtful rejection as rejected (that is what the destination said); the ledger takes
    it as unknown. The ids of unknown operations are filled in by `PlanReader.with_operations`.
    """
    found = _Gathered()
    reached = 0
    for entry in entries:
        reached += entry.intent.size
        _gather(found, entry)
    operations = plan.counts.operations
    assert reached <= operations, "the journal holds more operations than the plan"
    covered = sorted(_ranges(entries))
    missing = _missing(operations, covered)
    for start, stop in missing:
        found.sequences.extend(range(start, stop))
        found.settlements.extend(["unsent"] * (stop - start))
        found.others["unsent"] = found.others.get("unsent", 0) + stop - start
    exceptions = None
    if found.sequences:
        exceptions = pa.table(
            {
                "sequence": pa.array(found.sequences, pa.int64()),
                "settlement": pa.array(found.settlements, pa.string()),
                "operation": pa.nulls(len(found.sequences), pa.string()),
            }
        )
    identifiers = None
    if found.identified:
        identifiers = pa.table(
            {
                "sequence": pa.array(found.identified, pa.int64()),
                "identifier": pa.array(found.identifiers, pa.string()),
            }
        )
    tally = Tally(
        delivered=found.delivered,
        rejected=found.others.get("rejected", 0),
        waiting=found.others.get("waiting", 0),
        suppressed=found.others.get("suppressed", 0),
        unknown=found.others.get("unknown", 0),
        unsent=found.others.get("unsent", 0),
        requests=requests,
        possibly_duplicated=found.codes.get(TWICE.code, 0),
        possibly_missing=found.codes.get(AT_MOST_ONCE.code, 0),
    )
    assert tally.operations == operations, "an operation has no end, or two"
    return Settled("delivered", exceptions, identifiers), tally


def _gather(found: _Gathered, entry: JournalEntry) -> None:
    first, size = entry.intent.first, entry.intent.size
    outcomes = entry.outcomes or Outcomes(Outcome("unknown"))
    doubtful = entry.doubtful or entry.outcomes is None
    common = settlement_of(outcomes.common, doubtful=doubtful)
    indices = range(size) if common != "delivered" else outcomes.exceptions
    for index in indices:
        outcome = outcomes.of(index)
        settlement = settlement_of(outcome, doubtful=doubtful)
        if outcome.code == UNANSWERED.code or (outcome.code == KEY_EXPIRED.code and entry.intent.kind == "removed"):
            settlement = "unsent"  # what is known of an earlier request stays as it is
        if settlement != "delivered":
            found.sequences.append(first + index)
            found.settlements.append(settlement)
    for end, count in outcomes.counts(size).items():
        if end == "delivered":
            found.delivered[entry.intent.kind] = found.delivered.get(entry.intent.kind, 0) + count
        else:
            name = "unsent" if end == "not_applied" else end
            found.others[name] = found.others.get(name, 0) + count
    for index in range(size) if outcomes.common.code in REPORTED else outcomes.exceptions:
        code = outcomes.of(index).code
        found.codes[code] = found.codes.get(code, 0) + 1
    for index, identifier in outcomes.identifiers.items():
        if outcomes.of(index).end == "delivered":
            found.identified.append(first + index)
            found.identifiers.append(identifier)


def _ranges(entries: Iterable[JournalEntry]) -> Iterable[tuple[int, int]]:
    return ((entry.intent.first, entry.intent.first + entry.intent.size) for entry in entries)


def _missing(total: int, covered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The gaps between sorted, disjoint ranges of [0, total)."""
    gaps: list[tuple[int, int]] = []
    reached = 0
    for start, stop in covered:
        assert start >= reached, "two batches hold the same operation"
        if start > reached:
            gaps.append((reached, start))
        reached = stop
    if reached < total:
        gaps.append((reached, total))
    return gaps
