"""Leases: one process at a time may write for a sync, and one that was overtaken cannot write any more.

Safety comes from the epoch, which every write compares in its own transaction. Time decides only when a
silent owner is given up: by the monotonic clock within one boot of the machine, otherwise by watching its
heartbeat stand still. The wall clock decides nothing (E12).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from levada.clock import Clock
from levada.errors import BusyError, FencedError
from levada.store import HEARTBEAT_SECONDS, LEASE_SECONDS, Lease
from levada.stores.checksums import sealed, sought, verified
from levada.stores.database import Database
from levada.stores.highwater import Meta
from levada.stores.machine import Machine, Owner

_WATCH_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Held:
    """A row of the table: the lease as it stands. `run_id` is the run under way or left open."""

    sync: str
    epoch: int = 0
    owner: str = ""
    beats: int = 0
    beat_at: float = 0.0
    run_id: str = ""


class SqliteLeases:
    """Fulfils `levada.store.Leases`; what else it has is for the other parts of this store."""

    def __init__(self, database: Database, meta: Meta, clock: Clock, machine: Machine, me: Owner) -> None:
        self._database = database
        self._meta = meta
        self._clock = clock
        self._machine = machine
        self._me = me

    # -- rows; each wants a transaction around it

    def held(self, sync: str) -> Held:
        row = sought(self._database, "leases.", "lease", sync, what=_words(sync))
        return Held(sync) if row is None else Held(*row)

    def all(self) -> list[Held]:
        rows = self._database.rows("leases.all")
        return [Held(*verified("lease", row, what=_words(row[0]))) for row in rows]

    def write(self, held: Held) -> None:
        values = (held.sync, held.epoch, held.owner, held.beats, float(held.beat_at), held.run_id)
        self._database.change("leases.write", sealed("lease", values))

    def fence(self, lease: Lease) -> Held:
        """The lease's row, if it still is this one. Raises FencedError otherwise."""
        held = self.held(lease.sync)
        if held.epoch != lease.epoch or held.owner != lease.owner:
            raise FencedError(
                f"sync {lease.sync} was taken over: this process held epoch {lease.epoch}, now it is {held.epoch}",
                hint="nothing was written; the process that took over finishes the run",
            )
        return held

    # -- verbs

    def acquire(self, sync: str) -> Lease:
        """See `Leases.acquire`. Waits up to LEASE_SECONDS only for an owner on another machine or boot."""
        lease, held = self._attempt(sync, stale=None)
        if lease is None and self._to_be_watched(held):
            if not self._stands_still(held):
                raise self._busy(held)
            lease, held = self._attempt(sync, stale=held)
        if lease is None:
            raise self._busy(held)
        self._meta.raise_mark()
        return lease

    def holder(self, sync: str) -> str | None:
        """See `Leases.holder`."""
        with self._database.read():
            held = self.held(sync)
        if not held.owner or self._given_up(held):
            return None
        return str(Owner.from_text(held.owner))

    def renew(self, lease: Lease) -> None:
        with self._database.write(durable=False):
            held = self.fence(lease)
            self.write(replace(held, beats=held.beats + 1, beat_at=self._clock.monotonic()))

    def release(self, lease: Lease) -> None:
        with self._database.write():
            self.write(replace(self.fence(lease), owner=""))

    def release_all(self) -> None:
        """Give back whatever this store still holds."""
        me = self._me.as_text()
        with self._database.read():
            mine = [held for held in self.all() if held.owner == me]
        for held in mine:
            self.release(Lease(held.sync, held.epoch, me))

    def _attempt(self, sync: str, stale: Held | None) -> tuple[Lease | None, Held]:
        """Take the lease if it is free, its owner is gone or silent for too long, or it still is `stale`."""
        with self._database.write():
            held = self.held(sync)
            if held.owner and held != stale and not self._given_up(held):
                return None, held
            epoch = self._meta.next("highest_epoch")
            owner = self._me.as_text()
            self.write(Held(sync, epoch, owner, 0, self._clock.monotonic(), held.run_id))
            return Lease(sync, epoch, owner), held

    def _given_up(self, held: Held) -> bool:
        owner = Owner.from_text(held.owner)
        if self._machine.gone(owner):
            return True
        if not self._machine.comparable(owner.boot):
            return False
        return self._clock.monotonic() - held.beat_at > LEASE_SECONDS

    def _to_be_watched(self, held: Held) -> bool:
        return not self._machine.comparable(Owner.from_text(held.owner).boot)

    def _stands_still(self, held: Held) -> bool:
        """Watch the owner's heartbeat for LEASE_SECONDS: did nothing of it move?"""
        for _ in range(int(LEASE_SECONDS / _WATCH_POLL_SECONDS)):
            self._machine.wait(_WATCH_POLL_SECONDS)
            with self._database.read():
                now = self.held(held.sync)
            if now != held:
                return not now.owner
        return True

    def _busy(self, held: Held) -> BusyError:
        owner = Owner.from_text(held.owner)
        run = f" in run {held.run_id}" if held.run_id else ""
        return BusyError(
            f"sync {held.sync} is being run by {owner}{run}",
            run_id=held.run_id or None,
            hint="wait for it to end, or let the command wait (`--wait`); a process that hangs is given up "
            f"{LEASE_SECONDS:.0f} s after its last sign of life (it gives one every {HEARTBEAT_SECONDS:.0f} s)",
        )


def _words(sync: str) -> str:
    return f"the lease of sync {sync!r}"
