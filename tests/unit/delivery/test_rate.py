"""The declared rate, in every window, as the destination sees it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from levada.addresses import AddressPolicy
from levada.clock import SystemClock
from levada.delivery.wire import HttpWire, Outgoing
from unit.delivery.scene import Answer, Scene, ok

RATE = 50.0
WINDOW_SECONDS = 0.2


def test_a_process_that_was_held_up_does_not_make_up_for_it_in_a_burst(tmp_path: Path) -> None:
    """Turns that passed while the process stood still are lost: no window holds more requests than declared."""
    times: list[float] = []

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        times.append(time.monotonic())
        if len(times) == 5:
            time.sleep(0.4)  # the whole process stands still
        return ok()

    report = Scene(tmp_path, script, added=40, batch=1, lanes=16, rate=RATE).deliver()
    assert report.tally.delivered_total == 40
    fullest = max(sum(start <= each < start + WINDOW_SECONDS for each in times) for start in times)
    assert fullest <= RATE * WINDOW_SECONDS + 1


def test_the_network_is_made_ready_before_the_first_turn_is_taken(tmp_path: Path) -> None:
    """Loading what speaks HTTP takes longer than a turn; no turn may pass meanwhile."""
    opened_at: list[float] = []
    turns: list[float] = []

    class Wire(HttpWire):
        def open(self) -> Any:
            opened_at.append(time.monotonic())
            return super().open()

    class Clock(SystemClock):
        def monotonic(self) -> float:
            turns.append(time.monotonic())
            return turns[-1]

    scene = Scene(tmp_path, lambda o, r: ok(), added=1, rate=RATE)
    scene.wire = Wire(AddressPolicy(private=True))  # type: ignore[assignment]
    scene.clock = Clock()
    scene.deliver()
    assert opened_at[0] < turns[0]
