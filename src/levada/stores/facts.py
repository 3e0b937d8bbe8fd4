"""Small facts by key: approvals, marks of syncs, quotas and sending times of accounts.

None of them needs a lease: an approval or a quota belongs to no run.
"""

from __future__ import annotations

from levada.clock import Clock
from levada.store import Approval
from levada.stores.database import Database
from levada.stores.machine import Machine
from levada.stores.rows import Row, sealed, sought

CLOCK_SLACK_SECONDS = 60.0
"""Processes read the clock before they reach the store; a time further back than this is another clock's."""


class Facts:
    def __init__(self, database: Database, clock: Clock, machine: Machine) -> None:
        self._database = database
        self._clock = clock
        self._machine = machine

    def approve(self, approval: Approval) -> None:
        values = (
            approval.plan_id,
            approval.sync,
            approval.approved_by,
            approval.approved_at,
            approval.expires_at,
        )
        with self._database.write():
            self._database.change("facts.approval_write", sealed("approval", values))

    def approval(self, plan_id: str) -> Approval | None:
        row = self._lookup("approval", plan_id)
        return None if row is None else Approval(*row)

    def remember(self, sync: str, name: str, value: str | None) -> None:
        with self._database.write():
            if value is None:
                self._database.change("facts.mark_delete", (sync, name))
            else:
                self._database.change("facts.mark_write", sealed("mark", (sync, name, value)))

    def recall(self, sync: str, name: str) -> str | None:
        row = self._lookup("mark", sync, name)
        return None if row is None else str(row[2])

    def use_quota(self, account: str, day: str, requests: int) -> int:
        with self._database.write():
            row = self._found("quota", account, day)
            used = requests + (row[2] if row else 0)
            self._database.change("facts.quota_write", sealed("quota", (account, day, used)))
        return int(used)

    def reserve(self, account: str, now: float, interval_seconds: float, permits: int) -> float:
        """See `Store.reserve`: the arithmetic of `levada.limits.Pace`, over processes."""
        boot = self._machine.boot
        with self._database.write(durable=False):
            row = self._found("pace", account)
            next_at = seen_at = now
            if row is not None and self._machine.comparable(row[1]) and now >= row[3] - CLOCK_SLACK_SECONDS:
                next_at, seen_at = max(now, row[2]), max(now, row[3])
            values = (account, boot, float(next_at + interval_seconds * permits), float(seen_at))
            self._database.change("facts.pace_write", sealed("pace", values))
        return float(next_at - now)

    def _lookup(self, table: str, *key: str) -> Row | None:
        with self._database.read():
            return self._found(table, *key)

    def _found(self, table: str, *key: str) -> Row | None:
        return sought(self._database, f"facts.{table}_", table, *key, what=f"{table} {key[0]!r}")
