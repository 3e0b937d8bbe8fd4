"""Keeps a sync's lease alive while it runs, and stops the run when another process has taken it over."""

from __future__ import annotations

import threading

from levada.clock import Clock
from levada.errors import FencedError, StoreError
from levada.store import LEASE_SECONDS, Lease, Leases

BEAT_SECONDS = 5.0
STALE_SECONDS = LEASE_SECONDS / 2
"""After so long without a beat the lease is asked for before anything is sent: this process was stopped or stalled."""


class Heartbeat:
    """Use as a context manager around whatever a lease covers. `halt` is set if the lease is lost."""

    def __init__(self, leases: Leases, lease: Lease, halt: threading.Event, clock: Clock) -> None:
        self._leases = leases
        self._lease = lease
        self._halt = halt
        self._clock = clock
        self._renewed_at = clock.monotonic()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"lease-{lease.sync}", daemon=True)
        self.lost: StoreError | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def holds(self) -> bool:
        """Is the lease still ours? Asked right before a request leaves.

        A process that was stopped for longer than the lease lasts wakes up between two of its instructions, and
        its thread that beats is no faster than the one that sends. So whoever sends looks at the time itself.
        """
        if self.lost is None and self._clock.monotonic() - self._renewed_at > STALE_SECONDS:
            self.beat()
        return self.lost is None

    def beat(self) -> None:
        """One sign of life. A busy or full store shows at the next journal write, which the run answers for."""
        asked_at = self._clock.monotonic()
        try:
            self._leases.renew(self._lease)
            self._renewed_at = asked_at
        except FencedError as error:
            self.lost = error
            self._halt.set()
        except StoreError:
            return

    def _run(self) -> None:
        while self.lost is None and not self._done.wait(BEAT_SECONDS):
            self.beat()
