"""How much may be sent, and how fast: declared limits, and the arithmetic that keeps them.

Pure: the caller brings the time. Which process shares a limit with which other is delivery's and the
store's matter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import Field

from levada.model import Declaration


class Limits(Declaration):
    """An account's limits, shared by all syncs that send to it."""

    requests_per_second: float | None = Field(default=None, gt=0)
    """Requests a second; fractions mean slower than one a second."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests a minute."""
    requests_per_day: int | None = Field(default=None, gt=0)
    """The daily quota; the run pauses when it is used up and resumes the next day (UTC)."""
    concurrent_requests: int = Field(default=8, gt=0, le=256)
    """Requests under way at once."""
    records_per_request: int = Field(default=1, gt=0, le=1_000_000)
    """The most records in one request."""
    bytes_per_request: int = Field(default=4_000_000, gt=0)
    """The most bytes in one request body."""

    @property
    def seconds_per_request(self) -> float:
        """The distance that two requests keep; 0 without a declared rate.

        A little more than the rate asks, since requests do not all travel equally fast: what is sent evenly
        must not arrive as one too many in a window.
        """
        found = [0.0]
        if self.requests_per_second:
            found.append(1 / self.requests_per_second)
        if self.requests_per_minute:
            found.append(60 / self.requests_per_minute)
        return max(found) * RATE_MARGIN


RATE_MARGIN = 1.04
INTERVAL_MAX_SECONDS = 5.0
"""The slowest pace that is taken up without being told to (`Retry-After` is obeyed on its own)."""


@dataclass(slots=True)
class Pace:
    """Evenly spaced permits: no window of any length holds more than `length / interval + 1` of them.

    `interval` grows when the destination says 429 (`slow_down`) and comes back step by step
    (`speed_up`), never below what is declared.
    """

    declared_seconds: float
    interval_seconds: float = field(init=False)
    next_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.interval_seconds = self.declared_seconds

    def reserve(self, now: float) -> float:
        """Take the next permit; returns how many seconds to wait before using it."""
        at = max(now, self.next_at)
        self.next_at = at + self.interval_seconds
        return at - now

    def block_until(self, moment: float) -> None:
        """No permit before `moment`."""
        self.next_at = max(self.next_at, moment)

    def slow_down(self, floor_seconds: float = 0.01) -> None:
        """After a 429: half as slow again. With `speed_up` after every good answer, a destination that refuses
        every ninth request keeps its pace, one that refuses more often gets a slower one."""
        slowest = max(INTERVAL_MAX_SECONDS, self.declared_seconds)
        self.interval_seconds = min(slowest, max(self.interval_seconds * 1.5, floor_seconds))

    def speed_up(self) -> None:
        """After a good answer: a twentieth faster, down to what is declared."""
        eased = self.interval_seconds * 0.95
        self.interval_seconds = self.declared_seconds if eased < max(self.declared_seconds, 0.001) else eased
