"""Checks of a planner's contract about what changes between runs besides rows: the mapping and the model's columns.

They are part of `contracts.planners.CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable

from contracts.planner_bench import BOTH, PlannerBench, everything, exceptions, mapped, people
from levada.mapping import FieldMapping
from levada.mapping import Mapping as FieldMappings
from levada.planner import Settled

NAME = mapped("name")


def a_field_that_returns_clears_what_it_once_sent(bench: PlannerBench) -> None:
    """A field out of the mapping for a while: a NULL is sent where the sync had written a value, and nowhere else."""
    bench.run(people((1, "A", 1), (2, "B", None), (3, "C", 3)), BOTH)
    bench.run(people((1, "Z", 1), (2, "B", None), (3, "C", 3), (4, "D", 4)), NAME)
    bench.run(people((1, "Y", 1), (2, "X", None), (3, "C", 3), (4, "D", 4)), NAME)
    rows = people((1, "Y", None), (2, "X", None), (3, "C", 3), (4, "D", None))
    planned = bench.run(rows, BOTH)
    changed = planned.by_key("changed")
    assert set(changed) == {1, 3}
    assert changed[1]["after"] == {"name": "Y", "n": None}
    assert (changed[1]["state"], changed[1]["returned"]) == ("confirmed", ["n"])
    assert planned.plan.fields_changed == {"n": 2}
    assert bench.plan(rows, BOTH).counts == (0, 0, 0)


def a_refused_clearing_is_planned_again(bench: PlannerBench) -> None:
    """What was not delivered is not forgotten, whichever way the ledger is written meanwhile."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    bench.run(people((1, "A", 1), (2, "Z", 2)), NAME)
    rows = people((1, "A", None), (2, "Z", 2))
    for settlement in ("rejected", "unknown"):
        planned = bench.plan(rows, BOTH)
        assert 1 in planned.by_key("changed")
        ends = exceptions((planned.sequence("changed", 1), settlement, "op"))
        bench.fold(planned, Settled("delivered", ends))
    bench.fold(bench.plan(people((1, "A", None), (2, "Y", 2)), NAME), everything("rejected"))
    planned = bench.run(rows, BOTH)
    assert 1 in planned.by_key("changed")
    assert bench.plan(rows, BOTH).counts == (0, 0, 0)


def a_record_that_is_made_anew_has_no_lapsed_field(bench: PlannerBench) -> None:
    """After a delivered removal nothing is left to clear."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    bench.run(people((2, "Z", 2)), NAME)
    bench.run(people((1, "A", 1), (2, "Z", 2)), NAME)
    assert set(bench.plan(people((1, "A", None), (2, "Z", None)), BOTH).by_key("changed")) == {2}


def with_nulls_skip_a_lapsed_field_waits(bench: PlannerBench) -> None:
    """`nulls: skip` sends no NULL, also for a field that returns; `clear`, chosen later, does."""
    skipping = mapped("name", "n", nulls="skip")
    bench.run(people((1, "A", 1)), skipping)
    bench.run(people((1, "B", 1)), NAME)
    rows = people((1, "B", None))
    assert bench.run(rows, skipping).counts == (0, 0, 0)
    assert bench.run(people((1, "C", None)), skipping).counts == (0, 1, 0)
    assert bench.run(people((1, "C", None)), BOTH).counts == (0, 1, 0)
    assert bench.plan(people((1, "C", None)), BOTH).counts == (0, 0, 0)


def a_confirmed_model_keeps_what_lapsed(bench: PlannerBench) -> None:
    """Taking the model as synced says nothing of a field that is not mapped."""
    bench.run(people((1, "A", 1)), BOTH)
    bench.run(people((1, "B", 1)), NAME)
    bench.ledger = bench.planner.confirmed(bench.request(people((1, "C", 1)), NAME))
    assert bench.plan(people((1, "C", None)), BOTH).counts == (0, 1, 0)


def keys_that_are_one_after_normalisation_are_refused(bench: PlannerBench) -> None:
    """Rows whose match value is equal only once it is mapped would be one record: none of them is sent."""
    one = FieldMapping("email", "sql", "lower(trim(nfc_normalize(name)))", type="text")
    mapping = FieldMappings((one, FieldMapping("n", "column", "n")), ("email",))
    rows = people((1, "A@x", 1), (2, "a@x ", 1), (3, "\u00e4@x", 3), (4, "a\u0308@x", 3), (5, "b@x", 5))
    planned = bench.run(rows, mapping)
    assert set(planned.by_key("added")) == {5}
    assert sorted((row["key.id"], row["code"]) for row in planned.invalid) == [
        (key, "duplicate_match") for key in (1, 2, 3, 4)
    ]


MAPPING_CHECKS: tuple[Callable[[PlannerBench], None], ...] = (
    a_field_that_returns_clears_what_it_once_sent,
    a_refused_clearing_is_planned_again,
    a_record_that_is_made_anew_has_no_lapsed_field,
    with_nulls_skip_a_lapsed_field_waits,
    a_confirmed_model_keeps_what_lapsed,
    keys_that_are_one_after_normalisation_are_refused,
)
