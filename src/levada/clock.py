"""Time and chance, the only place that Levada takes either from.

Waits and deadlines use `monotonic`; `now` is for people and file names and decides nothing. A test or a
simulation passes another `Clock`. What is not here: waiting itself, which belongs to whoever waits
(`asyncio.sleep` in delivery runs on the event loop's own clock).
"""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never run backwards; only differences mean something."""
        ...

    def random(self) -> float:
        """A number in [0, 1), for jitter. Never for secrets."""
        ...

    def new_id(self, prefix: str) -> str:
        """A fresh identifier that sorts by time of creation: prefix, underscore, 18 characters."""
        ...


class SystemClock:
    """The machine's own time and randomness."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def random(self) -> float:
        return random.random()

    def new_id(self, prefix: str) -> str:
        milliseconds = time.time_ns() // 1_000_000
        return f"{prefix}_{milliseconds:010x}".ljust(len(prefix) + 11, "0") + secrets.token_hex(4)


def isoformat(moment: datetime) -> str:
    """An aware moment as UTC text with whole milliseconds and a Z: `2026-11-20T11:59:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
