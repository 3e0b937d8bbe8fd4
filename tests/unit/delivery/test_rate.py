"""The declared rate, in every window, as the destination sees it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from levada.delivery.wire import Outgoing
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
