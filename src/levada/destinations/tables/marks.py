"""The mark table: which batches of which plan have been committed, written in the transaction of their rows.

It makes writing exactly-once. A mark covers a range of a plan's sequence, because a batch that was refused
comes back in halves; it also remembers the records that had another end than the rest, and what each one changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from levada.batch import Batch
from levada.destinations.tables.engine import Engine, Session
from levada.destinations.tables.names import TableName
from levada.destinations.tables.statements import quoted_table
from levada.outcome import DELIVERED, UNTOLD, Effects, Outcome, Outcomes

MARKS_TABLE = "_levada_marks"
SWAPPED = -1
"""The "batch" by which a plan in mode replace says: the swap has been done."""
STAGING = -2
"""The "batch" by which a plan in mode replace says which table (in `detail`) it fills."""
SCATTERED = -3
"""The "batch" of records that do not follow one another; `first` is then a fingerprint of which they are."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Records [first, first + size) of the plan are in. `detail` is JSON: see `detail_of`."""

    batch: int
    first: int
    size: int
    detail: str = ""

    @property
    def end(self) -> int:
        return self.first + self.size

    @property
    def outcomes(self) -> Outcomes:
        data = json.loads(self.detail) if self.detail else {}
        found = {int(index): Outcome(*parts) for index, parts in data.get("exceptions", {}).items()}
        effects = Effects.from_text(data["effects"]) if "effects" in data else UNTOLD
        return Outcomes(DELIVERED, found, effects=effects)

    @property
    def taken(self) -> tuple[str, ...]:
        return tuple(json.loads(self.detail).get("taken", ())) if self.detail else ()


def scattered(batch: Batch) -> Mark:
    """The mark of records that do not follow one another."""
    fingerprint = int.from_bytes(hashlib.sha256(batch.idempotency_key.encode()).digest()[:7])
    return Mark(SCATTERED, fingerprint, len(batch))


def detail_of(exceptions: Mapping[int, Outcome], taken: tuple[str, ...], effects: Effects) -> str:
    """What a mark has to remember beside its range; empty if nothing."""
    found: dict[str, object] = {}
    if exceptions:
        found["exceptions"] = {str(index): [o.end, o.reason, o.code] for index, o in exceptions.items()}
    if taken:
        found["taken"] = list(taken)
    if effects != UNTOLD:
        found["effects"] = effects.as_text()
    return json.dumps(found, ensure_ascii=True, separators=(",", ":")) if found else ""


@dataclass(slots=True)
class Marks:
    """The marks of one plan, as read when the writer was opened and as written since."""

    engine: Engine
    table: TableName
    sync: str
    plan_id: str
    found: list[Mark] = field(default_factory=list)
    #: the sync's older plans have been forgotten
    tidied: bool = False

    def read(self, session: Session) -> None:
        """Take up the marks of the plan."""
        rows = session.fetch(
            f"SELECT batch, first_row, row_count, detail FROM {self._name} WHERE plan_id = {self._value(1)}",
            (self.plan_id,),
        )
        self.found = [Mark(int(b), int(f), int(n), d or "") for b, f, n, d in rows]
        self.tidied = bool(self.found)

    def applied(self, number: int) -> bool:
        """Was the batch committed, every record of it delivered? (A part of a batch has a number of its own.)"""
        mine = [mark for mark in self.found if mark.batch == number]
        return len(mine) == 1 and not mine[0].outcomes.exceptions

    def within(self, batch: Batch) -> list[Mark]:
        """The marks that cover records of a batch, in order."""
        first, end = batch.sequence, batch.sequence + len(batch)
        return sorted(
            (mark for mark in self.found if mark.batch >= 0 and mark.first < end and first < mark.end),
            key=lambda mark: mark.first,
        )

    def find(self, mark: Mark) -> Mark | None:
        """The mark that was made for the same records."""
        same = (mark.batch, mark.first, mark.size)
        return next((other for other in self.found if (other.batch, other.first, other.size) == same), None)

    def of(self, number: int) -> Mark | None:
        return next((mark for mark in self.found if mark.batch == number), None)

    def write(self, session: Session, mark: Mark) -> None:
        """Inside a transaction: write a mark, and forget the sync's older plans with the first one of this plan.

        The mark counts for this writer only after `keep`, which the caller calls when it has committed.
        """
        if not self.tidied:
            session.run(
                f"DELETE FROM {self._name} WHERE sync = {self._value(1)} AND plan_id <> {self._value(2)}"
                f" AND batch <> {STAGING}",
                (self.sync, self.plan_id),
            )
        places = ", ".join(self._value(position) for position in range(1, 7))
        session.run(
            f"INSERT INTO {self._name} (sync, plan_id, batch, first_row, row_count, detail, applied_at)"
            f" VALUES ({places}, CURRENT_TIMESTAMP)",
            (self.sync, self.plan_id, mark.batch, mark.first, mark.size, mark.detail),
        )

    def plans(self, session: Session) -> dict[str, frozenset[str]]:
        """By sync, the plans of which there are marks: of every sync that writes beside this table."""
        found: dict[str, set[str]] = {}
        for sync, plan in session.fetch(f"SELECT DISTINCT sync, plan_id FROM {self._name}"):
            found.setdefault(str(sync), set()).add(str(plan))
        return {sync: frozenset(plans) for sync, plans in found.items()}

    def keep(self, mark: Mark) -> None:
        self.found.append(mark)
        self.tidied = True

    def abandoned(self, session: Session) -> list[str]:
        """Staging tables that older plans of the sync left behind."""
        rows = session.fetch(
            f"SELECT detail FROM {self._name} WHERE sync = {self._value(1)} AND plan_id <> {self._value(2)}"
            f" AND batch = {STAGING}",
            (self.sync, self.plan_id),
        )
        return [str(row[0]) for row in rows]

    def forget(self, session: Session, staging: str) -> None:
        """Inside a transaction: a staging table is no longer there."""
        session.run(
            f"DELETE FROM {self._name}"
            f" WHERE sync = {self._value(1)} AND batch = {STAGING} AND detail = {self._value(2)}",
            (self.sync, staging),
        )

    @property
    def _name(self) -> str:
        return quoted_table(self.engine.grammar, self.table)

    def _value(self, position: int) -> str:
        mark = self.engine.grammar.placeholder
        return f"${position}" if mark == "$" else mark


def create_marks(engine: Engine, table: TableName) -> str:
    """The statement that makes the mark table."""
    grammar = engine.grammar
    return f"CREATE TABLE {quoted_table(grammar, table)} ({grammar.marks_columns}){grammar.create_suffix}"
