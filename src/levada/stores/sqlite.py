"""The store in one SQLite database inside the project's state folder, for one machine.

    .levada/state.sqlite     the database (WAL, synchronous=FULL)
    .levada/high-water       how far it had got; see levada.stores.highwater
    .levada/ledgers/<sync>/  segment files, written by the planner
    .levada/plans/<folder>/  plan files, written by the planner
    .levada/backups/         the database as it was before a migration

Everything is private to its owner (0700, 0600). May be used by several threads and processes.
What is not here: the tables' own rules, each of which has a module beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from levada.clock import Clock, SystemClock, isoformat
from levada.durable import locked, private_folder
from levada.errors import CorruptedError, StoreError
from levada.planner import Ledger
from levada.run import Phase, Status
from levada.store import Approval, AuditEntry, Hold, JournalEntry, Lease, RunRecord
from levada.stores.acceptance import Acceptance
from levada.stores.audit import START, Audit
from levada.stores.database import Database, translated
from levada.stores.facts import Facts
from levada.stores.highwater import LOCK, HighWater, Meta, read_mark
from levada.stores.journal import Holds, SqliteJournal, entries, opened
from levada.stores.leases import Leases
from levada.stores.ledgers import FOLDER as LEDGERS
from levada.stores.ledgers import Ledgers
from levada.stores.machine import THIS_MACHINE, Machine
from levada.stores.moments import Moments
from levada.stores.rows import ACCEPT_HINT
from levada.stores.runs import Runs
from levada.stores.upkeep import Upkeep
from levada.stores.vault import Vault

FILE = "state.sqlite"


class SqliteStore:
    """Fulfils `levada.store.Store`."""

    def __init__(
        self, folder: Path, database: Database, clock: Clock, machine: Machine, environment: Mapping[str, str]
    ) -> None:
        """Use `open`."""
        self._folder = folder
        self._database = database
        self._machine = machine
        self._me = machine.enter()
        self._meta = Meta(database, folder)
        self._leases = Leases(database, self._meta, clock, machine, self._me)
        self._runs = Runs(database, self._leases, clock)
        self._holds = Holds(database, clock, machine)
        self._moments = Moments(clock, machine)
        self._ledgers = Ledgers(database, self._meta, self._leases, self._runs, folder)
        self._facts = Facts(database, clock, machine)
        self._vault = Vault(database, self._meta, environment)
        self._audit = Audit(database, self._meta)
        self._upkeep = Upkeep(database, self._meta, self._leases, self._runs, self._ledgers, self._audit, clock, folder)
        self._clock = clock

    @staticmethod
    def open(
        folder: Path,
        clock: Clock | None = None,
        *,
        create: bool = True,
        check: bool = True,
        machine: Machine = THIS_MACHINE,
        environment: Mapping[str, str] | None = None,
    ) -> SqliteStore:
        """Open the store in `folder`; with `create`, make what is missing.

        Raises StoreError: `store.missing`; `store.newer` for the store of a newer Levada, which is left as it
        is; CorruptedError `store.rolled_back` and `store.high_water` if it is behind its high-water mark.
        `check=False` opens such a store all the same, to look at it or to accept it. `environment` is where
        the master key is looked for.
        """
        clock = clock or SystemClock()
        path = folder / FILE
        with translated(folder):
            present = path.exists() and path.stat().st_size > 0
            if not present and not create:
                raise StoreError(f"there is no store in {folder}", code="store.missing", hint="`levada run` makes one")
            if not present and check:
                _refuse_remains(folder)
            private_folder(folder)
            with locked(folder / LOCK):
                database = Database.open(path)
                try:
                    _found(database, Meta(database, folder), folder, clock)
                except BaseException:
                    database.close()
                    raise
        store = SqliteStore(folder, database, clock, machine, os.environ if environment is None else environment)
        try:
            if check:
                store._meta.compare()
                if database.migrated:
                    store._upkeep.refuse_damaged_rows()
                if read_mark(folder) is None:
                    # From here on a missing mark is a lost one, even after a crash in the first lease.
                    store._meta.raise_mark()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def folder(self) -> Path:
        return self._folder

    @property
    def identity(self) -> str:
        return self._meta.get("store_id")

    def close(self) -> None:
        """Give back what leases are still held, and close the database. May be called again."""
        with suppress(StoreError):  # a store in trouble is left like one whose process died
            self._leases.release_all()
        self._machine.leave(self._me)
        self._database.close()

    # -- leases

    def acquire(self, sync: str) -> Lease:
        return self._leases.acquire(sync)

    def holder(self, sync: str) -> str | None:
        return self._leases.holder(sync)

    def renew(self, lease: Lease) -> None:
        self._leases.renew(lease)

    def release(self, lease: Lease) -> None:
        self._leases.release(lease)

    # -- runs

    def create_run(self, lease: Lease, run_id: str, purpose: str) -> RunRecord:
        created = self._runs.create(lease, run_id, purpose)
        self._ledgers.tidy(lease.sync)
        return created

    def update_run(
        self,
        lease: Lease,
        run_id: str,
        *,
        phase: Phase,
        status: Status | None = None,
        plan_id: str | None = None,
        folder: str | None = None,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        """`status` is taken as given; of the others, None leaves what was there. `closed` closes for good."""
        self._runs.update(lease, run_id, phase=phase, status=status, plan_id=plan_id, folder=folder, result=result)

    def run(self, run_id: str) -> RunRecord:
        return self._runs.run(run_id)

    def open_run(self, sync: str) -> RunRecord | None:
        return self._runs.open_run(sync)

    def runs(self, sync: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        return self._runs.newest(sync, limit)

    def journal(self, lease: Lease, run_id: str) -> SqliteJournal:
        with self._database.read():
            self._leases.fence(lease)
            opened(self._runs, lease, run_id)
        return SqliteJournal(self._database, self._leases, self._holds, lease, run_id)

    def journal_entries(self, run_id: str) -> Iterable[JournalEntry]:
        return entries(self._database, run_id)

    # -- ledgers

    def ledger(self, sync: str) -> Ledger:
        return self._ledgers.ledger(sync)

    def ledger_folder(self, sync: str) -> Path:
        return self._ledgers.folder(sync)

    def commit(self, lease: Lease, run_id: str, ledger: Ledger, *, status: Status, result: Mapping[str, Any]) -> None:
        self._ledgers.commit(lease, run_id, ledger, status=status, result=result)

    def distrust(self, lease: Lease, ledger: Ledger) -> None:
        self._ledgers.distrust(lease, ledger)

    def rebuild(self, lease: Lease, sync: str) -> Ledger:
        return self._ledgers.rebuild(lease, sync)

    def accept_rollback(self, actor: str) -> Sequence[str]:
        acceptance = Acceptance(
            self._database, self._meta, self._leases, self._runs, self._ledgers, self._audit, self._machine, self._clock
        )
        done = acceptance.accept(self._folder)
        self.note(AuditEntry(isoformat(self._clock.now()), actor, "store.accept_rollback", "store", {"done": done}))
        return done

    # -- moments

    def moment(self) -> str:
        return self._moments.now()

    def seconds_since(self, moment: str) -> float:
        return self._moments.seconds_since(moment)

    # -- holds, approvals, marks

    def hold(self, sync: str) -> Hold | None:
        return self._holds.left(sync)

    def approve(self, approval: Approval) -> None:
        self._facts.approve(approval)

    def approval(self, plan_id: str) -> Approval | None:
        return self._facts.approval(plan_id)

    def remember(self, sync: str, name: str, value: str | None) -> None:
        self._facts.remember(sync, name, value)

    def recall(self, sync: str, name: str) -> str | None:
        return self._facts.recall(sync, name)

    # -- quotas and paces

    def use_quota(self, account: str, day: str, requests: int) -> int:
        return self._facts.use_quota(account, day, requests)

    def reserve(self, account: str, now: float, interval_seconds: float, permits: int) -> float:
        return self._facts.reserve(account, now, interval_seconds, permits)

    # -- secrets

    def set_secret(self, name: str, value: str) -> None:
        self._vault.set(name, value)

    def secret(self, name: str) -> str | None:
        return self._vault.get(name)

    def secret_names(self) -> Sequence[str]:
        return self._vault.names()

    def delete_secret(self, name: str) -> bool:
        return self._vault.delete(name)

    def rotate_master_key(self, new_key: str | None = None) -> str:
        return self._vault.rotate(new_key)

    # -- audit

    def note(self, entry: AuditEntry) -> None:
        self._audit.note(entry)

    def audit(self, limit: int = 100) -> Sequence[AuditEntry]:
        return self._audit.newest(limit)

    # -- upkeep

    def sweep(self, *, plans_older_than: datetime, keep: Collection[str] = ()) -> int:
        return self._upkeep.sweep(plans_older_than, keep)

    def verify(self) -> Sequence[str]:
        return self._upkeep.verify()


def _refuse_remains(folder: Path) -> None:
    """A folder with remains of a store but no database has lost it: a new, empty one would hide that."""
    remains = [folder / LEDGERS] if any((folder / LEDGERS).glob("*/*")) else []
    try:
        if read_mark(folder) is not None:
            remains.append(folder / "high-water")
    except CorruptedError:
        remains.append(folder / "high-water")
    if remains:
        raise CorruptedError(
            f"{folder / FILE} is missing or empty, though {remains[-1]} shows that there was a store",
            code="store.rolled_back",
            hint=f"put the file back; or {ACCEPT_HINT}",
        )


def _found(database: Database, meta: Meta, folder: Path, clock: Clock) -> None:
    """Give a new database its id. Beside the mark of a lost one it takes that one's, and goes on from there."""
    with database.read():
        if database.rows("store.meta_all"):
            return
    try:
        mark = read_mark(folder)
    except CorruptedError:
        mark = None
    mark = mark or HighWater(clock.new_id("store"), 0, 0)
    with database.write():
        meta.set("store_id", mark.store)
        meta.set("highest_epoch", str(mark.epoch))
        meta.set("commits", str(mark.commits))
        meta.set("created_at", isoformat(clock.now()))
        Audit(database, meta).set_head(0, START)
