"""The contract of planners, third part: what an undo takes back, and which records a sync may remove."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.planner_bench import BOTH, Planned, PlannerBench, exceptions, mapped, people, told
from levada.planner import KindPolicy, Settled


def _undo(bench: PlannerBench, planned: Planned, settled: Settled) -> Planned:
    request = replace(bench.request(people(), BOTH), purpose="undo")
    return Planned(bench.planner.reverse(planned.plan, planned.folder, settled, request), request.folder)


def undo_restores_what_was(bench: PlannerBench) -> None:
    """What was created is removed, what was changed is changed back, what was removed is added again; after its fold
    the first state is unchanged."""
    first = people((1, "A", 1), (2, "B", 2))
    bench.run(first, BOTH)
    planned = bench.plan(people((1, "Z", None), (3, "C", 3)), BOTH)
    settled = told((planned, "added", 3, "created"))
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert undo.plan.purpose == "undo"
    assert undo.by_key("added")[2]["after"] == {"name": "B", "n": 2}
    assert undo.by_key("changed")[1]["after"] == {"name": "A", "n": 1}
    assert undo.by_key("removed")[3]["before"] == {"name": "C", "n": 3}
    assert undo.left == {}
    bench.fold(undo)
    assert bench.plan(first, BOTH).counts == (0, 0, 0)


def undo_leaves_what_a_later_run_touched(bench: PlannerBench) -> None:
    """Only keys that are as the run left them are taken back; the others are listed, and told in a notice."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    planned = bench.run(people((1, "X", 1), (2, "Y", 2)), BOTH)
    bench.run(people((1, "X", 1), (2, "later", 2)), BOTH)
    undo = _undo(bench, planned, Settled("delivered"))
    assert undo.counts == (0, 1, 0)
    assert set(undo.by_key("changed")) == {1}
    assert undo.left == {2: "touched"}
    assert undo.plan.notices[0].startswith("1 record is left alone")


def undo_takes_back_only_what_was_delivered(bench: PlannerBench) -> None:
    """A rejected record was never changed."""
    planned = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    refused = exceptions((planned.sequence("added", 1), "rejected", None))
    settled = replace(told((planned, "added", 1, "created"), (planned, "added", 2, "created")), exceptions=refused)
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert set(undo.by_key("removed")) == {2}
    assert undo.left == {}


def undo_removes_nothing_that_it_cannot_show_to_have_made(bench: PlannerBench) -> None:
    """An added record that was there before, or of which nothing was told, is never removed."""
    planned = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3), (4, "D", 4)), BOTH)
    settled = told((planned, "added", 1, "created"), (planned, "added", 2, "updated"), (planned, "added", 3, "same"))
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert undo.counts == (0, 0, 1)
    assert set(undo.by_key("removed")) == {1}
    assert undo.left == {2: "before_unknown", 4: "origin_unknown"}


def undo_gives_back_what_stood_in_the_record(bench: PlannerBench) -> None:
    """What the destination told of a record that was there counts more than what the plan believed."""
    bench.run(people((1, "A", 1), (5, "E", 5), (6, "F", 6)), BOTH)
    planned = bench.plan(people((1, "Z", 1), (2, "B", 2), (6, "F", 6)), BOTH)
    stood = {("changed", 1): ("edited", None), ("added", 2): ("theirs", 9), ("removed", 5): ("E2", 5)}
    file = planned.folder / "stood.parquet"
    pq.write_table(
        pa.table(
            {
                "sequence": pa.array([planned.sequence(kind, key) for kind, key in stood], pa.int64()),
                "before.name": [name for name, _ in stood.values()],
                "before.n": pa.array([n for _, n in stood.values()], pa.int64()),
                "unkept": pa.array([[] for _ in stood], pa.list_(pa.string())),
            }
        ),
        file,
    )
    settled = replace(told((planned, "added", 2, "updated"), (planned, "changed", 1, "updated")), kept=(file,))
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert undo.by_key("changed")[1]["after"] == {"name": "edited", "n": None}
    assert undo.by_key("changed")[2]["after"] == {"name": "theirs", "n": 9}
    assert undo.by_key("added")[5]["after"] == {"name": "E2", "n": 5}
    assert undo.left == {}


def undone_twice_is_undone_once(bench: PlannerBench) -> None:
    """The second undo of a run finds nothing to do."""
    planned = bench.plan(people((1, "A", 1)), BOTH)
    settled = told((planned, "added", 1, "created"))
    bench.fold(planned, settled)
    bench.fold(_undo(bench, planned, settled))
    again = _undo(bench, planned, settled)
    assert again.counts == (0, 0, 0)
    assert again.left == {1: "touched"}


def a_changed_record_that_was_made_anew_is_removed_by_undo(bench: PlannerBench) -> None:
    """A person had deleted it, and the run made it again: before the run it was not there."""
    bench.run(people((1, "A", 1)), BOTH)
    planned = bench.plan(people((1, "Z", 1)), BOTH)
    settled = told((planned, "changed", 1, "created"))
    bench.fold(planned, settled)
    assert set(_undo(bench, planned, settled).by_key("removed")) == {1}


def undo_leaves_a_record_that_somebody_else_made_since(bench: PlannerBench) -> None:
    """The run made it, a later one removed it, and another found one of somebody else's in its place: same values."""
    made = bench.plan(people((1, "A", 1)), BOTH)
    settled = told((made, "added", 1, "created"))
    bench.fold(made, settled)
    bench.run(people(), BOTH)
    found = bench.plan(people((1, "A", 1)), BOTH)
    bench.fold(found, told((found, "added", 1, "same")))
    undo = _undo(bench, made, settled)
    assert (undo.counts, undo.left) == ((0, 0, 0), {1: "touched"})


def undo_gives_no_old_values_to_a_record_that_was_made_since(bench: PlannerBench) -> None:
    """What stood in the record that the run found is nothing to the one that a later run made."""
    over = bench.plan(people((1, "A", 1)), BOTH)
    stood = over.folder / "stood.parquet"
    row = {"sequence": [over.sequence("added", 1)], "before.name": ["theirs"], "before.n": [7]}
    pq.write_table(pa.table({**row, "unkept": pa.array([[]], pa.list_(pa.string()))}), stood)
    settled = replace(told((over, "added", 1, "updated")), kept=(stood,))
    bench.fold(over, settled)
    assert _undo(bench, over, settled).counts == (0, 1, 0)
    bench.run(people(), BOTH)
    made = bench.plan(people((1, "A", 1)), BOTH)
    bench.fold(made, told((made, "added", 1, "created")))
    undo = _undo(bench, over, settled)
    assert (undo.counts, undo.left) == ((0, 0, 0), {1: "touched"})


def undo_restores_no_null_that_was_never_confirmed(bench: PlannerBench) -> None:
    """Of a field that was mapped since, nobody knows what stood there, unless the destination keeps that."""
    bench.run(people((1, "A", 1), (2, "B", None)), mapped("name"))
    planned = bench.plan(people((1, "A", 1), (2, "C", None)), BOTH)
    settled = told((planned, "changed", 1, "updated"))
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert (set(undo.by_key("changed")), undo.left) == ({2}, {1: "before_unknown"})
    undo = _undo(bench, planned, replace(settled, keeps=True))
    assert (undo.by_key("changed")[1]["after"]["n"], undo.left) == (None, {})


def undo_restores_no_null_that_is_not_sent(bench: PlannerBench) -> None:
    """With `nulls: skip` a NULL of the ledger is no value of the record."""
    skipping = mapped("name", "n", nulls="skip")
    bench.run(people((1, "A", None), (2, "B", 2)), skipping)
    planned = bench.run(people((1, "A", 1), (2, "B", 3)), skipping)
    request = replace(bench.request(people(), skipping), purpose="undo")
    made = bench.planner.reverse(planned.plan, planned.folder, Settled("delivered"), request)
    undo = Planned(made, request.folder)
    assert undo.by_key("changed")[2]["after"] == {"name": "B", "n": 2}
    assert (set(undo.by_key("changed")), undo.left) == ({2}, {1: "before_unknown"})


def undo_restores_no_value_of_a_field_that_came_back(bench: PlannerBench) -> None:
    """What a record holds of a field that was out of the mapping for a while is not known."""
    bench.run(people((1, "A", 1)), BOTH)
    bench.run(people((1, "B", 1)), mapped("name"))
    planned = bench.run(people((1, "B", 2)), BOTH)
    undo = _undo(bench, planned, Settled("delivered"))
    assert (undo.counts, undo.left) == ((0, 0, 0), {1: "before_unknown"})


def undo_lists_what_may_have_been_applied(bench: PlannerBench) -> None:
    """An operation whose end is unknown is not taken back, and not passed over in silence."""
    planned = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    lost = exceptions((planned.sequence("added", 2), "unknown", "op"))
    settled = replace(told((planned, "added", 1, "created")), exceptions=lost)
    bench.fold(planned, settled)
    undo = _undo(bench, planned, settled)
    assert (undo.counts, undo.left) == ((0, 0, 1), {2: "outcome_unknown"})


def undo_forgets_no_field_that_was_mapped_since(bench: PlannerBench) -> None:
    """The undo of an older run leaves what the ledger holds by a later mapping."""
    rows = people((1, "A", 1), (2, "B", 2), (3, "C", 3))
    planned = bench.plan(rows, mapped("name"))
    settled = told((planned, "added", 1, "created"))
    bench.fold(planned, settled)
    bench.run(rows, BOTH)
    undo = _undo(bench, planned, settled)
    assert undo.counts == (0, 0, 1)
    bench.fold(undo)
    assert bench.plan(rows, BOTH).counts == (1, 0, 0)


# -- what this sync made


def a_record_with_another_match_value_may_be_another_record(bench: PlannerBench) -> None:
    """It may have taken the place of somebody else's: it no longer counts as made by this sync, unless made anew."""
    named = mapped("name", "n", match=("name",))
    ours = KindPolicy(removed=True, adopt=False)
    planned = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), named)
    bench.fold(planned, told(*[(planned, "added", key, "created") for key in (1, 2, 3)]))
    bench.run(people((1, "Z", 1), (2, "B", 9), (3, "C", 3)), named, policy=ours)
    assert set(bench.plan(people(), named, policy=ours).by_key("removed")) == {2, 3}
    planned = bench.plan(people((1, "Z", 1), (2, "B", 9), (3, "Y", 3)), named, policy=ours)
    bench.fold(planned, told((planned, "changed", 3, "created")))
    assert set(bench.plan(people(), named, policy=ours).by_key("removed")) == {2, 3}


def without_adopt_only_what_this_sync_made_is_removed(bench: PlannerBench) -> None:
    """Whatever became of the ledger meanwhile: changes, merged segments, a rewritten base, another mapping."""
    ours = KindPolicy(removed=True, adopt=False)
    rows = [(key, f"n{key}", key) for key in range(40)]
    planned = bench.plan(people(*rows), BOTH)
    settled = told(*[(planned, "added", key, "created" if key % 2 else "updated") for key in range(40)])
    bench.fold(planned, settled)
    for turn in range(20):
        rows = [(key, f"{turn}", n) if key % 20 == turn else (key, name, n) for key, name, n in rows]
        bench.run(people(*rows), BOTH, policy=ours)
    bench.run(people(*rows), mapped("name"), policy=ours)
    found = bench.plan(people(), mapped("name"), policy=ours)
    assert set(found.by_key("removed")) == {key for key in range(40) if key % 2}
    assert found.plan.counts.left == 20
    assert any(notice.startswith("20 records") for notice in found.plan.notices)
    assert bench.plan(people(), mapped("name")).plan.counts.removed == 40


def a_first_run_that_makes_all_is_known_to_have_made_all(bench: PlannerBench) -> None:
    """Its file becomes the ledger's as it is; what a later run makes anew counts as made, too."""
    ours = KindPolicy(removed=True, adopt=False)
    planned = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    bench.fold(planned, told((planned, "added", 1, "created"), (planned, "added", 2, "created")))
    planned = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH)
    bench.fold(planned)
    assert set(bench.plan(people(), BOTH, policy=ours).by_key("removed")) == {1, 2}
    planned = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "Z", 3)), BOTH)
    bench.fold(planned, told((planned, "changed", 3, "created")))
    assert set(bench.plan(people(), BOTH, policy=ours).by_key("removed")) == {1, 2, 3}


UNDO_CHECKS: tuple[Callable[[PlannerBench], None], ...] = (
    undo_restores_what_was,
    undo_leaves_what_a_later_run_touched,
    undo_takes_back_only_what_was_delivered,
    undo_removes_nothing_that_it_cannot_show_to_have_made,
    undo_gives_back_what_stood_in_the_record,
    undone_twice_is_undone_once,
    a_changed_record_that_was_made_anew_is_removed_by_undo,
    undo_leaves_a_record_that_somebody_else_made_since,
    undo_gives_no_old_values_to_a_record_that_was_made_since,
    undo_restores_no_null_that_was_never_confirmed,
    undo_restores_no_null_that_is_not_sent,
    undo_restores_no_value_of_a_field_that_came_back,
    undo_lists_what_may_have_been_applied,
    undo_forgets_no_field_that_was_mapped_since,
    a_record_with_another_match_value_may_be_another_record,
    without_adopt_only_what_this_sync_made_is_removed,
    a_first_run_that_makes_all_is_known_to_have_made_all,
)
