"""The contract of a planner as checks, to be run over every implementation:

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_my_planner(check, tmp_path):
        check(PlannerBench(MyPlanner(tmp_path / "spool"), tmp_path))

A check plays a model's history against the planner and reads the plan's files as delivery would. The oracle of
the random histories is a dictionary. What is not here: expressions and transforms, which are not the contract's.
"""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.planner_bench import (
    BOTH,
    PlannerBench,
    everything,
    exceptions,
    mapped,
    people,
)
from contracts.planner_mappings import MAPPING_CHECKS
from contracts.planner_undo import UNDO_CHECKS
from levada.change import KINDS
from levada.errors import ConfigError, CorruptedError, SourceError
from levada.mapping import FieldMapping, ValueLimits
from levada.mapping import Mapping as FieldMappings
from levada.plan import Plan
from levada.planner import REMOVAL, KindPolicy, Settled

HISTORIES = 3
HISTORY_STEPS = 10


# -- what a plan says


def a_first_plan_adds_every_row(bench: PlannerBench) -> None:
    """With an empty ledger every row is added, with the values as they arrive."""
    planned = bench.plan(people((1, "Ana", 1), (2, "Bo", None)), BOTH)
    assert planned.counts == (2, 0, 0)
    assert planned.by_key("added")[2]["after"] == {"name": "Bo", "n": None}
    assert planned.plan.model_rows == 2
    assert planned.plan.nulls == {"name": 0.0, "n": 0.5}


def an_unchanged_model_plans_nothing(bench: PlannerBench) -> None:
    """The same rows in another order make a plan without operations and without operation files."""
    bench.run(people((1, "Ana", 1), (2, "Bo", 2)), BOTH)
    planned = bench.plan(people((2, "Bo", 2), (1, "Ana", 1)), BOTH)
    assert planned.counts == (0, 0, 0)
    assert planned.plan.counts.unchanged == 2
    assert not planned.plan.files
    assert planned.plan.nulls == {"name": 0.0, "n": 0.0}


def a_change_shows_before_and_after(bench: PlannerBench) -> None:
    """A changed row has both sides, and is counted by field."""
    bench.run(people((1, "Ana", 1), (2, "Bo", 2), (3, "Cy", 3)), BOTH)
    planned = bench.plan(people((1, "Ana", 9), (2, "Bob", 8), (3, "Cy", 3)), BOTH)
    assert planned.counts == (0, 2, 0)
    entry = planned.by_key("changed")[2]
    assert (entry["before"], entry["after"]) == ({"name": "Bo", "n": 2}, {"name": "Bob", "n": 8})
    assert (entry["state"], entry["operation"]) == ("confirmed", None)
    assert planned.plan.fields_changed == {"name": 1, "n": 2}


def a_row_that_left_is_removed_with_its_last_values(bench: PlannerBench) -> None:
    """A removal carries what was last confirmed."""
    bench.run(people((1, "Ana", 1), (2, "Bo", 2)), BOTH)
    planned = bench.plan(people((1, "Ana", 1)), BOTH)
    assert planned.counts == (0, 0, 1)
    assert planned.by_key("removed")[2]["before"] == {"name": "Bo", "n": 2}


def without_removals_rows_that_left_stay_in_the_ledger(bench: PlannerBench) -> None:
    """A policy without removals counts them as left, run after run, and a row that returns unchanged is unchanged."""
    policy = KindPolicy(removed=False)
    both = people((1, "Ana", 1), (2, "Bo", 2))
    bench.run(both, BOTH, policy=policy)
    for _ in range(2):
        planned = bench.run(people((1, "Ana", 1)), BOTH, policy=policy)
        assert planned.counts == (0, 0, 0)
        assert planned.plan.counts.left == 1
    assert bench.ledger.rows == 2
    assert bench.plan(both, BOTH, policy=policy).plan.counts.unchanged == 2


def comparison_is_null_safe(bench: PlannerBench) -> None:
    """NULL equals NULL and differs from every value, the empty text included."""
    bench.run(people((1, None, None), (2, "", 0), (3, "x", None)), BOTH)
    planned = bench.plan(people((1, None, None), (2, None, 0), (3, "x", 0)), BOTH)
    assert set(planned.by_key("changed")) == {2, 3}


def a_then_b_then_a_ends_at_a(bench: PlannerBench) -> None:
    """A value that goes and comes back is sent both times."""
    for name in ("A", "B", "A"):
        planned = bench.run(people((1, name, 1)), BOTH)
        assert sum(planned.counts) == 1
    assert bench.plan(people((1, "A", 1)), BOTH).counts == (0, 0, 0)


def a_row_that_leaves_and_returns_is_added_again(bench: PlannerBench) -> None:
    """After a delivered removal the key is new."""
    bench.run(people((1, "A", 1)), BOTH)
    assert bench.run(people(), BOTH).counts == (0, 0, 1)
    assert bench.ledger.rows == 0
    assert bench.run(people((1, "A", 1)), BOTH).counts == (1, 0, 0)
    assert bench.ledger.rows == 1


def an_empty_model_is_a_plan_of_removals(bench: PlannerBench) -> None:
    """An empty first plan is empty; an empty model later removes all: the guard's matter, not the planner's."""
    planned = bench.run(people(), BOTH)
    assert (planned.counts, planned.plan.model_rows) == ((0, 0, 0), 0)
    assert bench.ledger.exists
    bench.run(people((1, "A", 1)), BOTH)
    assert bench.plan(people(), BOTH).counts == (0, 0, 1)


def files_and_counts_agree(bench: PlannerBench) -> None:
    """Files hold as many rows as counted, `plan.json` reads back, and sequences run over kinds in order."""
    bench.run(people((1, "a", 1), (2, "b", 2), (3, "c", 3)), BOTH)
    planned = bench.plan(people((1, "x", 1), (4, "d", 4), (2, "b", 2)), BOTH)
    assert Plan.read(planned.folder) == planned.plan
    for kind in KINDS:
        assert len(planned.rows(kind)) == planned.plan.counts.of(kind) == planned.plan.files[kind].rows
    assert [planned.plan.first(kind) for kind in KINDS] == [0, 1, 2]


# -- keys

KEY_VALUES: tuple[tuple[pa.DataType, list[Any]], ...] = (
    (pa.int8(), [-1, 0, 1]),
    (pa.uint64(), [0, 2**64 - 1, 5]),
    (pa.string(), ["", "a", "A", "ä", "a\u0308", "1"]),
    (pa.decimal128(38, 6), [Decimal("0.000001"), Decimal("-99999999999999999999999999999999.999999")]),
    (pa.float64(), [0.1, 1e300, -0.5]),
    (pa.bool_(), [True, False]),
    (pa.date32(), [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    (pa.timestamp("us"), [dt.datetime(2026, 3, 29, 2, 30, 0, 1)]),  # noqa: DTZ001 -- a naive one on purpose
    (pa.timestamp("us", "UTC"), [dt.datetime(2026, 3, 29, 2, 30, tzinfo=dt.UTC)]),
    (pa.binary(), [b"", b"\x00\xff"]),
    (pa.time64("us"), [dt.time(1, 2, 3, 4)]),
)


def keys_may_be_of_any_type(bench: PlannerBench) -> None:
    """Keys of each type are told apart, survive the ledger, and come back with their type."""
    for position, (kind, values) in enumerate(KEY_VALUES):
        inner = PlannerBench(bench.planner, bench.folder / str(position))
        table = pa.table({"id": pa.array(values, kind), "n": pa.array(range(len(values)), pa.int64())})
        planned = inner.run(table, mapped("n"))
        assert set(planned.by_key("added")) == set(values), kind
        assert inner.run(table, mapped("n")).counts == (0, 0, 0), kind
        assert set(inner.plan(table.slice(0, 0), mapped("n")).by_key("removed")) == set(values), kind


def keys_may_be_of_several_columns(bench: PlannerBench) -> None:
    """A key of two columns is told apart by both; NULL in either is invalid."""
    table = pa.table({"a": [1, 1, 2, 1], "b": ["x", "y", "x", None], "n": [1, 2, 3, 4]})
    planned = bench.run(table, mapped("n"), key=("a", "b"))
    assert set(planned.by_key("added")) == {(1, "x"), (1, "y"), (2, "x")}
    assert [row["code"] for row in planned.invalid] == ["null_key"]
    changed = pa.table({"a": [1, 1], "b": ["x", "y"], "n": [1, 9]})
    planned = bench.plan(changed, mapped("n"), key=("a", "b"))
    assert (set(planned.by_key("changed")), set(planned.by_key("removed"))) == ({(1, "y")}, {(2, "x")})


def another_key_is_refused(bench: PlannerBench) -> None:
    """A ledger is of one key: another key column, or a type that its keys are not of, is a ConfigError."""
    bench.run(people(("a", "A", 1), id=pa.string()), BOTH)
    with pytest.raises(ConfigError, match="key"):
        bench.plan(people(("a", "A", 1), id=pa.string()), BOTH, key=("name",))
    with pytest.raises(ConfigError, match="key"):
        bench.plan(people((1, "A", 1)), BOTH)


def a_null_key_is_invalid(bench: PlannerBench) -> None:
    """Rows without a key are listed, not sent, and disturb no other row."""
    bench.run(people((1, "A", 1)), BOTH)
    planned = bench.plan(people((1, "A", 1), (None, "B", 2), (None, "C", 3)), BOTH)
    assert planned.counts == (0, 0, 0)
    assert (planned.plan.counts.invalid, planned.plan.counts.unchanged) == (2, 1)
    assert [(row["code"], row["field"]) for row in planned.invalid] == [("null_key", "id")] * 2


def equal_duplicates_collapse(bench: PlannerBench) -> None:
    """Rows equal in key and mapped values are one, and a notice says so; in later plans as well."""
    table = people((1, "A", 1), (1, "A", 1), (2, "B", 2))
    for expected in ((2, 0, 0), (0, 0, 0)):
        planned = bench.run(table, BOTH)
        assert planned.counts == expected
        assert planned.plan.notices
        assert planned.plan.counts.invalid == 0
    assert bench.ledger.rows == 2


def unequal_duplicates_are_invalid_all_of_them(bench: PlannerBench) -> None:
    """Never the last one wins: every row of the key is invalid, and what is held is neither changed nor removed."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    planned = bench.run(people((1, "A", 1), (1, "Z", 9), (2, "B", 2), (3, "C", 3), (3, "D", 3)), BOTH)
    assert planned.counts == (0, 0, 0)
    assert (
        sorted((row["key.id"], row["code"]) for row in planned.invalid)
        == [(1, "duplicate_key")] * 2 + [(3, "duplicate_key")] * 2
    )
    assert planned.plan.counts.unchanged == 1
    assert bench.ledger.rows == 2


def duplicates_are_found_in_a_first_plan(bench: PlannerBench) -> None:
    """With nothing to compare with, too."""
    planned = bench.plan(people((1, "A", 1), (1, "B", 1), (2, "C", 1)), BOTH)
    assert planned.counts == (1, 0, 0)
    assert planned.plan.counts.invalid == 2


def a_valid_row_beside_an_invalid_one_of_its_key_is_not_sent(bench: PlannerBench) -> None:
    """Which of them is meant is not known."""
    mapping = mapped("name", "n", n="integer")
    table = people((1, "A", "1"), (1, "A", "x"), (2, "B", "2"), n=pa.string())
    planned = bench.plan(table, mapping)
    assert planned.counts == (1, 0, 0)
    assert sorted(row["code"] for row in planned.invalid) == ["duplicate_key", "not_a_number"]


def two_rows_found_as_one_record_are_invalid(bench: PlannerBench) -> None:
    """Where a record is found by another field than the key, two rows with the same value of it are refused."""
    mapping = mapped("name", "n", match=("name",))
    planned = bench.run(people((1, "A", 1), (2, "A", 2), (3, "B", 3)), mapping)
    assert planned.counts == (1, 0, 0)
    assert {row["code"] for row in planned.invalid} == {"duplicate_match"}
    planned = bench.plan(people((3, "B", 3), (4, "B", 4), (5, None, 5)), mapping)
    assert planned.counts == (0, 0, 0)
    assert sorted((row["key.id"], row["code"]) for row in planned.invalid) == [
        (4, "duplicate_match"),
        (5, "null_match"),
    ]


# -- invalid values


def an_invalid_row_is_named_and_never_removed(bench: PlannerBench) -> None:
    """A value that the field cannot hold is told by field, code and reason, without the value; its entry stays."""
    mapping = FieldMappings(
        (FieldMapping("title", "column", "name", type="text", limits=ValueLimits(text_characters=3)),), ()
    )
    bench.run(people((1, "abc", 1), (2, "abc", 1)), mapping)
    planned = bench.run(people((1, "abcdefg", 1), (2, "abc", 1)), mapping)
    assert planned.counts == (0, 0, 0)
    (row,) = planned.invalid
    assert (row["key.id"], row["field"], row["code"]) == (1, "title", "too_long")
    assert "name" in row["reason"]
    assert "7" in row["reason"]
    assert "abcdefg" not in row["reason"]
    assert bench.ledger.rows == 2
    assert bench.plan(people((2, "abc", 1)), mapping).counts == (0, 0, 1)


# -- mapping changes


def a_field_that_is_no_longer_mapped_sends_nothing(bench: PlannerBench) -> None:
    """Taking a field out of the mapping touches no record."""
    rows = people((1, "A", 1), (2, "B", 2))
    bench.run(rows, BOTH)
    assert bench.run(rows, mapped("name")).counts == (0, 0, 0)
    assert bench.run(rows, mapped("name")).counts == (0, 0, 0)


def a_new_field_sends_rows_that_have_a_value(bench: PlannerBench) -> None:
    """Only rows whose mapped values differ are sent; NULL is what the destination has already."""
    rows = people((1, "A", 1), (2, "B", None))
    bench.run(rows, mapped("name"))
    planned = bench.run(rows, BOTH)
    assert set(planned.by_key("changed")) == {1}
    assert planned.by_key("changed")[1]["before"] == {"name": "A", "n": None}
    assert bench.plan(rows, BOTH).counts == (0, 0, 0)


def a_wider_type_sends_nothing(bench: PlannerBench) -> None:
    """An integer that becomes a decimal or text is the same value; later changes show it in the new type."""
    bench.run(people((1, "A", 1), (2, "B", 22)), mapped("name", "n", n="integer"))
    rows = people((1, "A", Decimal("1.00")), (2, "B", Decimal("22.00")), n=pa.decimal128(20, 2))
    assert bench.plan(rows, mapped("name", "n", n="decimal")).counts == (0, 0, 0)
    planned = bench.run(people((1, "A", 1), (2, "B", 23)), mapped("name", "n", n="text"))
    assert set(planned.by_key("changed")) == {2}
    assert planned.by_key("changed")[2]["before"]["n"] == "22"


def with_nulls_skip_a_null_is_no_difference(bench: PlannerBench) -> None:
    """`nulls: skip` leaves what is there: a value that becomes NULL sends nothing, then or later."""
    skipping = mapped("name", "n", nulls="skip")
    bench.run(people((1, "A", 1), (2, "B", 2)), skipping)
    assert bench.run(people((1, None, 1), (2, "B", 2)), skipping).counts == (0, 0, 0)
    planned = bench.run(people((1, None, 5), (2, "B", 2)), skipping)
    assert set(planned.by_key("changed")) == {1}
    assert planned.plan.fields_changed == {"n": 1}
    assert bench.plan(people((1, None, 5), (2, "B", 2)), skipping).counts == (0, 0, 0)


# -- how operations ended


def what_was_refused_is_planned_again(bench: PlannerBench) -> None:
    """rejected, suppressed and unsent leave the ledger as it was."""
    for settlement in ("rejected", "suppressed", "unsent"):
        inner = PlannerBench(bench.planner, bench.folder / settlement)
        inner.run(people((1, "A", 1), (2, "B", 2)), BOTH)
        rows = people((1, "Z", 1), (3, "C", 3))
        inner.fold(inner.plan(rows, BOTH), everything(settlement))
        assert inner.ledger.rows == 2
        planned = inner.plan(rows, BOTH)
        assert planned.counts == (1, 1, 1)
        assert planned.by_key("changed")[1]["before"]["name"] == "A"


def what_is_gone_is_added_by_the_next_plan(bench: PlannerBench) -> None:
    """A change that met no record: the ledger holds it no more, nor counts it, whatever was known before."""
    bench.run(people((1, "A", 1), (2, None, 2)), BOTH)
    rows = people((1, "Z", 1), (2, "B", 2))
    planned = bench.plan(rows, BOTH)
    gone = planned.sequence("changed", 2)
    bench.fold(planned, Settled("delivered", exceptions((gone, "gone", None))))
    assert (bench.ledger.rows, bench.ledger.nulls["name"]) == (1, 0.0)
    again = bench.plan(rows, BOTH)
    assert (again.counts, set(again.by_key("added"))) == ((1, 0, 0), {2})


def exceptions_end_apart_from_the_rest(bench: PlannerBench) -> None:
    """Of one plan some are delivered and some are not."""
    planned = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH)
    refused = planned.sequence("added", 2)
    bench.fold(planned, Settled("delivered", exceptions((refused, "rejected", None))))
    assert bench.ledger.rows == 2
    assert set(bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH).by_key("added")) == {2}


def an_unknown_addition_may_be_present(bench: PlannerBench) -> None:
    """It is added again under the same operation, counts as held, and is removed when its row leaves."""
    planned = bench.plan(people((1, "A", 1)), BOTH)
    bench.fold(planned, everything("unknown", "op-1", 1))
    assert bench.ledger.rows == 1
    again = bench.plan(people((1, "A", 1)), BOTH)
    assert again.by_key("added")[1]["operation"] == "op-1"
    assert bench.plan(people(), BOTH).by_key("removed")[1]["before"] == {"name": "A", "n": 1}
    bench.fold(again)
    assert bench.ledger.rows == 1
    assert bench.plan(people((1, "A", 1)), BOTH).counts == (0, 0, 0)


def an_unknown_change_is_sent_again(bench: PlannerBench) -> None:
    """Even if the model went back to what was confirmed before: nobody knows what the destination holds."""
    bench.run(people((1, "A", 1)), BOTH)
    bench.fold(bench.plan(people((1, "B", 1)), BOTH), everything("unknown", "op-1", 1))
    for name in ("A", "B"):
        entry = bench.plan(people((1, name, 1)), BOTH).by_key("changed")[1]
        assert (entry["state"], entry["before"]["name"]) == ("unknown", "B")
    bench.run(people((1, "A", 1)), BOTH)
    assert bench.plan(people((1, "A", 1)), BOTH).counts == (0, 0, 0)


def an_unknown_removal_is_planned_again(bench: PlannerBench) -> None:
    """It is still held; if its row is back, it is added."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    bench.fold(bench.plan(people((2, "B", 2)), BOTH), everything("unknown", "op-1", 1))
    assert bench.ledger.rows == 2
    assert bench.plan(people((2, "B", 2)), BOTH).counts == (0, 0, 1)
    back = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    assert back.counts == (1, 0, 0)
    assert back.by_key("added")[1]["operation"] == REMOVAL
    bench.fold(back)
    assert bench.ledger.rows == 2
    assert bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH).counts == (0, 0, 0)


def identifiers_of_the_destination_are_kept(bench: PlannerBench) -> None:
    """An id told at delivery stands in later changes and removals, through changes that tell none."""
    planned = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    known = pa.table({"sequence": [planned.sequence("added", 1)], "identifier": ["crm-7"]})
    bench.fold(planned, Settled("delivered", None, known))
    changed = bench.run(people((1, "Z", 1), (2, "B", 2)), BOTH)
    assert changed.by_key("changed")[1]["identifier"] == "crm-7"
    assert bench.plan(people((2, "B", 2)), BOTH).by_key("removed")[1]["identifier"] == "crm-7"


def planning_and_folding_change_no_file_that_exists(bench: PlannerBench) -> None:
    """A ledger's segments are immutable; an unused fold leaves the old ledger usable."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    before = {path.name: path.read_bytes() for path in bench.ledger.folder.iterdir()}
    old = bench.ledger
    planned = bench.run(people((1, "Z", 1)), BOTH)
    assert planned.counts == (0, 1, 1)
    assert all((bench.ledger.folder / name).read_bytes() == content for name, content in before.items())
    bench.ledger = old
    assert bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH).counts == (0, 0, 0)


# -- modes and purposes


def mode_insert_plans_no_changes(bench: PlannerBench) -> None:
    """Rows that changed count as unchanged."""
    policy = KindPolicy(changed=False)
    bench.run(people((1, "A", 1)), BOTH, policy=policy)
    planned = bench.plan(people((1, "Z", 1), (2, "B", 2)), BOTH, policy=policy)
    assert planned.counts == (1, 0, 0)
    assert planned.plan.counts.unchanged == 1


def mode_replace_sends_all_or_nothing(bench: PlannerBench) -> None:
    """A difference anywhere sends the whole model; an unchanged model sends nothing."""
    policy = KindPolicy(everything=True)
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH, policy=policy)
    assert bench.run(people((2, "B", 2), (1, "A", 1)), BOTH, policy=policy).counts == (0, 0, 0)
    assert bench.run(people((2, "B", 2), (3, "C", 3)), BOTH, policy=policy).counts == (2, 0, 0)
    assert bench.ledger.rows == 2
    assert bench.run(people((2, "B", 2)), BOTH, policy=policy).counts == (1, 0, 0)
    assert bench.plan(people((2, "B", 2)), BOTH, policy=policy).counts == (0, 0, 0)


def a_distrusted_ledger_sends_all_and_keeps_removals(bench: PlannerBench) -> None:
    """resync: keys stay known, values do not."""
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    bench.ledger = replace(bench.ledger, distrusted=True)
    planned = bench.run(people((1, "A", 1)), BOTH)
    assert planned.counts == (0, 1, 1)
    assert planned.by_key("changed")[1]["state"] == "unknown"
    assert not bench.ledger.distrusted
    assert bench.plan(people((1, "A", 1)), BOTH).counts == (0, 0, 0)


def after_a_resync_only_what_it_did_not_confirm_is_sent_again(bench: PlannerBench) -> None:
    """One refused record does not make the next run send everything; nor is it forgotten."""
    bench.run(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH)
    bench.ledger = replace(bench.ledger, distrusted=True)
    rows = people((1, "A", 1), (2, "B", 2), (3, None, 3), (3, "other", 3))
    planned = bench.plan(rows, BOTH)
    assert set(planned.by_key("changed")) == {1, 2}
    bench.fold(planned, Settled("delivered", exceptions((planned.sequence("changed", 2), "rejected", None))))
    assert bench.ledger.rows == 3
    again = bench.plan(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH)
    assert {key: entry["state"] for key, entry in again.by_key("changed").items()} == {2: "unknown", 3: "unknown"}


def a_confirmed_model_sends_nothing(bench: PlannerBench) -> None:
    """mark-synced: the model counts as delivered."""
    rows = people((1, "A", 1), (2, "B", 2), (None, "C", 3))
    bench.ledger = bench.planner.confirmed(bench.request(rows, BOTH))
    assert (bench.ledger.rows, bench.ledger.generation) == (2, 1)
    planned = bench.plan(rows, BOTH)
    assert planned.counts == (0, 0, 0)
    assert planned.plan.counts.unchanged == 2


def a_preview_changes_nothing(bench: PlannerBench) -> None:
    """The first rows as they would arrive, and no file anywhere in the plan's or the ledger's folder."""
    request = bench.request(people((1, "A", 1), (2, "B", 2), (3, "C", 3)), BOTH)
    table = bench.planner.preview(request, 2)
    assert table.num_rows == 2
    assert {"key.id", "after.name", "after.n"} <= set(table.schema.names)
    assert not request.folder.exists()
    assert not bench.ledger.folder.exists()


# -- identity and integrity


def the_id_depends_on_content_alone(bench: PlannerBench) -> None:
    """The same content in another order has the same id; any changed value, kind or generation another."""
    rows = [(number, f"name {number}", number) for number in range(50)]
    first = bench.plan(people(*rows), BOTH).plan.plan_id
    assert bench.plan(people(*reversed(rows)), BOTH).plan.plan_id == first
    assert first.startswith("bench@")
    assert len(first) == len("bench@") + 12
    assert bench.plan(people(*rows[:-1], (49, "name 49", 50)), BOTH).plan.plan_id != first
    assert bench.plan(people(*rows[:-1]), BOTH).plan.plan_id != first
    bench.run(people(*rows), BOTH)
    assert bench.plan(people(*rows), BOTH).plan.plan_id != bench.plan(people(*rows[:-1]), BOTH).plan.plan_id


def a_read_that_breaks_leaves_no_plan(bench: PlannerBench) -> None:
    """SourceError, the source's own, and no `plan.json`: nothing may be taken for removed."""
    bench.run(people(*((number, "x", 1) for number in range(30))), BOTH)
    request = bench.request(people(*((number, "x", 1) for number in range(30))), BOTH, breaks_after=14)
    with pytest.raises(SourceError, match="the connection broke"):
        bench.planner.plan(request)
    assert not (request.folder / "plan.json").exists()


def a_segment_that_changed_on_disk_is_named(bench: PlannerBench) -> None:
    """One flipped byte anywhere in a ledger's file, or a missing file, is a CorruptedError naming it."""
    bench.run(people((1, "Ana", 1), (2, "Bo", 2)), BOTH)
    path = bench.ledger.folder / bench.ledger.segments[0].file.name
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(CorruptedError, match=path.name):
        bench.plan(people((1, "Ana", 1)), BOTH)
    path.unlink()
    with pytest.raises(CorruptedError, match=path.name):
        bench.plan(people((1, "Ana", 1)), BOTH)


def a_missing_column_is_named_with_the_nearest(bench: PlannerBench) -> None:
    """A mapping or a key to a column that the model lacks is a ConfigError before anything is planned."""
    with pytest.raises(ConfigError, match="nmae") as caught:
        bench.plan(people((1, "A", 1)), FieldMappings((FieldMapping("x", "column", "nmae"),), ()))
    assert "name" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match="missing"):
        bench.plan(people((1, "A", 1)), BOTH, key=("missing",))


# -- random histories against a dictionary


def _random_rows(chance: random.Random) -> dict[int, tuple[str | None, int | None]]:
    keys = chance.sample(range(25), chance.randint(0, 20))
    return {key: (chance.choice([None, "", "a", "b", "ä"]), chance.choice([None, 0, 1, 2**62])) for key in keys}


def random_histories_agree_with_a_dictionary(bench: PlannerBench) -> None:
    """Over many runs with random ends, plans, rows and shares of NULLs equal those of a dictionary diff."""
    for seed in range(HISTORIES):
        _play(PlannerBench(bench.planner, bench.folder / f"history-{seed}"), random.Random(seed))


def _play(bench: PlannerBench, chance: random.Random) -> None:
    held: dict[int, tuple[str, tuple[str | None, int | None]]] = {}
    for _ in range(HISTORY_STEPS):
        rows = _random_rows(chance)
        planned = bench.plan(people(*((key, *values) for key, values in rows.items())), BOTH)
        sure = {key for key, (state, _) in held.items() if state != "maybe_present"}
        expected = {
            "added": {key for key in rows if key not in sure},
            "changed": {
                key for key in rows if key in sure and (held[key][0] == "unknown" or held[key][1] != rows[key])
            },
            "removed": {key for key in held if key not in rows},
        }
        assert {kind: set(planned.by_key(kind)) for kind in KINDS} == expected
        assert planned.plan.counts.unchanged == len(rows) - len(expected["added"]) - len(expected["changed"])
        for position, name in enumerate(("name", "n")):
            nulls = sum(values[position] is None for values in rows.values())
            assert planned.plan.nulls.get(name, 0.0) == pytest.approx(nulls / len(rows) if rows else 0.0)
        ends: list[tuple[int, str, str | None]] = []
        for kind in KINDS:
            for key in expected[kind]:
                end = chance.choice(["delivered"] * 5 + ["rejected", "unknown"])
                if end != "delivered":
                    ends.append((planned.sequence(kind, key), end, f"op-{key}"))
                _apply(held, kind, key, end, rows)
        bench.fold(planned, Settled("delivered", exceptions(*ends) if ends else None))
        assert bench.ledger.rows == len(held)
        for position, name in enumerate(("name", "n")):
            nulls = sum(values[position] is None for _, values in held.values())
            assert bench.ledger.nulls.get(name, 0.0) == pytest.approx(nulls / len(held) if held else 0.0)


def _apply(
    held: dict[int, tuple[str, tuple[str | None, int | None]]],
    kind: str,
    key: int,
    end: str,
    rows: Mapping[int, tuple[str | None, int | None]],
) -> None:
    match kind, end:
        case "removed", "delivered":
            del held[key]
        case "removed", "unknown":
            held[key] = ("maybe_present", held[key][1])
        case "added", "unknown":
            held[key] = ("maybe_present", rows[key])
        case "changed", "unknown":
            held[key] = ("unknown", rows[key])
        case _, "delivered":
            held[key] = ("confirmed", rows[key])
        case _:
            pass


CHECKS: tuple[Callable[[PlannerBench], None], ...] = (
    a_first_plan_adds_every_row,
    an_unchanged_model_plans_nothing,
    a_change_shows_before_and_after,
    a_row_that_left_is_removed_with_its_last_values,
    without_removals_rows_that_left_stay_in_the_ledger,
    comparison_is_null_safe,
    a_then_b_then_a_ends_at_a,
    a_row_that_leaves_and_returns_is_added_again,
    an_empty_model_is_a_plan_of_removals,
    files_and_counts_agree,
    keys_may_be_of_any_type,
    keys_may_be_of_several_columns,
    another_key_is_refused,
    a_null_key_is_invalid,
    equal_duplicates_collapse,
    unequal_duplicates_are_invalid_all_of_them,
    duplicates_are_found_in_a_first_plan,
    a_valid_row_beside_an_invalid_one_of_its_key_is_not_sent,
    two_rows_found_as_one_record_are_invalid,
    an_invalid_row_is_named_and_never_removed,
    a_field_that_is_no_longer_mapped_sends_nothing,
    a_new_field_sends_rows_that_have_a_value,
    a_wider_type_sends_nothing,
    with_nulls_skip_a_null_is_no_difference,
    what_was_refused_is_planned_again,
    what_is_gone_is_added_by_the_next_plan,
    exceptions_end_apart_from_the_rest,
    an_unknown_addition_may_be_present,
    an_unknown_change_is_sent_again,
    an_unknown_removal_is_planned_again,
    identifiers_of_the_destination_are_kept,
    planning_and_folding_change_no_file_that_exists,
    mode_insert_plans_no_changes,
    mode_replace_sends_all_or_nothing,
    a_distrusted_ledger_sends_all_and_keeps_removals,
    after_a_resync_only_what_it_did_not_confirm_is_sent_again,
    a_confirmed_model_sends_nothing,
    a_preview_changes_nothing,
    the_id_depends_on_content_alone,
    a_read_that_breaks_leaves_no_plan,
    a_segment_that_changed_on_disk_is_named,
    a_missing_column_is_named_with_the_nearest,
    random_histories_agree_with_a_dictionary,
    *MAPPING_CHECKS,
    *UNDO_CHECKS,
)


def name_of(check: Callable[[PlannerBench], None]) -> str:
    return check.__name__
