"""A clock that moves only when it is told to."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class FakeClock:
    """Fulfils `levada.clock.Clock`. Ids count up; chance is always one half."""

    def __init__(self, start: datetime = START) -> None:
        self._start = start
        self._seconds = 1_000.0
        self._ids = 0
        self._lock = threading.Lock()

    def advance(self, seconds: float) -> None:
        """Let time pass, for the wall clock and the monotonic one alike."""
        self._seconds += seconds

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._seconds - 1_000.0)

    def monotonic(self) -> float:
        return self._seconds

    def random(self) -> float:
        return 0.5

    def new_id(self, prefix: str) -> str:
        with self._lock:
            self._ids += 1
            return f"{prefix}_{self._ids:018x}"
