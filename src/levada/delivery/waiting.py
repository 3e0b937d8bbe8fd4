"""Operations of a plan that are not sent in this run: refused before, unchanged since, and not yet due again.

Which they are is the runner's to find out (`levada.runner.refused`). Delivery leaves them out of what it sends and
gives each its end without a request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from levada.outcome import Outcome

#: `end`: what the destination made of it when last asked, `rejected` or `suppressed`. `tries`: how often it was
#: asked with these values. `left`: in how many runs, this one included, it is not asked. `moment`: the store's, when
#: it was last asked.
_FIELDS: list[pa.Field[pa.DataType]] = [
    pa.field("sequence", pa.int64()),
    pa.field("end", pa.string()),
    pa.field("tries", pa.int32()),
    pa.field("left", pa.int32()),
    pa.field("reason", pa.string()),
    pa.field("code", pa.string()),
    pa.field("moment", pa.string()),
]
SCHEMA = pa.schema(_FIELDS)


@dataclass(frozen=True, slots=True)
class Waiting:
    """The operations of one plan that were refused before, by `sequence`, in its order; those that are due have
    `left` 0. Columns as SCHEMA."""

    table: pa.Table

    def __len__(self) -> int:
        """How many of them are left out of this run."""
        return sum(bool(left) for left in self.table["left"].to_pylist())

    def of(self, first: int, size: int) -> Mapping[int, Outcome]:
        """The ends of those that are left out among operations [first, first + size), by index from 0."""
        if not self.table.num_rows:
            return {}
        start, stop = self._place(first), self._place(first + size)
        found = self.table.slice(start, stop - start).to_pylist()
        return {row["sequence"] - first: _end(row) for row in found if row["left"] > 0}

    def _place(self, sequence: int) -> int:
        column: Any = self.table["sequence"]
        return bisect_left(range(len(column)), sequence, key=lambda index: int(column[index].as_py()))


NOTHING = Waiting(SCHEMA.empty_table())


def _end(row: Mapping[str, object]) -> Outcome:
    times = "once" if row["tries"] == 1 else f"{row['tries']} times"
    runs = "the next run" if row["left"] == 1 else f"{row['left']} runs"
    words = (
        f"{row['reason'] or 'refused'} (asked {times}, asked again in {runs}, after a day, or when its values change)"
    )
    return Outcome("waiting" if row["end"] == "rejected" else "suppressed", words, str(row["code"] or ""))
