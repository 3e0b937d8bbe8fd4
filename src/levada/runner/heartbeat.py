"""Keeps a sync's lease alive while it runs, and stops the run when another process has taken it over."""

from __future__ import annotations

import threading

from levada.errors import FencedError, StoreError
from levada.store import Lease, Store

BEAT_SECONDS = 5.0


class Heartbeat:
    """Use as a context manager around whatever a lease covers. `halt` is set if the lease is lost."""

    def __init__(self, store: Store, lease: Lease, halt: threading.Event) -> None:
        self._store = store
        self._lease = lease
        self._halt = halt
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{lease.sync}", daemon=True)
        self.lost: StoreError | None = None

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._done.wait(BEAT_SECONDS):
            try:
                self._store.renew(self._lease)
            except FencedError as error:
                self.lost = error
                self._halt.set()
                return
            except StoreError:
                # A busy or full store shows at the next journal write, which the run answers for.
                continue
