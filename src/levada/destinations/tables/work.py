"""A batch on its way into a table: the columns as the stage takes them, and who is left out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.batch import Batch, python_values
from levada.destinations.tables.statements import Befores
from levada.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Work:
    """`rows` has the stage's columns (see `statements`). `exceptions`: who is left out of it, and why."""

    batch: Batch
    rows: pa.Table
    exceptions: dict[int, Outcome]
    #: the match values that records of this batch took from others (see TableWriter._move)
    taken: list[str] = field(default_factory=list)
    #: what the plan says that the records hold
    befores: Befores = None

    def left_out(self, indexes: Sequence[int], outcome: Outcome) -> Work:
        """The same without these records."""
        if not indexes:
            return self
        exceptions = {**self.exceptions, **dict.fromkeys(indexes, outcome)}
        return replace(self, rows=without(self.rows, numbers(indexes)), exceptions=exceptions)

    @property
    def indexes(self) -> pa.ChunkedArray[Any]:
        """Those of the records that are not left out."""
        return self.rows.column("r")


def numbers(indexes: Sequence[int]) -> pa.Array[Any]:
    return pa.array(list(indexes), pa.int64())


def listed(column: Any) -> list[int]:
    return [cast("int", index) for index in column.to_pylist()]


def indexes_of(rows: pa.Table, mask: Any) -> list[int]:
    """The indexes (column r) of the rows for which a mask holds."""
    return listed(rows.column("r").filter(mask))


def only(rows: pa.Table, indexes: Any) -> pa.Table:
    """The rows of these indexes (an array)."""
    return rows.filter(pc.is_in(rows.column("r"), value_set=indexes))


def without(rows: pa.Table, indexes: Any) -> pa.Table:
    """The other rows."""
    return rows.filter(pc.invert(pc.is_in(rows.column("r"), value_set=indexes)))


def doubled(rows: pa.Table, names: Sequence[str]) -> list[int]:
    """Indexes of the rows whose values in these columns occur more than once."""
    groups = rows.select(list(names)).group_by(list(names)).aggregate([([], "count_all")])
    if groups.num_rows == rows.num_rows:
        return []
    several = groups.filter(cast("Any", pc).greater(groups.column("count_all"), 1)).select(list(names))
    return listed(rows.join(several, list(names), join_type="left semi").column("r"))


def digests(rows: pa.Table, indexes: Sequence[int] | None, names: Sequence[str]) -> list[str]:
    """A short fingerprint of the match values in these columns, record by record."""
    chosen = rows if indexes is None else only(rows, numbers(indexes))
    columns = [python_values(chosen.column(name)) for name in names]
    return [hashlib.sha256(repr(values).encode()).hexdigest()[:24] for values in zip(*columns, strict=True)]


def doubled_outcome(match: Sequence[str]) -> Outcome:
    """Of records that have the same match value as another one of their batch."""
    names = ", ".join(match)
    return Outcome("rejected", f"several records of the model have the same match value ({names})", "match_doubled")


def taken_outcome(match: Sequence[str]) -> Outcome:
    """Of records whose match value another record has, to the column's collation."""
    names = ", ".join(match)
    reason = (
        f"the table has a record whose {names} is written differently and counts as the same to the column's "
        "collation (case, accents, trailing spaces): neither can be told from the other"
    )
    return Outcome("rejected", reason, "match_equal")
