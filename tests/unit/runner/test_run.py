"""What a run leaves behind, and for how long."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from levada.project.scaffold import EXAMPLE_SYNC, scaffold
from levada.runner.project import Project
from levada.testing.clock import FakeClock


def test_details_of_old_runs_are_deleted_and_the_ledger_stays(tmp_path: Path) -> None:
    """Past the retention a run's plan is gone; the run is still listed, and nothing is sent again."""
    scaffold(tmp_path, "acme")
    clock = FakeClock()
    with Project.open(tmp_path, clock=clock) as project:
        first = project.run(EXAMPLE_SYNC)
        assert first.status == "succeeded"
        assert project.world.store.runs.get(first.run_id).folder
        clock.advance(timedelta(days=31).total_seconds())
        later = project.run(EXAMPLE_SYNC)
        assert (later.counts.operations, later.tally.requests) == (0, 0)
        record = project.world.store.runs.get(first.run_id)
        assert (record.folder, record.status) == ("", "succeeded")
        assert not list((tmp_path / ".levada" / "plans").iterdir())
