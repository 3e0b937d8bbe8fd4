"""Runs as rows: at most one that is not closed per sync, and the lease's row points to it.

The pointer is what tells an open run whose row is damaged from one that never was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from levada.clock import Clock, isoformat
from levada.errors import ConfigError, CorruptedError, StoreError
from levada.nearest import nearest
from levada.run import OPEN_PHASES, Phase, Status
from levada.store import Lease, RunRecord
from levada.stores.checksums import REBUILD_HINT, Row, damaged, sealed, verified
from levada.stores.database import Database
from levada.stores.leases import Held, SqliteLeases

if TYPE_CHECKING:
    from levada.stores.ledgers import SqliteLedgers

_NEAREST_AMONG_MAX = 1_000
INTERRUPTED = "interrupted while the model was being read; nothing was sent"


@dataclass(frozen=True, slots=True)
class Numbered:
    """A run and its row's number, which counts up: order does not depend on clocks."""

    number: int
    run: RunRecord


class RunRows:
    """The rows of runs, for the other parts of this store. Each method wants a transaction around it."""

    def __init__(self, database: Database, leases: SqliteLeases, clock: Clock) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock

    def find(self, run_id: str) -> Numbered | None:
        row = self._database.row("runs.read", run_id)
        return None if row is None else numbered(row)

    def expected(self, sync: str, run_id: str) -> Numbered:
        """A run that must be there. Raises CorruptedError if it is not."""
        found = self.find(run_id)
        if found is None or found.run.sync != sync:
            raise damaged(f"run {run_id} of sync {sync}", REBUILD_HINT.format(sync=sync))
        return found

    def under_way(self, held: Held) -> Numbered | None:
        """The run that is not closed, by the lease's pointer."""
        if not held.run_id:
            return None
        return self.expected(held.sync, held.run_id)

    def save(self, number: int, run: RunRecord) -> None:
        values = _values(number, run)
        *_, checksum = sealed("run", values)
        _, _, _, phase, status, _, plan_id, epoch, _, folder, finished_at, result = values
        changed = self._database.change(
            "runs.update", (phase, status, plan_id, epoch, folder, finished_at, result, checksum, number)
        )
        assert changed == 1, run

    def close(self, held: Held, found: Numbered, status: Status, result: Mapping[str, Any] | None) -> None:
        """Close the run, and take the lease's pointer off it."""
        run = replace(
            found.run,
            phase="closed",
            status=status,
            epoch=held.epoch,
            finished_at=isoformat(self._clock.now()),
            result=found.run.result if result is None else result,
        )
        self.save(found.number, run)
        self._leases.write(replace(held, run_id=""))


class SqliteRuns:
    """Fulfils `levada.store.Runs`."""

    def __init__(
        self, database: Database, rows: RunRows, leases: SqliteLeases, ledgers: SqliteLedgers, clock: Clock
    ) -> None:
        self._database = database
        self._rows = rows
        self._leases = leases
        self._ledgers = ledgers
        self._clock = clock

    def create(self, lease: Lease, run_id: str, purpose: str) -> RunRecord:
        """See `Runs.create`. A run that ended while reading is closed as failed: it has sent nothing."""
        with self._database.write():
            held = self._leases.fence(lease)
            left = self._rows.under_way(held)
            if left is not None and left.run.phase in OPEN_PHASES:
                raise StoreError(
                    f"run {left.run.run_id} of sync {lease.sync} is still open",
                    code="store.run_open",
                    hint=f"`levada run {lease.sync}` resumes it first",
                )
            if left is not None:
                self._rows.close(held, left, "failed", {"status": "failed", "message": INTERRUPTED})
            number = self._database.rows("runs.next_number")[0][0]
            run = RunRecord(
                run_id, lease.sync, "reading", None, isoformat(self._clock.now()), epoch=lease.epoch, purpose=purpose
            )
            self._database.change("runs.insert", sealed("run", _values(number, run)))
            self._database.change("journal.head_write", sealed("journal_head", (run_id, 0)))
            self._leases.write(replace(held, run_id=run_id))
        self._ledgers.tidy(lease.sync)
        return run

    def update(
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
        """See `Runs.update`."""
        with self._database.write():
            held = self._leases.fence(lease)
            found = self._rows.expected(lease.sync, run_id)
            assert found.run.phase != "closed", f"{run_id} is closed"
            run = replace(
                found.run,
                phase=phase,
                status=status,
                epoch=lease.epoch,
                plan_id=found.run.plan_id if plan_id is None else plan_id,
                folder=found.run.folder if folder is None else folder,
                result=found.run.result if result is None else result,
            )
            if phase == "closed":
                assert status is not None, "a closed run has a status"
                self._rows.close(held, replace(found, run=run), status, None)
            else:
                self._rows.save(found.number, run)

    def get(self, run_id: str) -> RunRecord:
        """See `Runs.get`."""
        with self._database.read():
            found = self._rows.find(run_id)
            if found is not None:
                return found.run
            matches = [row[0] for row in self._database.rows("runs.by_prefix", run_id)] if run_id else []
            if len(matches) == 1:
                found = self._rows.find(matches[0])
                if found is None:
                    raise damaged(f"run {matches[0]}")
                return found.run
            ids = [row[0] for row in self._database.rows("runs.ids", _NEAREST_AMONG_MAX)]
        if matches:
            raise ConfigError(
                f"{run_id!r} is the beginning of several runs: {', '.join(matches)}",
                code="run.ambiguous",
                hint="write more of its id",
            )
        meant = nearest(run_id, ids, likeness=0.5)
        hint = f"did you mean {meant}?" if meant else "`levada runs` lists them"
        raise ConfigError(f"there is no run {run_id!r}", code="run.unknown", hint=hint)

    def open_run(self, sync: str) -> RunRecord | None:
        with self._database.read():
            found = self._rows.under_way(self._leases.held(sync))
        return found.run if found is not None and found.run.phase in OPEN_PHASES else None

    def newest(self, sync: str | None = None, limit: int = 50) -> Sequence[RunRecord]:
        with self._database.read():
            if sync is None:
                rows = self._database.rows("runs.newest", limit)
            else:
                rows = self._database.rows("runs.newest_of_sync", sync, limit)
            return [numbered(row).run for row in rows]


def numbered(row: Row) -> Numbered:
    """A run from its row. Raises CorruptedError if the checksum does not hold."""
    sync = row[2]
    values = verified("run", row, what=f"run {row[1]} of sync {sync}", hint=REBUILD_HINT.format(sync=sync))
    number, run_id, sync, phase, status, created_at, plan_id, epoch, purpose, folder, finished_at, result = values
    run = RunRecord(
        run_id=run_id,
        sync=sync,
        phase=phase,
        status=status,
        created_at=created_at,
        plan_id=plan_id,
        epoch=epoch,
        purpose=purpose,
        folder=folder,
        finished_at=finished_at,
        result=None if result is None else json.loads(result),
    )
    return Numbered(number, run)


def _values(number: int, run: RunRecord) -> Row:
    result = None if run.result is None else json.dumps(run.result, separators=(",", ":"), default=str)
    return (
        number,
        run.run_id,
        run.sync,
        run.phase,
        run.status,
        run.created_at,
        run.plan_id,
        run.epoch,
        run.purpose,
        run.folder,
        run.finished_at,
        result,
    )


def lost(run_id: str, what: str) -> CorruptedError:
    """A run's journal is not whole."""
    return CorruptedError(
        f"{what} of run {run_id} is not what was written",
        code="store.journal_corrupted",
        hint="what the destination took of it is no longer known: `levada resync SYNC --rebuild` closes the run and "
        "compares everything anew",
    )
