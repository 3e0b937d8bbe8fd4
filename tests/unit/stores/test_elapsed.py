"""How long ago a moment was: never less than it was, and infinite where that cannot be told."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from levada.clock import SystemClock
from levada.stores.elapsed import MachineMoments
from levada.stores.machine import Machine


class Clock(SystemClock):
    def __init__(self, wall: float, monotonic: float) -> None:
        self._wall, self._monotonic = wall, monotonic

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self._wall)

    def monotonic(self) -> float:
        return self._monotonic


class Booted(Machine):
    def __init__(self, boot: str) -> None:
        super().__init__()
        self._boot = boot

    @property
    def boot(self) -> str:
        return self._boot


@pytest.mark.parametrize(
    ("wall", "monotonic", "boot", "seconds"),
    [
        (100.0, 1_100.0, "one", 100.0),
        (100.0, 1_010.0, "one", 100.0),  # the machine slept
        (-30.0, 1_010.0, "one", 10.0),  # the wall clock was corrected a little
        (-3_600.0, 1_010.0, "one", math.inf),  # it was set back
        (100.0, 900.0, "one", math.inf),
        (100.0, 1_100.0, "two", math.inf),  # another boot
        (100.0, 1_100.0, "", math.inf),
    ],
)
def test_no_time_is_thought_shorter_than_it_was(wall: float, monotonic: float, boot: str, seconds: float) -> None:
    moment = MachineMoments(Clock(0.0, 1_000.0), Booted("one")).now()
    assert MachineMoments(Clock(wall, monotonic), Booted(boot)).seconds_since(moment) == pytest.approx(seconds)


def test_a_moment_of_just_now_is_not_in_the_future() -> None:
    """Moments are written in milliseconds, rounded down: it is not for the written digits that nothing is known."""
    just = MachineMoments(Clock(0.0006, 1_000.0006), Booted("one"))
    assert just.seconds_since(just.now()) == pytest.approx(0.0006, abs=1e-6)


@pytest.mark.parametrize("text", ["", "x", "1/2", "a/b/one"])
def test_what_is_no_moment_is_long_ago(text: str) -> None:
    assert MachineMoments(Clock(0.0, 1_000.0), Booted("one")).seconds_since(text) == math.inf
