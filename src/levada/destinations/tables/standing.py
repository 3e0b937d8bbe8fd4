"""What stands in a table right before a batch is written over it, read in the transaction of the writing.

From it follow the effect of each record and what is kept for an undo. Not here: the writing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.destinations.tables.engine import Session
from levada.destinations.tables.kept import fitted
from levada.destinations.tables.statements import Befores, Found, Statements
from levada.destinations.tables.work import numbers, only, without
from levada.outcome import LETTERS, Effect, Effects

compute = cast("Any", pc)
KINDS: tuple[tuple[str, pa.DataType], ...] = (("r", pa.int64()), ("same", pa.bool_()), ("other", pa.bool_()))
RECORDS = pa.schema(KINDS)
SEQUENCE, UNKEPT = "sequence", "unkept"


@dataclass(frozen=True, slots=True)
class Standing:
    """The records that are there, a row each: r (the index), same (as is wanted), other (not as the plan says).

    `old`: what those that are other hold (r, before.<field>, unkept), if it was asked for.
    """

    records: pa.Table
    old: pa.Table | None = None

    @property
    def there(self) -> Any:
        """The indexes of the records that are there."""
        return self.records.column("r").combine_chunks()

    @property
    def same(self) -> Any:
        return self.records.filter(self.records.column("same")).column("r").combine_chunks()

    def kept(self, sequence: int, but: pa.Array[Any]) -> pa.Table | None:
        """What `levada.destination.Keep` takes, without the records that were not delivered; None for nothing."""
        rows = None if self.old is None else without(self.old, but)
        if rows is None or not rows.num_rows:
            return None
        places = compute.add(rows.column("r"), sequence)
        return rows.drop_columns(["r"]).add_column(0, SEQUENCE, places)

    def with_previous(self, previous: Standing) -> Standing:
        """The same, where records that are found by their previous match values are those."""
        found = previous.there
        records = pa.concat_tables([without(self.records, found), previous.records])
        if self.old is None or previous.old is None:
            return Standing(records)
        return Standing(records, pa.concat_tables([without(self.old, found), previous.old]))

    def of(self, indexes: Any) -> Standing:
        """The same of these records only."""
        return Standing(only(self.records, indexes), None if self.old is None else only(self.old, indexes))

    def without_old(self, indexes: Sequence[int]) -> Standing:
        """The same, where nothing is known of what these records held: another record stood in their place."""
        if self.old is None or not indexes:
            return self
        schema = self.old.schema
        names = [name.removeprefix("before.") for name in schema.names if name.startswith("before.")]
        nothing = {name: cast("Any", pa).nulls(len(indexes), kind) for name, kind in _types(schema)}
        nothing |= {"r": pa.array(indexes, pa.int64()), UNKEPT: pa.array([names] * len(indexes), pa.list_(pa.string()))}
        return Standing(
            self.records, pa.concat_tables([without(self.old, numbers(indexes)), pa.table(nothing, schema=schema)])
        )

    @property
    def all_others(self) -> Standing:
        """The same, none of them as wanted."""
        different = pa.repeat(False, self.records.num_rows)
        return Standing(self.records.set_column(1, RECORDS.field("same"), different), self.old)


NOTHING = Standing(RECORDS.empty_table())


@dataclass(frozen=True, slots=True)
class Change:
    """What a batch does: the effect on records that are not there, that on records that are, and what was there.
    `untold`: the indexes of those of which it is not known."""

    absent: Effect
    present: Effect
    standing: Standing = NOTHING
    untold: Sequence[int] = ()

    def effects(self, size: int, exceptions: Sequence[int]) -> Effects:
        """The effects of a batch's records, but of those that had another end."""
        untold = numbers([*self.untold, *exceptions])
        there, same = self.standing.there, self.standing.same
        if not len(there) and not len(untold):
            return Effects.all(self.absent)
        if len(there) == size and not len(same) and not len(untold):
            return Effects.all(self.present)
        places = pa.array(range(size), pa.int64())
        letters: Any = pa.repeat(LETTERS[self.absent], size)
        chosen: tuple[tuple[Any, Effect], ...] = ((there, self.present), (same, "same"), (untold, "untold"))
        for indexes, effect in chosen:
            letters = compute.if_else(pc.is_in(places, value_set=indexes), LETTERS[effect], letters)
        together = pa.ListArray.from_arrays(pa.array([0, size], pa.int32()), letters)
        joined: Any = pc.binary_join(together, "")
        return Effects(str(joined[0].as_py())).simplified()


ADDED = Change("created", "created")
"""Of a batch whose records cannot have been there."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a writer looks. `held`: what keeps the rows as they are until the transaction ends; `keeps`: is what stood
    there asked for, too?"""

    session: Session
    statements: Statements
    schema: pa.Schema
    held: str
    keeps: bool

    def standing(self, by: Found, befores: Befores, *, clears: bool = False) -> Standing:
        """What the staged records are in the table."""
        statement = self.statements.standing(by, befores, clears=clears, keeps=self.keeps, held=self.held)
        found = self.session.columns(statement)
        records = found.select(["r", "same", "other"]).cast(pa.schema([(n, pa.int64()) for n in RECORDS.names]))
        records = records.cast(RECORDS)
        several = compute.count_distinct(records.column("r")).as_py() < records.num_rows
        if several:
            groups = records.group_by("r", use_threads=False).aggregate([("same", "all"), ("other", "any")])
            records = groups.rename_columns(RECORDS.names).cast(RECORDS)
        if not self.keeps:
            return Standing(records)
        if not pc.any(records.column("other")).as_py():
            return Standing(records, self._no_old)
        return Standing(records, self._old(by, befores))

    @property
    def _no_old(self) -> pa.Table:
        return self._old_schema.empty_table()

    @property
    def _old_schema(self) -> pa.Schema:
        fields = [pa.field(f"before.{field.name}", field.type) for field in self.schema]
        return pa.schema([pa.field("r", pa.int64()), *fields, pa.field(UNKEPT, pa.list_(pa.string()))])

    def _old(self, by: Found, befores: Befores) -> pa.Table:
        """What they hold, a row each. Where several rows are one record, none of it can be put back."""
        rows = self.session.columns(self.statements.stood(by, befores))
        indexes = rows.column("r").cast(pa.int64())
        columns: list[Any] = [indexes]
        lost: list[Any] = []
        for place, field in enumerate(self.schema):
            column = fitted(rows.column(f"c{place}"), field.type)
            empty = compute.equal(rows.column(f"e{place}").cast(pa.int64()), 1)
            columns.append(column)
            lost.append(compute.and_(compute.is_null(column), compute.invert(empty)))
        names = [field.name for field in self.schema]
        table = pa.table([*columns, _named(names, lost, rows.num_rows)], schema=self._old_schema)
        counts = table.group_by("r", use_threads=False).aggregate([([], "count_all")])
        several = counts.filter(compute.greater(counts.column("count_all"), 1)).column("r")
        if not len(several):
            return table
        nothing = {name: cast("Any", pa).nulls(len(several), kind) for name, kind in _types(self._old_schema)}
        nothing |= {"r": several, UNKEPT: pa.array([names] * len(several), pa.list_(pa.string()))}
        return pa.concat_tables([without(table, several), pa.table(nothing, schema=self._old_schema)])


def _types(schema: pa.Schema) -> list[tuple[str, pa.DataType]]:
    return [(field.name, field.type) for field in schema]


def _named(names: list[str], lost: list[Any], size: int) -> pa.Array[Any]:
    """For each row, the fields whose value is lost; NULL for none."""
    if not any(pc.any(mask).as_py() for mask in lost):
        return pa.nulls(size, pa.list_(pa.string()))
    masks = [mask.to_pylist() for mask in lost]
    found = [[name for name, mask in zip(names, row, strict=True) if mask] or None for row in zip(*masks, strict=True)]
    return pa.array(found, pa.list_(pa.string()))
