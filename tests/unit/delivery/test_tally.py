"""From a journal to what folding and reports need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from levada.change import Counts
from levada.delivery.tally import figures, settle
from levada.delivery.unfinished import Remains
from levada.outcome import DELIVERED, Outcome, Outcomes
from levada.plan import Plan, PlanFile
from levada.store import Intent, JournalEntry

REJECTED = Outcome("rejected", "no", "no")
NOT_APPLIED = Outcomes(Outcome("not_applied"))


def plan(operations: int) -> Plan:
    """Nothing but added rows."""
    return Plan(
        sync="people",
        plan_id="people@000000000000",
        purpose="sync",
        generation=0,
        mapping_version="m",
        hash_version="h",
        keys=("id",),
        fields=("id",),
        match=("id",),
        counts=Counts(added=operations),
        model_rows=operations,
        files={"added": PlanFile("added.parquet", operations, 0, "")},
    )


def batch(number: int, first: int, size: int, outcomes: Outcomes | None) -> JournalEntry:
    return JournalEntry(Intent(number, "added", first, size, ""), outcomes=outcomes)


JOURNAL = [
    batch(0, 0, 4, Outcomes(DELIVERED, {1: REJECTED}, identifiers={0: "r0", 1: "r1", 2: "r2"})),
    batch(2, 8, 2, None),
    batch(1, 4, 2, NOT_APPLIED),
]


def test_every_operation_of_a_plan_has_one_end(tmp_path: Path) -> None:
    """What no batch holds is unsent; batches may come in any order."""
    found, tally = settle(plan(12), JOURNAL, 5, tmp_path)
    assert found.exceptions is not None
    ends = dict(zip(found.exceptions["sequence"].to_pylist(), found.exceptions["settlement"].to_pylist(), strict=True))
    assert ends == {1: "rejected", **dict.fromkeys([4, 5, 6, 7, 10, 11], "unsent"), **dict.fromkeys([8, 9], "unknown")}
    assert found.exceptions["operation"].null_count == found.exceptions.num_rows
    assert found.identifiers is not None
    assert found.identifiers.to_pylist() == [{"sequence": 0, "identifier": "r0"}, {"sequence": 2, "identifier": "r2"}]
    assert (tally.delivered, tally.rejected, tally.unknown, tally.unsent, tally.requests) == ({"added": 3}, 1, 2, 6, 5)
    assert figures(plan(12), JOURNAL, 5) == tally


def test_figures_alone_take_no_memory_for_what_was_not_sent() -> None:
    """A stop at the beginning of a plan of many records."""
    tally = figures(plan(10**12), [batch(0, 0, 500, Outcomes(DELIVERED))], 1)
    assert (tally.delivered, tally.unsent) == ({"added": 500}, 10**12 - 500)


@pytest.mark.parametrize(
    "entries",
    [
        [batch(0, 0, 4, NOT_APPLIED), batch(1, 3, 2, NOT_APPLIED)],
        [batch(0, 3, 2, NOT_APPLIED), batch(1, 0, 4, NOT_APPLIED)],
        [batch(0, 0, 4, NOT_APPLIED), batch(1, 0, 4, NOT_APPLIED)],
    ],
)
def test_an_operation_in_two_batches_is_a_fault_of_ours(entries: Sequence[JournalEntry]) -> None:
    """It is never counted twice in silence."""
    with pytest.raises(AssertionError, match="two batches"):
        figures(plan(8), entries, 0)


def test_of_an_earlier_process_only_what_is_open_is_kept() -> None:
    """The others are figures: a resumed run needs no memory for what it had delivered."""
    settled = [batch(number, number * 10, 10, Outcomes(DELIVERED, {3: REJECTED})) for number in range(1_000)]
    left = [batch(1_001, 10_010, 10, None), batch(1_000, 10_000, 10, NOT_APPLIED)]
    found = Remains.of([*settled, *left])
    assert list(found.open) == [1_000, 1_001]
    assert (found.number, found.reached) == (1_002, {"added": 10_020})
    assert found.ends == {"delivered": 9_000, "rejected": 1_000}
    assert Remains.of([]) == Remains(0, {}, {}, {})
