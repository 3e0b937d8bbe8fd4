"""Small facts by key: what is remembered of syncs, approvals, and what was used of an account's limits."""

from __future__ import annotations

from dataclasses import astuple

from levada.store import WITHOUT_LEASE, Approval, Lease
from levada.stores.checksums import Row, sealed, sought
from levada.stores.database import Database
from levada.stores.leases import SqliteLeases
from levada.stores.machine import Machine

CLOCK_SLACK_SECONDS = 60.0
"""Processes read the clock before they reach the store; a time further back than this is another clock's."""


class SqliteMemory:
    """Fulfils `levada.store.Memory`."""

    def __init__(self, database: Database, leases: SqliteLeases) -> None:
        self._database = database
        self._leases = leases

    def recall(self, sync: str, name: str) -> str | None:
        with self._database.read():
            row = _found(self._database, "mark", sync, name)
        return None if row is None else str(row[2])

    def remember(self, lease: Lease, name: str, value: str | None) -> None:
        with self._database.write():
            self._leases.fence(lease)
            self._write(lease.sync, name, value)

    def note(self, sync: str, name: str, value: str | None) -> None:
        assert name in WITHOUT_LEASE, f"{name} is written under a lease"
        with self._database.write():
            self._write(sync, name, value)

    def _write(self, sync: str, name: str, value: str | None) -> None:
        if value is None:
            self._database.change("facts.mark_delete", (sync, name))
        else:
            self._database.change("facts.mark_write", sealed("mark", (sync, name, value)))


class SqliteApprovals:
    """Fulfils `levada.store.Approvals`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, approval: Approval) -> None:
        with self._database.write():
            self._database.change("facts.approval_write", sealed("approval", astuple(approval)))

    def get(self, plan_id: str) -> Approval | None:
        with self._database.read():
            row = _found(self._database, "approval", plan_id)
        return None if row is None else Approval(*row)


class SqliteLimits:
    """Fulfils `levada.store.Limits`."""

    def __init__(self, database: Database, machine: Machine) -> None:
        self._database = database
        self._machine = machine

    def use_quota(self, account: str, day: str, requests: int) -> int:
        with self._database.write():
            row = _found(self._database, "quota", account, day)
            used = requests + (row[2] if row else 0)
            self._database.change("facts.quota_write", sealed("quota", (account, day, used)))
        return int(used)

    def reserve(self, account: str, now: float, interval_seconds: float, permits: int) -> float:
        """See `Limits.reserve`: the arithmetic of `levada.limits.Pace`, over processes."""
        boot = self._machine.boot
        with self._database.write(durable=False):
            row = _found(self._database, "pace", account)
            next_at = seen_at = now
            if row is not None and self._machine.comparable(row[1]) and now >= row[3] - CLOCK_SLACK_SECONDS:
                next_at, seen_at = max(now, row[2]), max(now, row[3])
            values = (account, boot, float(next_at + interval_seconds * permits), float(seen_at))
            self._database.change("facts.pace_write", sealed("pace", values))
        return float(next_at - now)


def _found(database: Database, table: str, *key: str) -> Row | None:
    return sought(database, f"facts.{table}_", table, *key, what=f"{table} {key[0]!r}")
