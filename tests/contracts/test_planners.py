"""Every planner against the one contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.planner_bench import PlannerBench
from contracts.planners import CHECKS, name_of
from levada.planners.local import LocalPlanner


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_the_local_planner_keeps_the_contract(check: Callable[[PlannerBench], None], tmp_path: Path) -> None:
    """Each check's docstring says the promise."""
    check(PlannerBench(LocalPlanner(tmp_path / "spool", memory="128MB"), tmp_path))
