"""The store in one SQLite database inside the project's state folder, for one machine.

    .levada/state.sqlite     the database (WAL, synchronous=FULL)
    .levada/high-water       how far it had got; see levada.stores.highwater
    .levada/backups/         the database as it was before a migration

and the files of plans and ledgers: see levada.stores.snapshots.

Everything is private to its owner (0700, 0600). May be used by several threads and processes.
What is not here: the tables' own rules, each of which has a module beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from levada.clock import Clock, SystemClock, isoformat
from levada.durable import locked, private_folder
from levada.errors import CorruptedError, StoreError
from levada.stores.audit import START, SqliteAudit
from levada.stores.checksums import ACCEPT_HINT
from levada.stores.database import Database, translated
from levada.stores.elapsed import MachineMoments
from levada.stores.facts import SqliteApprovals, SqliteLimits, SqliteMemory
from levada.stores.highwater import LOCK, HighWater, Meta, read_mark
from levada.stores.journal import Holds, SqliteJournals
from levada.stores.leases import SqliteLeases
from levada.stores.ledgers import SqliteLedgers
from levada.stores.machine import THIS_MACHINE, Machine
from levada.stores.runs import RunRows, SqliteRuns
from levada.stores.snapshots import LEDGERS, LocalSnapshots
from levada.stores.upkeep import SqliteUpkeep
from levada.stores.vault import SqliteVault

FILE = "state.sqlite"


class SqliteStore:
    """Fulfils `levada.store.Store`."""

    def __init__(
        self, folder: Path, database: Database, clock: Clock, machine: Machine, environment: Mapping[str, str]
    ) -> None:
        """Use `open`."""
        self.folder = folder
        self._database = database
        self._machine = machine
        self._me = machine.enter()
        self._meta = Meta(database, folder)
        self.leases = leases = SqliteLeases(database, self._meta, clock, machine, self._me)
        rows = RunRows(database, leases, clock)
        self.snapshots = LocalSnapshots(folder)
        self.ledgers = SqliteLedgers(database, self._meta, leases, rows, self.snapshots)
        self.runs = SqliteRuns(database, rows, leases, self.ledgers, clock)
        self.journals = SqliteJournals(database, leases, rows, Holds(database, clock, machine))
        self.memory = SqliteMemory(database, leases)
        self.approvals = SqliteApprovals(database)
        self.limits = SqliteLimits(database, machine)
        self.moments = MachineMoments(clock, machine)
        self.vault = SqliteVault(database, self._meta, environment)
        self.audit = SqliteAudit(database, self._meta)
        self.upkeep = SqliteUpkeep(
            database, self._meta, leases, rows, self.ledgers, self.audit, clock, machine, self.snapshots, folder
        )

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
            if not present and check:
                _refuse_remains(folder)
            if not present and not create:
                raise StoreError(f"there is no store in {folder}", code="store.missing", hint="`levada run` makes one")
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
                    store.upkeep.refuse_damaged_rows()
                if read_mark(folder) is None:
                    # From here on a missing mark is a lost one, even after a crash in the first lease.
                    store._meta.raise_mark()
        except BaseException:
            store.close()
            raise
        return store

    @property
    def identity(self) -> str:
        return self._meta.get("store_id")

    def close(self) -> None:
        """Give back what leases are still held, and close the database. May be called again."""
        with suppress(StoreError):  # a store in trouble is left like one whose process died
            self.leases.release_all()
        self._machine.leave(self._me)
        self._database.close()


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
        SqliteAudit(database, meta).set_head(0, START)
