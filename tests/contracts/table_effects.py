"""More of the contract of a database as destination: what each record's writing changed, and what stood there before.

Checks as in `contracts.tables`.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from contracts.tables import ALICE, BOB, SCHEMA, TableBench, batch, columns_of, gathered, records, write
from levada.destination import WriteOrder, Writer
from levada.outcome import Effect, Outcomes
from levada.proof import Already, Foretelling

CAROL = (3, "carol@example.com", 30)


@dataclass
class Kept:
    """What a writer gave away before it wrote, by the first operation of the part."""

    parts: dict[int, pa.Table | None] = field(default_factory=dict)

    def __call__(self, first: int, table: pa.Table | None) -> None:
        self.parts[first] = table

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for _, table in sorted(self.parts.items()) if table is not None for row in table.to_pylist()]

    @property
    def values(self) -> list[tuple[Any, ...]]:
        """Sequence and values, without `unkept`."""
        return [tuple(row.values())[:-1] for row in sorted(self.rows, key=lambda row: row["sequence"])]


def told(outcomes: Outcomes, size: int) -> list[Effect]:
    return [outcomes.effects.of(index) for index in range(size)]


def seeded(bench: TableBench, *rows: tuple[Any, ...]) -> None:
    """Records that are there before the sync comes."""
    bench.table()
    for row in rows:
        values = ", ".join("NULL" if value is None else repr(value) for value in row)
        bench.execute(f"INSERT INTO people VALUES ({values})")


# -- effects


def an_upsert_tells_created_updated_and_same(bench: TableBench) -> None:
    """Each record says whether it was new, held other values, or was already as wanted."""
    seeded(bench, BOB, (3, "old", 30))
    outcomes = write(bench.writer(), records(ALICE, BOB, CAROL))
    assert told(outcomes, 3) == ["created", "same", "updated"]
    assert bench.rows() == [ALICE, BOB, CAROL]


def an_upsert_of_changes_tells_what_was_gone(bench: TableBench) -> None:
    """A change that meets no record makes one, and says so."""
    seeded(bench, (1, "old", 10))
    outcomes = write(bench.writer(), records(ALICE, BOB), kind="changed")
    assert told(outcomes, 2) == ["updated", "created"]


def only_columns_that_are_mapped_count(bench: TableBench) -> None:
    """A record is the same when its mapped fields are, whatever else is in it."""
    bench.table(f"note {bench.text}")
    bench.execute("INSERT INTO people VALUES (1, 'alice@example.com', 10, 'theirs')")
    assert told(write(bench.writer(), records(ALICE)), 1) == ["same"]


def a_direct_load_creates(bench: TableBench) -> None:
    """The fast way into an empty table tells that every record was created; later batches too."""
    writer = bench.writer()
    assert write(writer, records(ALICE, BOB)).effects.letters == "c"
    assert write(writer, records(CAROL), number=1).effects.letters == "c"


def a_record_that_somebody_adds_meanwhile_is_not_created(bench: TableBench) -> None:
    """A table that was empty when it was opened: a record that another wrote since is found, not called created."""
    bench.table()
    writer, kept = None, Kept()
    writer = bench.writer(keep=kept)
    if not bench.apart:
        writer.close()
    bench.execute("INSERT INTO people VALUES (2, 'theirs', 0)")
    if not bench.apart:
        writer = bench.writer(keep=kept)
    assert told(write(writer, records(ALICE, BOB)), 2) == ["created", "updated"]
    assert kept.values == [(1, 2, "theirs", 0)]


def a_create_creates(bench: TableBench) -> None:
    """Verb create tells what it created; of what it rejected there is nothing to tell."""
    seeded(bench, BOB)
    outcomes = write(bench.writer(mode="insert"), records(ALICE, BOB), "create")
    assert told(outcomes, 2) == ["created", "untold"]


def an_update_updates(bench: TableBench) -> None:
    """Verb update tells what it changed, and what was so already; what is not there is suppressed."""
    seeded(bench, BOB, (3, "old", 30))
    outcomes = write(bench.writer(mode="update"), records(ALICE, BOB, CAROL), "update", "changed")
    assert told(outcomes, 3) == ["untold", "same", "updated"]


def an_append_creates(bench: TableBench) -> None:
    """Verb append adds a record every time."""
    writer = bench.writer(mode="append")
    assert [write(writer, records(ALICE), "append", number=n).effects.letters for n in (0, 1)] == ["c", "c"]


def a_delete_tells_what_is_gone(bench: TableBench) -> None:
    """A removal tells which records it removed; one that met nothing found the table as wanted."""
    seeded(bench, ALICE, (3, "theirs", 0))
    outcomes = write(bench.writer(mode="mirror"), records(ALICE, BOB), "delete", "removed")
    assert told(outcomes, 2) == ["gone", "same"]


def a_clear_updates(bench: TableBench) -> None:
    """Emptying a record is an update of it; of one that is empty, or not there, nothing changed."""
    seeded(bench, ALICE, (2, None, None))
    empty = records((1, None, None), (2, None, None), (9, None, None))
    assert told(write(bench.writer(), empty, "upsert", "removed"), 3) == ["updated", "same", "same"]


def what_nulls_and_emptiness_leave_alone_is_the_same(bench: TableBench) -> None:
    """nulls: skip and only_if_empty: a record in which nothing would be written is as wanted."""
    seeded(bench, ALICE, BOB, (3, None, 30))
    skipping = bench.writer("1", nulls="skip")
    outcomes = write(skipping, records((1, None, 10), (2, None, 21)), kind="changed")
    assert told(outcomes, 2) == ["same", "updated"]
    filling = bench.writer("2", only_if_empty=frozenset({"email"}))
    outcomes = write(filling, records((1, "mine", 10), (3, "mine", 30)), kind="changed", plan="2")
    assert told(outcomes, 2) == ["same", "updated"]
    assert bench.rows() == [ALICE, (2, "bob@example.com", 21), (3, "mine", 30)]


def a_record_that_moves_is_updated(bench: TableBench) -> None:
    """A new match value is a change of the record that had the old one, not a new record."""
    seeded(bench, ALICE)
    moved = records((7, *ALICE[1:]), (8, "none", 1))
    outcomes = write(bench.writer(), moved, kind="changed", previous=pa.table({"id": [1, 2]}))
    assert told(outcomes, 2) == ["updated", "created"]


def records_that_exchange_their_places_are_updated(bench: TableBench) -> None:
    """Two records that take each other's match value are both there before and after."""
    seeded(bench, ALICE, BOB)
    moved = records((2, *ALICE[1:]), (1, *BOB[1:]))
    outcomes = write(bench.writer(), moved, kind="changed", previous=pa.table({"id": [1, 2]}))
    assert told(outcomes, 2) == ["updated", "updated"]


def effects_are_remembered_with_the_mark(bench: TableBench) -> None:
    """A batch that was committed and is written again tells what it did the first time."""
    seeded(bench, BOB)
    whole = batch(records(ALICE, BOB, (None, "nobody", 0), CAROL))
    writer = bench.writer()
    first = writer.write(whole)
    assert told(first, 4) == ["created", "same", "untold", "created"]
    writer.close()
    assert bench.writer().write(whole) == first


def effects_of_a_part_that_was_committed_are_remembered(bench: TableBench) -> None:
    """A crash between two halves: the rest is written, and each record tells what its own writing did."""
    seeded(bench, BOB)
    whole = batch(records(ALICE, BOB, CAROL, (4, "d", 4)))
    writer = bench.writer()
    writer.write(whole.slice(0, 2))
    writer.close()
    assert told(bench.writer().write(whole), 4) == ["created", "same", "created", "created"]


def effects_of_halves_are_joined(bench: TableBench) -> None:
    """A refused batch changed nothing; its parts tell their own effects."""
    bench.table(key=", PRIMARY KEY (id), CHECK (score < 100)")
    bench.execute("INSERT INTO people VALUES (1, 'old', 0)")
    whole = batch(records(ALICE, (2, "b", 1_000), CAROL))
    writer = bench.writer()
    assert writer.write(whole).effects.letters == "-"
    parts = [(1, writer.write(whole.slice(index, 1))) for index in range(3)]
    assert told(Outcomes.joined(parts), 3) == ["updated", "untold", "created"]


def a_repeat_without_marks_claims_no_creation(bench: TableBench) -> None:
    """marks: false: a record that is there with just these values may be ours or not. It is not told."""
    destination = bench.open(marks=False)
    writer = bench.writer(mode="insert", destination=destination)
    assert told(write(writer, records(ALICE), "create"), 1) == ["created"]
    assert told(write(writer, records(ALICE, BOB), "create"), 2) == ["untold", "created"]


def a_swap_tells_nothing_of_single_records(bench: TableBench) -> None:
    """Mode replace: the old object is not compared with the new one."""
    writer = bench.writer(mode="replace", keep=Kept())
    assert write(writer, records(ALICE), "append").effects.letters == "-"
    writer.finish()


# -- before anything is sent


def what_is_there_already_is_counted(bench: TableBench) -> None:
    """Before a first run: how many of the records are there, and how many with other values. Nothing is changed, the
    rows come in pieces, and what cannot be added is not counted."""
    seeded(bench, (1, "theirs", 7), BOB, CAROL, (9, "theirs", 0))
    order = WriteOrder("s", "r", "p", "people", "mirror", "delete", ("id",), SCHEMA)
    destination = bench.open()
    assert isinstance(destination, Foretelling)
    pieces = (records(ALICE, BOB), records(CAROL, (4, "new", 4), (None, "nobody", 0)), records())
    assert destination.already(order, iter(pieces)) == Already(3, 1)
    assert bench.rows() == [(1, "theirs", 7), BOB, CAROL, (9, "theirs", 0)]
    assert bench.tables() == ["people"]


def nothing_is_there_where_nothing_is_matched(bench: TableBench) -> None:
    """A table that is still to be made, and modes that look for nothing."""
    order = WriteOrder("s", "r", "p", "people", "mirror", "delete", ("id",), SCHEMA)
    destination = bench.open()
    assert isinstance(destination, Foretelling)
    assert destination.already(order, [records(ALICE)]) == Already()
    assert bench.tables() == []
    seeded(bench, ALICE)
    assert destination.already(replace(order, mode="append"), [records(ALICE)]) == Already()
    assert destination.already(replace(order, mode="replace"), [records(ALICE)]) == Already()


def a_column_that_is_still_to_be_made_differs(bench: TableBench) -> None:
    """Records that are there will get values in a column that is not."""
    seeded(bench, ALICE)
    wider = columns_of(*((one.name, one.type) for one in SCHEMA), ("more", pa.string()))
    order = WriteOrder("s", "r", "p", "people", "mirror", "delete", ("id",), wider)
    destination = bench.open()
    assert isinstance(destination, Foretelling)
    assert destination.already(order, [records((*ALICE, "x"), (*BOB, "x"), schema=wider)]) == Already(1, 1)


# -- what stood there before


def nothing_is_kept_of_what_the_plan_knows(bench: TableBench) -> None:
    """Additions that were not there, and records that hold what the plan says, leave nothing to keep."""
    kept = Kept()
    writer = bench.writer(keep=kept)
    write(writer, records(ALICE, BOB))
    changed, before = records((1, "new", 10), (2, None, 20)), records(ALICE, BOB)
    _write_over(writer, changed, before, number=1)
    write(writer, changed, "delete", "removed", number=2)
    assert kept.parts == {0: None, 1_000: None, 2_000: None}


def what_an_addition_meets_is_kept(bench: TableBench) -> None:
    """A record that was there before the sync: its mapped fields as they were, in the order's types, one row each."""
    seeded(bench, (1, "theirs", 7), BOB)
    kept = Kept()
    write(bench.writer(keep=kept), records(ALICE, BOB, CAROL))
    assert kept.values == [(0, 1, "theirs", 7), (1, *BOB)]
    table = kept.parts[0]
    assert table is not None
    names = ["sequence", *(f"before.{name}" for name in SCHEMA.names), "unkept"]
    assert table.column_names == names
    assert [table.schema.field(f"before.{name}").type for name in SCHEMA.names] == list(SCHEMA.types)


def what_others_wrote_into_a_record_is_kept(bench: TableBench) -> None:
    """A change over values that are not those of the plan, NULL among them; and of other records nothing."""
    seeded(bench, ALICE, (2, None, 20), CAROL)
    kept = Kept()
    changed = records((1, "a", 11), (2, "b", 21), (3, "c", 31))
    _write_over(bench.writer(keep=kept), changed, records(ALICE, BOB, CAROL), first=500)
    assert kept.values == [(501, 2, None, 20)]
    assert bench.rows() == [(1, "a", 11), (2, "b", 21), (3, "c", 31)]


def what_a_removal_takes_along_is_kept(bench: TableBench) -> None:
    """A removal of a record that others changed; likewise when it is emptied."""
    seeded(bench, (1, "theirs", 10), BOB, (3, "theirs", 30))
    kept = Kept()
    writer = bench.writer(mode="mirror", keep=kept)
    write(writer, records(ALICE, BOB), "delete", "removed")
    _write_over(writer, records((3, None, None)), records(CAROL), "update", "removed", number=1)
    assert kept.values == [(0, 1, "theirs", 10), (1_000, 3, "theirs", 30)]


def a_record_that_moves_is_kept_as_it_was(bench: TableBench) -> None:
    """What a record held before it got another match value, the old match value among it."""
    seeded(bench, (1, "theirs", 10), BOB)
    kept = Kept()
    moved, before = records((7, "a", 11), (8, "b", 21)), records(ALICE, BOB)
    _write_over(bench.writer(keep=kept), moved, before, previous=pa.table({"id": [1, 2]}))
    assert kept.values == [(0, 1, "theirs", 10)]


def rejected_records_keep_nothing(bench: TableBench) -> None:
    """Only what was written over is kept, not what was left out."""
    seeded(bench, (1, "theirs", 7), (2, "theirs", 7))
    kept = Kept()
    write(bench.writer(keep=kept), records(ALICE, (2, "a", 1), (2, "b", 1)))
    assert kept.values == [(0, 1, "theirs", 7)]


def what_cannot_be_kept_changes_nothing(bench: TableBench) -> None:
    """It is kept before the commit: if that fails, nothing is written."""
    seeded(bench, (1, "theirs", 7))

    def fails(first: int, table: pa.Table | None) -> None:
        raise OSError("no space left")

    writer = bench.writer(keep=fails)
    with pytest.raises(OSError, match="no space"):
        write(writer, records(ALICE))
    writer.close()
    assert bench.rows() == [(1, "theirs", 7)]
    assert bench.writer().applied(0) is False


def several_rows_for_one_record_cannot_be_kept(bench: TableBench) -> None:
    """Without a unique index a record may be two rows: what each held is not put back into both, and it is said."""
    bench.table(key="")
    for text in ("one", "two"):
        bench.execute(f"INSERT INTO people VALUES (1, '{text}', 0)")
    kept = Kept()
    assert told(write(bench.writer(keep=kept), records(ALICE)), 1) == ["updated"]
    assert [(row["sequence"], row["unkept"]) for row in kept.rows] == [(0, SCHEMA.names)]


def a_value_that_does_not_fit_is_named(bench: TableBench) -> None:
    """A column that is wider than the field: a value beyond the field's type is not kept, and not taken for NULL."""
    seeded(bench, (1, None, 2**40), (2, None, None), (3, None, 5))
    kept = Kept()
    narrow = columns_of(("id", pa.int64()), ("score", pa.int32()))
    table = records((1, 1), (2, 2), (3, 3), schema=narrow)
    write(bench.writer(keep=kept, schema=narrow), table)
    found = [(row["sequence"], row["before.score"], row["unkept"]) for row in kept.rows]
    assert sorted(found) == [(0, None, ["score"]), (1, None, None), (2, 5, None)]


MOMENT = dt.datetime.fromisoformat("1900-01-01T00:00:00.000001")
VALUES: tuple[tuple[str, pa.DataType, Any, Any], ...] = (
    ("truth", pa.bool_(), True, False),
    ("small", pa.int16(), -3, 4),
    ("big", pa.int64(), 2**62 + 1, 5),
    ("real", pa.float64(), 0.1 + 0.2, 1.5),
    ("single", pa.float32(), 16777216.0, 0.5),
    ("amount", pa.decimal128(20, 4), Decimal("1234567890123456.7891"), Decimal("1.0000")),
    ("words", pa.string(), "Zoë \"x\" 'y' \\ \n", ""),
    ("raw", pa.binary(), b"\x00\xff", b""),
    ("day", pa.date32(), dt.date(1969, 12, 31), dt.date(2024, 2, 29)),
    ("hour", pa.time64("us"), dt.time(23, 59, 59, 999999), dt.time(0)),
    ("plain", pa.timestamp("us"), MOMENT, MOMENT.replace(year=2024)),
    (
        "instant",
        pa.timestamp("us", "UTC"),
        dt.datetime(2024, 3, 31, 1, 30, 0, 5, dt.UTC),
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    ),
    ("several", pa.list_(pa.int64()), [1, 2, 3], [4]),
    ("place", pa.struct([("city", pa.string()), ("size", pa.float64())]), {"city": "Köln", "size": 1.5}, None),
)


def values_of_every_type_come_back(bench: TableBench) -> None:
    """What a column of any type held comes back as the very value, NULL too."""
    schema = columns_of(("id", pa.int64()), *((name, kind) for name, kind, _, _ in VALUES))
    old = records((1, *(value for _, _, value, _ in VALUES)), (2, *([None] * len(VALUES))), schema=schema)
    new = records(*((index, *(value for _, _, _, value in VALUES)) for index in (1, 2)), schema=schema)
    kept = Kept()
    writer = bench.writer(schema=schema)
    write(writer, old)
    writer.close()
    over = bench.writer("2", schema=schema, keep=kept)
    assert told(write(over, new, plan="2"), 2) == ["updated", "updated"]
    assert told(write(over, new, plan="2", number=1), 2) == ["same", "same"]
    found = kept.parts[0]
    assert found is not None
    assert found.column("unkept").null_count == 2
    back = found.sort_by("sequence").select([f"before.{name}" for name in schema.names])
    assert back.to_pydict() == {f"before.{name}": values for name, values in old.to_pydict().items()}
    assert list(back.schema.types) == list(schema.types)


def values_of_every_type_are_known_again(bench: TableBench) -> None:
    """A change over just what the plan says of it keeps nothing, whatever the types."""
    schema = columns_of(("id", pa.int64()), *((name, kind) for name, kind, _, _ in VALUES))
    old = records((1, *(value for _, _, value, _ in VALUES)), (2, *([None] * len(VALUES))), schema=schema)
    new = records(*((index, *(value for _, _, _, value in VALUES)) for index in (1, 2)), schema=schema)
    kept = Kept()
    writer = bench.writer(schema=schema, keep=kept)
    write(writer, old)
    outcomes = _write_over(writer, new, old, number=1)
    assert told(outcomes, 2) == ["updated", "updated"]
    assert kept.parts == {0: None, 1_000: None}


def _write_over(
    writer: Writer, table: pa.Table, before: pa.Table, verb: Any = "upsert", kind: Any = "changed", **more: Any
) -> Outcomes:
    """Write changes of which the plan says what the records held."""
    return writer.write(replace(batch(table, verb, kind, **more), before=before))


CHECKS = gathered(dict(globals()))
