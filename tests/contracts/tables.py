"""The contract of a database as destination, as checks to be run over every implementation:

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_a_database_keeps_its_contract(check, my_bench):
        check(my_bench)

A check gets a bench with an empty database, and an independent way to look into it. More checks, of mode
replace and of what is created, are in `contracts.table_shapes`, of what a writing changed in
`table_effects`, of what a table proves in `table_proofs`. What is not here: what only one database has (privileges,
its ways of failing).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest

from levada.batch import Batch
from levada.change import Kind, Verb
from levada.destination import TableDestination, WriteOrder, Writer
from levada.errors import ConfigError
from levada.outcome import Outcomes
from levada.sync import Mode

SYNC = "customers_to_table"


def columns_of(*named: tuple[str, pa.DataType]) -> pa.Schema:
    """A schema of columns, each with its type."""
    return pa.schema(list(named))


SCHEMA = columns_of(("id", pa.int64()), ("email", pa.string()), ("score", pa.int64()))
Row = tuple[Any, ...]


@dataclass
class TableBench:
    """`opener(**options)` opens the destination; `query` and `execute` speak to the database on their own.

    `quoted` writes a name as the database's SQL. Values of `query` are compared after `plain`.
    """

    opener: Callable[..., TableDestination]
    query: Callable[[str], list[Row]]
    tables: Callable[[], list[str]]
    execute: Callable[[str], None]
    quoted: Callable[[str], str] = '"{}"'.format
    #: types of columns for tables that a check makes by hand
    integer: str = "bigint"
    text: str = "varchar(200)"
    #: how a record is added where nothing else is asked: files know only append
    adds: Verb = "upsert"
    mode: Mode = "upsert"
    #: do rows and the mark of how far they got move together? (class T)
    marks: bool = True
    #: does the database tell a table from one of the same name that was made before it?
    identifies: bool = True
    #: can others write while a writer is open?
    apart: bool = True
    _writers: list[Writer] = field(default_factory=list)

    def open(self, **options: Any) -> TableDestination:
        return self.opener(**{"create_tables": True, **options})

    def writer(
        self,
        plan: str = "1",
        *,
        mode: Mode | None = None,
        schema: pa.Schema = SCHEMA,
        table: str = "people",
        match: tuple[str, ...] = ("id",),
        sync: str = SYNC,
        destination: TableDestination | None = None,
        **order: Any,
    ) -> Writer:
        found = (destination or self.open()).open(
            WriteOrder(sync, "run_1", f"{sync}@{plan}", table, mode or self.mode, "delete", match, schema, **order)
        )
        self._writers.append(found)
        return found

    def table(self, *extra: str, key: str = ", PRIMARY KEY (id)") -> None:
        """A table `people` made by hand, with further columns."""
        columns = ", ".join([f"id {self.integer} NOT NULL", f"email {self.text}", f"score {self.integer}", *extra])
        self.execute(f"CREATE TABLE people ({columns}{key})")

    def rows(self, table: str = "people", columns: str = "id, email, score", order: str = "1") -> list[Row]:
        return [tuple(row) for row in self.query(f"SELECT {columns} FROM {table} ORDER BY {order}")]

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


Check = Callable[[TableBench], None]


def name_of(check: Check) -> str:
    return check.__name__


def records(*rows: Row, schema: pa.Schema = SCHEMA) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [() for _ in schema]
    return pa.table([pa.array(column, f.type) for column, f in zip(columns, schema, strict=True)], schema=schema)


def batch(
    table: pa.Table,
    verb: Verb = "upsert",
    kind: Kind = "added",
    *,
    number: int = 0,
    first: int | None = None,
    match: tuple[str, ...] = ("id",),
    previous: pa.Table | None = None,
    plan: str = "1",
    sync: str = SYNC,
) -> Batch:
    """A batch by hand. `first` is its place in the plan; by default batches are a thousand records apart."""
    keys = table.select(table.column_names[:1])
    sequence = number * 1_000 if first is None else first
    name = f"key-{number}"
    return Batch(
        sync, f"{sync}@{plan}", number, sequence, kind, verb, "people", match, table, keys, name, previous=previous
    )


def write(writer: Writer, table: pa.Table, verb: Verb = "upsert", kind: Kind = "added", **more: Any) -> Outcomes:
    return writer.write(batch(table, verb, kind, **more))


ALICE, BOB = (1, "alice@example.com", 10), (2, "bob@example.com", 20)


# -- verbs


def upsert_adds_and_then_overwrites(bench: TableBench) -> None:
    """A record is added once and overwritten from then on; others are left alone."""
    writer = bench.writer()
    assert write(writer, records(ALICE, BOB)).common.end == "delivered"
    changed = (1, "a@example.com", None)
    assert write(writer, records(changed), kind="changed", number=1).common.end == "delivered"
    assert bench.rows() == [changed, BOB]


def upsert_leaves_columns_that_are_not_mapped(bench: TableBench) -> None:
    """A column that the sync does not map keeps what others wrote into it."""
    bench.table(f"note {bench.text}")
    bench.execute("INSERT INTO people VALUES (1, 'old', 0, 'theirs')")
    write(bench.writer(), records(ALICE))
    assert bench.rows(columns="id, email, score, note") == [(*ALICE, "theirs")]


def create_rejects_what_is_there(bench: TableBench) -> None:
    """Verb create adds what is new, and rejects by index what is there, which stays as it was."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (2, 'theirs', 0)")
    outcomes = write(bench.writer(mode="insert"), records(ALICE, BOB), "create")
    assert [outcomes.of(index).end for index in (0, 1)] == ["delivered", "rejected"]
    assert bench.rows() == [ALICE, (2, "theirs", 0)]


def update_never_creates(bench: TableBench) -> None:
    """Verb update changes what is there; the rest is suppressed, by index."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (2, 'old', 0)")
    outcomes = write(bench.writer(mode="update"), records(ALICE, BOB), "update")
    assert outcomes.attributed
    assert [outcomes.of(index).end for index in (0, 1)] == ["suppressed", "delivered"]
    assert bench.rows() == [BOB]


def append_adds_every_time(bench: TableBench) -> None:
    """Verb append adds records whether or not there is one like them; the table made for it has no key."""
    writer = bench.writer(mode="append")
    write(writer, records(ALICE, ALICE), "append")
    write(writer, records(ALICE), "append", number=1)
    assert bench.rows() == [ALICE] * 3


def delete_removes_only_what_it_is_told(bench: TableBench) -> None:
    """A removal deletes the named record; what this sync never wrote stays, and an absent one is no error."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (1, 'x', 0), (3, 'theirs', 0)")
    outcomes = write(bench.writer(mode="mirror"), records(ALICE, BOB), "delete", "removed")
    assert (outcomes.common.end, dict(outcomes.exceptions)) == ("delivered", {})
    assert bench.rows() == [(3, "theirs", 0)]


def clear_empties_the_fields_and_keeps_the_record(bench: TableBench) -> None:
    """A removal with verb update or upsert empties all but the match fields, and creates nothing."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    write(writer, records(ALICE, (9, "nobody", 0)), "upsert", "removed", number=1)
    write(writer, records(BOB), "update", "removed", number=2)
    assert bench.rows() == [(1, None, None), (2, None, None)]


def an_empty_batch_is_delivered(bench: TableBench) -> None:
    """No records, no work."""
    assert write(bench.writer(), records(), bench.adds).common.end == "delivered"
    assert bench.rows() == []


# -- values of the match fields


def records_are_found_by_several_fields(bench: TableBench) -> None:
    """A match of two fields needs both to agree, in every verb."""
    match = ("id", "email")
    writer = bench.writer(match=match)
    write(writer, records((1, "a", 1), (1, "b", 1)), match=match)
    write(writer, records((1, "b", 2)), kind="changed", number=1, match=match)
    write(writer, records((1, "a", 1)), "delete", "removed", number=2, match=match)
    assert bench.rows() == [(1, "b", 2)]


def a_new_match_value_moves_the_record(bench: TableBench) -> None:
    """When a match value changes, the record is changed, with all that others wrote into it: no orphan stays."""
    bench.table(f"note {bench.text}")
    bench.execute("INSERT INTO people VALUES (1, 'old', 0, 'theirs')")
    write(bench.writer(), records((7, "new", 1)), kind="changed", previous=pa.table({"id": [1]}))
    assert bench.rows(columns="id, email, score, note") == [(7, "new", 1, "theirs")]


def a_new_match_value_moves_the_record_in_update_too(bench: TableBench) -> None:
    """Mode update finds a record by its former match value, and does not create one."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (1, 'old', 0)")
    outcomes = write(
        bench.writer(mode="update"),
        records((7, "new", 1), (8, "none", 1)),
        "update",
        "changed",
        previous=pa.table({"id": [1, 2]}),
    )
    assert [outcomes.of(index).end for index in (0, 1)] == ["delivered", "suppressed"]
    assert bench.rows() == [(7, "new", 1)]


def an_unchanged_match_value_may_be_empty_in_previous(bench: TableBench) -> None:
    """`previous` may be NULL where nothing changed."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    previous = pa.table({"id": pa.array([None, 2], pa.int64())})
    write(writer, records((1, "a", 1), (3, "b", 2)), kind="changed", number=1, previous=previous)
    assert bench.rows() == [(1, "a", 1), (3, "b", 2)]


def a_chain_of_match_values_moves_along(bench: TableBench) -> None:
    """1 becomes 2 while 2 becomes 3: both records survive."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    moved = records((2, "alice", 1), (3, "bob", 2))
    write(writer, moved, kind="changed", number=1, previous=pa.table({"id": [1, 2]}))
    assert bench.rows() == [(2, "alice", 1), (3, "bob", 2)]


def two_records_exchange_their_match_values(bench: TableBench) -> None:
    """1 becomes 2 while 2 becomes 1: both records survive, in one batch."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    moved = records((2, "alice", 1), (1, "bob", 2))
    write(writer, moved, kind="changed", number=1, previous=pa.table({"id": [1, 2]}))
    assert bench.rows() == [(1, "bob", 2), (2, "alice", 1)]


def an_exchange_across_batches_loses_nobody(bench: TableBench) -> None:
    """The same in two batches, with a crash between them."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    write(writer, records((2, "alice", 1)), kind="changed", number=1, previous=pa.table({"id": [1]}))
    writer.close()
    write(bench.writer(), records((1, "bob", 2)), kind="changed", number=2, previous=pa.table({"id": [2]}))
    assert bench.rows() == [(1, "bob", 2), (2, "alice", 1)]


def a_removal_goes_by_the_former_match_value(bench: TableBench) -> None:
    """What was last confirmed says where the record is."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    write(writer, records((9, "x", 0)), "delete", "removed", number=1, previous=pa.table({"id": [1]}))
    assert bench.rows() == [BOB]


def an_empty_match_value_is_rejected_by_index(bench: TableBench) -> None:
    """A record without a match value cannot be found again: it is rejected, the others go through."""
    writer = bench.writer(match=("email",))
    outcomes = write(writer, records(ALICE, (2, None, 0)), match=("email",))
    assert [outcomes.of(index).end for index in (0, 1)] == ["delivered", "rejected"]
    assert bench.rows() == [ALICE]


def doubled_match_values_are_all_rejected(bench: TableBench) -> None:
    """Never "the last one wins": records of one batch with the same match value are rejected, all of them."""
    outcomes = write(bench.writer(), records(ALICE, (1, "other", 0), BOB))
    assert [outcomes.of(index).end for index in range(3)] == ["rejected", "rejected", "delivered"]
    assert bench.rows() == [BOB]


# -- NULL


def nulls_clear_or_skip(bench: TableBench) -> None:
    """By default NULL empties a field; with nulls: skip it leaves the field as it is."""
    writer = bench.writer()
    write(writer, records(ALICE, BOB))
    write(writer, records((1, None, 11)), kind="changed", number=1)
    skipping = bench.writer("2", nulls="skip")
    write(skipping, records((2, None, 21)), kind="changed", plan="2")
    assert bench.rows() == [(1, None, 11), (2, "bob@example.com", 21)]


def only_if_empty_keeps_what_is_there(bench: TableBench) -> None:
    """A field that is written only where it is empty keeps what others wrote."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (1, 'theirs', 0), (2, NULL, 0)")
    writer = bench.writer(only_if_empty=frozenset({"email"}))
    write(writer, records(ALICE, BOB), kind="changed")
    assert bench.rows() == [(1, "theirs", 10), BOB]


# -- one transaction, exactly once


def a_batch_written_again_has_no_second_effect(bench: TableBench) -> None:
    """Rows and mark moved together: after a crash a batch is known, and sending it again changes nothing."""
    writer = bench.writer(mode="append")
    assert writer.applied(0) is False
    write(writer, records(ALICE), "append")
    writer.close()
    again = bench.writer(mode="append")
    assert (again.applied(0), again.applied(1)) == (True, False)
    assert write(again, records(ALICE), "append").common.end == "delivered"
    assert bench.rows() == [ALICE]


def exceptions_are_remembered_with_the_mark(bench: TableBench) -> None:
    """A batch that is written again answers as the first time, also for the records that had another end."""
    bench.table()
    bench.execute("INSERT INTO people VALUES (2, 'old', 0)")
    writer = bench.writer(mode="update")
    first = write(writer, records(ALICE, BOB), "update")
    writer.close()
    bench.execute("INSERT INTO people VALUES (1, 'late', 0)")
    again = bench.writer(mode="update")
    assert again.applied(0) is False
    assert write(again, records(ALICE, BOB), "update") == first
    assert bench.rows() == [(1, "late", 0), BOB]


def a_part_that_was_committed_is_not_written_twice(bench: TableBench) -> None:
    """A crash between two halves of a batch: written whole again, only what was missing is added."""
    whole = batch(records(ALICE, BOB, (3, "c", 3), (4, "d", 4)), "append")
    writer = bench.writer(mode="append")
    writer.write(whole.slice(1, 2))
    writer.close()
    again = bench.writer(mode="append")
    assert again.applied(0) is False
    assert again.write(whole).common.end == "delivered"
    assert bench.rows(columns="id") == [(1,), (2,), (3,), (4,)]


def a_poisoned_batch_is_refused_whole(bench: TableBench) -> None:
    """One value that the table refuses: nothing is applied, no mark is set, and its parts can be written."""
    bench.table(key=", PRIMARY KEY (id), CHECK (score < 100)")
    whole = batch(records(ALICE, (2, "b", 1_000), (3, "c", 3)))
    writer = bench.writer()
    outcomes = writer.write(whole)
    assert (outcomes.attributed, outcomes.common.end) == (False, "rejected")
    assert outcomes.common.reason
    assert (bench.rows(), writer.applied(0)) == ([], False)
    ends = [writer.write(whole.slice(index, 1)).common.end for index in range(3)]
    assert ends == ["delivered", "rejected", "delivered"]
    assert bench.rows() == [ALICE, (3, "c", 3)]


def a_poisoned_value_of_a_direct_load_is_refused_too(bench: TableBench) -> None:
    """The fast way into an empty table refuses like the other, and later batches still arrive."""
    bench.table(key=", PRIMARY KEY (id), CHECK (score < 100)")
    writer = bench.writer(mode="append")
    assert not write(writer, records(ALICE, (2, "b", 1_000)), "append").attributed
    assert write(writer, records(BOB), "append", number=1).common.end == "delivered"
    assert bench.rows() == [BOB]


def marks_of_older_plans_are_forgotten(bench: TableBench) -> None:
    """The mark table does not grow: the first batch of a plan removes the marks of the sync's earlier plans."""
    write(bench.writer("1"), records(ALICE), plan="1")
    write(bench.writer("1", sync="other"), records(ALICE), plan="1", sync="other")
    write(bench.writer("2"), records(BOB), plan="2")
    found = bench.rows("_levada_marks", "sync, plan_id")
    assert found == [(SYNC, f"{SYNC}@2"), ("other", "other@1")]


def a_mark_counts_for_its_owner_only(bench: TableBench) -> None:
    """A plan of equal content from another project, or for another object, is not taken for one that is in."""
    write(bench.writer("1", owner="a"), records(ALICE), plan="1")
    bench.execute("DELETE FROM people")
    other = bench.writer("1", owner="b")
    assert other.applied(0) is False
    write(other, records(ALICE), plan="1")
    assert bench.rows() == [ALICE]
    assert bench.writer("1", owner="a").applied(0) is True


def without_marks_nothing_is_promised_that_is_not_kept(bench: TableBench) -> None:
    """marks: false makes no table of ours, says class A and why, and repeats stay harmless for upsert and create."""
    destination = bench.open(marks=False)
    assert {verb: destination.spec.delivery_class("people", verb) for verb in ("upsert", "create", "append")} == {
        "upsert": "A",
        "create": "A",
        "append": "D",
    }
    writer = bench.writer(mode="insert", destination=destination)
    assert any("_levada_marks" in notice for notice in getattr(writer, "notices", ()))
    for _ in range(2):
        assert write(writer, records(ALICE), "create").common.end == "delivered"
    assert writer.applied(0) is None
    write(writer, records(BOB), "upsert", number=1)
    write(writer, records(BOB), "upsert", number=1)
    assert bench.rows() == [ALICE, BOB]
    with pytest.raises(Exception, match="_levada_marks"):
        bench.rows("_levada_marks", "1")


def with_marks_the_class_is_transactional(bench: TableBench) -> None:
    """By default every verb is class T."""
    spec = bench.open().spec
    assert {spec.delivery_class("people", verb) for verb in ("create", "update", "upsert", "delete", "append")} == {"T"}


def two_syncs_write_to_one_table(bench: TableBench) -> None:
    """Two writers at once, with the same numbers of batches: neither stands in for the other."""
    first, second = bench.writer(), None
    write(first, records(ALICE))
    first.close()
    second = bench.writer(sync="other", plan="1")
    assert second.applied(0) is False
    write(second, records((1, "theirs", 0), BOB), sync="other")
    assert bench.rows() == [(1, "theirs", 0), BOB]


# -- tables without a unique index


def without_a_unique_index_nothing_is_doubled(bench: TableBench) -> None:
    """Records are found by comparing where no index does it; a notice says so."""
    bench.table(key="")
    writer = bench.writer()
    assert any("unique index" in notice for notice in getattr(writer, "notices", ()))
    write(writer, records(ALICE))
    write(writer, records((1, "a", 1), BOB), kind="changed", number=1)
    assert bench.rows() == [(1, "a", 1), BOB]
    outcomes = write(writer, records(BOB, (3, "c", 3)), "create", number=2)
    assert [outcomes.of(index).end for index in (0, 1)] == ["rejected", "delivered"]
    assert bench.rows(columns="id") == [(1,), (2,), (3,)]


def another_unique_index_changes_no_other_record(bench: TableBench) -> None:
    """A conflict on a unique column that is not the match is a refusal: the record that has it stays as it is."""
    bench.table(key=", PRIMARY KEY (id), UNIQUE (email)")
    writer = bench.writer()
    write(writer, records(ALICE))
    outcomes = write(writer, records((5, "alice@example.com", 5)), number=1)
    assert outcomes.common.end == "rejected"
    assert bench.rows() == [ALICE]


def reserved_names_are_refused(bench: TableBench) -> None:
    """No sync writes to a table of ours."""
    with pytest.raises(ConfigError):
        bench.writer(table="_levada_marks")


def gathered(namespace: dict[str, Any]) -> Sequence[Check]:
    """The checks of a module: its public functions that take a bench alone."""
    return tuple(
        found
        for name, found in namespace.items()
        if callable(found)
        and not name.startswith("_")
        and getattr(found, "__annotations__", {}) == {"bench": "TableBench", "return": "None"}
    )


CHECKS = gathered(dict(globals()))
