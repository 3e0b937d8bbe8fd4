"""How long a tool that was never reached is waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from levada.delivery.account import Patience
from levada.delivery.wire import NotSent, Outgoing
from levada.retry import RetryPolicy
from unit.delivery.scene import Answer, Scene, ok

LANES = 8
UP_AGAIN_AFTER = 12


def test_a_tool_that_never_answered_is_given_up_soon_though_its_circuit_is_open(tmp_path: Path) -> None:
    """The patience of a first contact holds for all who wait for the circuit, not that of an outage in mid-run."""
    tried = 0

    def script(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
        nonlocal tried
        tried += 1
        return NotSent("connection refused") if tried < UP_AGAIN_AFTER else ok()

    patience = Patience(RetryPolicy(base_seconds=0.1), contact_seconds=0.3, outage_seconds=3600)
    report = Scene(tmp_path, script, added=40, batch=1, lanes=LANES, patience=patience).deliver()
    assert (report.pause, report.untouched) == ("outage", True)
    assert tried < UP_AGAIN_AFTER
