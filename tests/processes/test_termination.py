"""6.43: a run that is asked to end (SIGTERM) at any step ends in time and leaves nothing in doubt."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

import claims
from processes.command import Commands, Strike
from processes.destination import Destination
from processes.matrix import Matrix
from processes.worlds import Letter, World

END_SECONDS_MAX = 10.0
"""What a container is given to end. It is the promise itself, not a measure of speed."""


@pytest.mark.parametrize("letter", ["T", "A", "C", "D once"] if claims.full() else ["T", "D once"])
def test_asked_to_end_at_any_step_it_ends_in_time_and_nothing_is_in_doubt(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path
) -> None:
    """What was sent was answered and is remembered: not a record is sent again, and none stays unknown."""
    matrix = Matrix(World(letter, tmp_path / "project", server), forge, tmp_path, doubts=False)
    start = matrix.begin("change")
    steps = matrix.steps_of(start)
    chance = random.Random(f"terminated {letter}")
    chosen = steps if claims.full() else chance.sample([step for step in steps if step.where != "tcp"], 1)
    requests = [step for step in steps if step.where == "tcp"]
    if requests and not claims.full():
        chosen = [*chosen, chance.choice(requests)]
    for step in chosen:
        began = time.monotonic()
        matrix.one(start, [Strike(step.number, after=True, signal=signal.SIGTERM)], edit=False)
        assert time.monotonic() - began < END_SECONDS_MAX, "three processes together took longer than one may"
    assert not matrix.bad, "\n".join(matrix.bad)
    assert matrix.again == 0
