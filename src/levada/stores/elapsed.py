"""Moments that outlive a process, and how long ago they were, told so that no time is ever thought shorter than it was.

The monotonic clock of the same boot decides. It may stand still while a machine sleeps, so the wall clock is looked
at, too, and the longer of the two counts. Of another boot, or with a wall clock that was set back, nothing is known.
"""

from __future__ import annotations

import math

from levada.clock import Clock
from levada.stores.machine import Machine

SET_BACK_SECONDS = 60.0
"""Clocks are corrected by less than this all the time."""


class MachineMoments:
    """Fulfils `levada.store.Moments` by the clocks of one machine."""

    def __init__(self, clock: Clock, machine: Machine) -> None:
        self._clock = clock
        self._machine = machine

    def now(self) -> str:
        """This moment: wall clock, monotonic clock and boot. Never later than it is, so that no time is negative."""
        return f"{_down(self._clock.now().timestamp())}/{_down(self._clock.monotonic())}/{self._machine.boot}"

    def seconds_since(self, moment: str) -> float:
        """At least so many seconds have passed; infinite where that cannot be told."""
        try:
            wall, monotonic, boot = moment.split("/", 2)
            by_wall = self._clock.now().timestamp() - float(wall)
            by_monotonic = self._clock.monotonic() - float(monotonic)
        except ValueError:
            return math.inf
        turned_back = by_monotonic < 0 or by_wall < by_monotonic - SET_BACK_SECONDS
        if turned_back or not self._machine.comparable(boot):
            return math.inf
        return max(by_wall, by_monotonic)


def _down(seconds: float) -> str:
    return f"{math.floor(seconds * 1000) / 1000:.3f}"
