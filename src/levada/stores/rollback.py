"""Going on with a store that is older than it was, or that is damaged in places: trust nothing, keep what is legible.

The ledgers' keys stay where they can be read, but every value counts as unknown, so the next runs compare
with nothing and send what the models say. What was planned or sent after the copy was made is not known here:
open runs are closed, and removals of keys that only the lost part knew are not planned.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path

from levada.clock import Clock, isoformat
from levada.durable import locked, write_durably
from levada.errors import BusyError, CorruptedError
from levada.planner import Ledger
from levada.store import Fact
from levada.stores.audit import START, SqliteAudit
from levada.stores.checksums import Row, holds, sealed
from levada.stores.database import Database, translated
from levada.stores.highwater import FILE, LOCK, HighWater, Meta, read_mark
from levada.stores.journal import entry_problem, head
from levada.stores.leases import Held, SqliteLeases
from levada.stores.ledgers import SqliteLedgers, file_problem
from levada.stores.machine import Machine, Owner
from levada.stores.runs import RunRows, numbered
from levada.wording import plural

CANCELLED = "the store was rolled back; what this run had sent counts as unknown"
_PAGE_ROWS = 500
_MARK_AUDIT = "audit"


@dataclass(frozen=True, slots=True)
class Acceptance:
    database: Database
    meta: Meta
    leases: SqliteLeases
    runs: RunRows
    ledgers: SqliteLedgers
    audit: SqliteAudit
    machine: Machine
    clock: Clock

    def accept(self, folder: Path, facts: Collection[Fact]) -> Sequence[str]:
        """See `Upkeep.accept_rollback`."""
        try:
            mark = read_mark(folder)
        except CorruptedError:
            mark = None
        done: list[str] = []
        with self.database.write():
            self._refuse_if_busy()
            self.database.plain("reindex")  # from the tables, whatever became of the copies of their keys
            epoch = self._facts_of_the_store(mark)
            for part in (
                self._close_runs(),
                self._drop_journals(),
                self._free_leases(epoch),
                self._distrust_ledgers(),
                self._drop_damaged(),
            ):
                done += part
            for fact in facts:
                self.database.change("facts.mark_write", sealed("mark", astuple(fact)))
            ledgers = self.ledgers.all()
            reached = self.meta.reached()
        with translated(folder), locked(folder / LOCK):
            write_durably(folder / FILE, reached.as_bytes())
        for ledger in ledgers:
            self.ledgers.drop_unreferenced(ledger)
        return done

    def _refuse_if_busy(self) -> None:
        for row in self.database.rows("leases.all"):
            if not holds("lease", row) or not row[2]:
                continue
            owner = Owner.from_text(row[2])
            if self.machine.comparable(owner.boot) and not self.machine.gone(owner):
                raise BusyError(
                    f"sync {row[0]} is being run by {owner}",
                    run_id=row[5] or None,
                    hint="stop that process first: it works with what is to be given up",
                )

    def _facts_of_the_store(self, mark: HighWater | None) -> int:
        """Set the store's numbers beyond all that were ever used; returns the epoch."""
        legible = {row[0]: row[1] for row in self.database.rows("store.meta_all") if holds("meta", row)}
        epochs = [row[1] for row in self.database.rows("leases.all") if holds("lease", row)]
        store = mark.store if mark else legible.get("store_id") or self.clock.new_id("store")
        epoch: int = max([int(legible.get("highest_epoch", 0)), mark.epoch if mark else 0, *epochs]) + 1
        commits = max(int(legible.get("commits", 0)), mark.commits if mark else 0) + 1
        self.meta.set("store_id", store)
        self.meta.set("highest_epoch", str(epoch))
        self.meta.set("commits", str(commits))
        self.meta.set("created_at", legible.get("created_at") or isoformat(self.clock.now()))
        if _MARK_AUDIT not in legible:
            last = self.database.rows("facts.audit_newest", 1)
            self.audit.set_head(last[0][0] if last else 0, last[0][6] if last else START)
        return epoch

    def _close_runs(self) -> Iterator[str]:
        number = -1
        while rows := self.database.rows("runs.all", number, _PAGE_ROWS):
            for row in rows:
                number = row[0]
                legible = holds("run", row)
                if legible and row[3] == "closed":
                    continue
                found = numbered(row if legible else _resealed(row))
                now = isoformat(self.clock.now())
                result = {"status": "cancelled", "message": CANCELLED}
                closed = replace(found.run, phase="closed", status="cancelled", finished_at=now, result=result)
                self.runs.save(found.number, closed)
                yield f"run {row[1]} is closed as cancelled" + ("" if legible else " (its row was damaged)")

    def _drop_journals(self) -> Iterator[str]:
        for (run_id,) in self.database.rows("journal.runs"):
            try:
                expected = head(self.database, run_id)
            except CorruptedError:
                expected = -1
            whole = expected == self.database.rows("journal.count", run_id)[0][0]
            number = -1 << 62
            while whole and (rows := self.database.rows("journal.page", run_id, number, _PAGE_ROWS)):
                number = rows[-1][1]
                whole = not any(entry_problem(row) for row in rows)
            if not whole:
                self.database.change("journal.delete", (run_id,))
                self.database.change("journal.head_delete", (run_id,))
                yield f"the journal of run {run_id} was damaged and is dropped"

    def _free_leases(self, epoch: int) -> Iterator[str]:
        for row in self.database.rows("leases.all"):
            if holds("lease", row):
                self.leases.write(Held(row[0], epoch))
            else:
                self.database.change("leases.delete", (row[0],))
                yield f"the lease of {row[0]!r} was damaged and is dropped"

    def _distrust_ledgers(self) -> Iterator[str]:
        for row in self.database.rows("ledgers.all"):
            if not holds("ledger", row):
                self.database.change("ledgers.delete", (row[0],))
                yield f"the ledger of {row[0]!r} was damaged and is dropped"
                continue
            ledger = self.ledgers.from_row(row[:-1])
            broken = [problem for part in ledger.segments if (problem := file_problem(ledger.folder, part.file))]
            generation = ledger.generation + 1
            if broken:
                self.ledgers.write(Ledger(ledger.sync, ledger.folder, generation=generation))
                yield f"the ledger of {ledger.sync} starts empty: {broken[0]}"
            else:
                self.ledgers.write(replace(ledger, generation=generation, distrusted=True))
                known = plural(ledger.rows, "key")
                yield f"the ledger of {ledger.sync} keeps {known}, and every value counts as unknown"

    def _drop_damaged(self) -> Iterator[str]:
        for table, statement, keys in (
            ("hold", "journal.hold", 1),
            ("approval", "facts.approval", 1),
            ("mark", "facts.mark", 2),
            ("quota", "facts.quota", 2),
            ("pace", "facts.pace", 1),
            ("secret", "facts.secret", 1),
        ):
            for row in self.database.rows(f"{statement}_all"):
                if not holds(table, row):
                    self.database.change(f"{statement}_delete", row[:keys])
                    yield f"{table} {row[0]!r} was damaged and is dropped"


def _resealed(row: Row) -> Row:
    """A damaged run's row with what is legible of it, for the list of runs only."""
    values = [*row[:-1]]
    values[11] = None if not _is_json(values[11]) else values[11]
    return sealed("run", values)


def _is_json(text: object) -> bool:
    try:
        json.loads(str(text))
    except ValueError:
        return False
    return True
