"""Upkeep: reading every byte to see whether it is as written, and deleting what retention allows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from levada.clock import Clock, isoformat
from levada.errors import CorruptedError, LevadaError
from levada.run import OPEN_PHASES
from levada.store import AuditEntry, Fact, RunRecord, Snapshots
from levada.stores.audit import SqliteAudit
from levada.stores.checksums import ACCEPT_HINT, holds
from levada.stores.database import Database
from levada.stores.highwater import Meta
from levada.stores.journal import entry_problem, head
from levada.stores.leases import SqliteLeases
from levada.stores.ledgers import SqliteLedgers, file_problem
from levada.stores.machine import Machine
from levada.stores.rollback import Acceptance
from levada.stores.runs import RunRows, numbered

APPROVAL_HOURS = 24
"""A plan that waits for an approval is kept at least so long, and so is a plan that no run names."""
_PAGE_ROWS = 500
#: statement that lists a table, the table's name, and what one row is called
CHECKED = (
    ("store.meta_all", "meta", "the store's"),
    ("leases.all", "lease", "the lease of"),
    ("ledgers.all", "ledger", "the ledger of"),
    ("journal.hold_all", "hold", "the hold of"),
    ("facts.approval_all", "approval", "the approval of"),
    ("facts.mark_all", "mark", "a mark of"),
    ("facts.quota_all", "quota", "the quota of"),
    ("facts.pace_all", "pace", "the pace of"),
    ("facts.secret_all", "secret", "the secret"),
)


@dataclass(frozen=True, slots=True)
class SqliteUpkeep:
    """Fulfils `levada.store.Upkeep`."""

    database: Database
    meta: Meta
    leases: SqliteLeases
    runs: RunRows
    ledgers: SqliteLedgers
    audit: SqliteAudit
    clock: Clock
    machine: Machine
    snapshots: Snapshots
    folder: Path

    def verify(self) -> Sequence[str]:
        """See `Upkeep.verify`."""
        problems: list[str] = []
        try:
            if self.database.foreign_schema():
                problems.append("the database's schema is not the one that this Levada makes")
            with self.database.read():
                problems += (str(row[0]) for row in self.database.plain("pragma integrity_check") if row[0] != "ok")
                problems += (
                    f"{row[0]}: a row without the one it belongs to"
                    for row in self.database.plain("pragma foreign_key_check")
                )
                for part in (self._rows(), self._run_rows(), self._journals(), self.audit.problems()):
                    problems += part
                problems += self._files()
            self.meta.compare()
        except LevadaError as error:
            problems.append(error.message)
        return problems

    def refuse_damaged_rows(self) -> None:
        """Raise CorruptedError for a row that is not as written: to be asked when the second copy of the keys has just
        been made from the tables."""
        with self.database.read():
            for sentence in self._rows():
                raise CorruptedError(sentence, code="store.corrupted", hint=ACCEPT_HINT)

    def _rows(self) -> Iterator[str]:
        for statement, table, called in CHECKED:
            for row in self.database.rows(statement):
                if not holds(table, row):
                    yield f"{called} {row[0]!r} is not what was written"

    def _run_rows(self) -> Iterator[str]:
        unclosed: set[str] = set()
        number = -1
        while rows := self.database.rows("runs.all", number, _PAGE_ROWS):
            for row in rows:
                number = row[0]
                if not holds("run", row):
                    yield f"run {row[1]} is not what was written"
                elif row[3] != "closed":
                    unclosed.add(row[1])
        for held in self.leases.all():
            if held.run_id and held.run_id not in unclosed:
                yield f"sync {held.sync} has the run {held.run_id} under way, which is not there"
            unclosed.discard(held.run_id)
        for run_id in sorted(unclosed):
            yield f"run {run_id} is not closed, but no sync has it under way"

    def _journals(self) -> Iterator[str]:
        for (run_id,) in self.database.rows("journal.runs"):
            seen = 0
            number = -1 << 62
            while rows := self.database.rows("journal.page", run_id, number, _PAGE_ROWS):
                seen += len(rows)
                problems = [problem for row in rows if (problem := entry_problem(row))]
                yield from problems
                if problems:
                    # Behind a damaged key the order of the pages means nothing.
                    break
                number = rows[-1][1]
            else:
                yield from self._length(run_id, seen)

    def _length(self, run_id: str, seen: int) -> Iterator[str]:
        try:
            expected = head(self.database, run_id)
        except CorruptedError as error:
            yield error.message
        else:
            if expected != seen:
                yield f"run {run_id} has {seen} batches in its journal instead of {expected}"

    def _files(self) -> Iterator[str]:
        for ledger in self.ledgers.all():
            for segment in ledger.segments:
                if problem := file_problem(ledger.folder, segment.file):
                    yield problem

    def accept_rollback(self, actor: str, facts: Collection[Fact] = ()) -> Sequence[str]:
        """See `Upkeep.accept_rollback`."""
        parts = (self.database, self.meta, self.leases, self.runs, self.ledgers, self.audit, self.machine, self.clock)
        done = Acceptance(*parts).accept(self.folder, facts)
        now = isoformat(self.clock.now())
        self.audit.note(AuditEntry(now, actor, "store.accept_rollback", "store", {"done": done}))
        return done

    def sweep(self, *, plans_older_than: datetime, keep: Collection[str] = ()) -> int:
        """See `Upkeep.sweep`. The rows go first: a crash then leaves a folder that no run names, swept later."""
        now = self.clock.now()
        if plans_older_than.tzinfo is None:
            raise ValueError("plans_older_than must be aware")
        recent = now - timedelta(hours=APPROVAL_HOURS)
        swept = 0
        kept: set[str] = set()
        number = -1
        while True:
            with self.database.read():
                rows = self.database.rows("runs.all", number, _PAGE_ROWS)
            if not rows:
                break
            for row in rows:
                found = numbered(row)
                number = found.number
                if found.run.run_id not in keep and _expired(found.run, plans_older_than, recent):
                    swept += self._forget(found.run)
                elif found.run.folder:
                    kept.add(found.run.folder)
        self._sweep_folders(kept, recent)
        self._sweep_facts(plans_older_than)
        return swept

    def _forget(self, run: RunRecord) -> int:
        """Drop what is kept of the run but the run itself; returns 1 if there was anything."""
        with self.database.write():
            found = self.runs.find(run.run_id)
            if found is None or found.run.phase != "closed":
                return 0
            had_journal = self.database.change("journal.delete", (run.run_id,)) > 0
            self.database.change("journal.head_delete", (run.run_id,))
            if run.folder:
                self.runs.save(found.number, replace(found.run, folder=""))
        if run.folder:
            self.snapshots.delete(run.folder)
        return int(had_journal or bool(run.folder))

    def _sweep_folders(self, kept: set[str], older_than: datetime) -> None:
        """Those that no run names: what a process that died while it read the model left, the model's rows included."""
        plans = self.snapshots.plans()
        with self.database.read():
            # A run may have taken up a folder since the runs were read.
            kept = kept | {numbered(row).run.folder for row in self.database.rows("runs.newest", _PAGE_ROWS)}
            # A run that is still reading has one of its own name, in which nothing may have moved for long.
            kept |= {held.run_id for held in self.leases.all()}
        for name, changed in plans.items():
            if name not in kept and changed < older_than:
                self.snapshots.delete(name)

    def _sweep_facts(self, older_than: datetime) -> None:
        day = older_than.astimezone(UTC).date().isoformat()
        with self.database.write():
            for row in self.database.rows("facts.approval_all"):
                if holds("approval", row) and datetime.fromisoformat(row[4]) < older_than:
                    self.database.change("facts.approval_delete", (row[0],))
            for row in self.database.rows("facts.quota_all"):
                if holds("quota", row) and row[1] < day:
                    self.database.change("facts.quota_delete", (row[0], row[1]))


def _expired(run: RunRecord, older_than: datetime, recent: datetime) -> bool:
    if run.phase != "closed" or run.phase in OPEN_PHASES:
        return False
    ended = datetime.fromisoformat(run.finished_at or run.created_at)
    return ended < (min(older_than, recent) if run.status == "blocked" else older_than)
