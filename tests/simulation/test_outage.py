"""A tool that is away for three days while its model goes on changing."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import pytest

from simulation.play import campaign, play
from simulation.schedule import Edit, Schedule, Stage

HOURS = 72
LANES = 4
PROBES_MAX = 12
"""Requests of one run that finds the tool away: one for each lane, and then ever more rarely one for all."""


def changed(version: int) -> tuple[Edit, ...]:
    return tuple(Edit(key, "x" * (1 + version % 5), version) for key in range(1, 11))


@pytest.mark.parametrize("letter", ["A", "D"])
def test_three_days_without_the_tool_cost_a_few_probes_an_hour(letter: Literal["A", "D"]) -> None:
    """GUARANTEES 6.22: it breaks off in the middle of a run; hourly runs probe; what was never sent gives way to the
    newest model; then all is in order, which the oracle judges."""
    away = tuple((number, "no_connection") for number in range(2, 200))
    stages = [
        Stage(),
        Stage(edits=changed(1), faults=away, wait_seconds=3_600.0),
        *(
            Stage(edits=changed(hour) if hour % 12 == 0 else (), weather="down", wait_seconds=3_600.0)
            for hour in range(2, HOURS)
        ),
        Stage(wait_seconds=3_600.0),
    ]
    schedule = Schedule(7, letter, 2, LANES, "at_least_once", None, changed(0), tuple(stages))
    with campaign():
        played = play(schedule)
    assert played.findings == []
    assert played.evidence is not None
    asked = Counter(line["stage"] for line in played.evidence.requests)
    hourly = [asked[hour] for hour in range(2, HOURS)]
    assert min(hourly) >= 1
    assert max(hourly) <= PROBES_MAX
    states = [report["status"] for report in played.evidence.reports if report["stage"] in range(1, HOURS)]
    assert set(states) == {"paused"}
    accepted = {line["values"].get("score") for line in played.evidence.accepted if line["values"]}
    assert accepted == {0, 1, 60}
