"""Takes the model as already at the destination: the ledger becomes the model, and nothing is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.change import Counts
from levada.clock import isoformat
from levada.errors import ConfigError
from levada.run import RunResult, Tally
from levada.runner.approve import actor
from levada.runner.plan import request
from levada.runner.resolve import resolve
from levada.runner.target import remember_target
from levada.store import AuditEntry

if TYPE_CHECKING:
    from levada.runner.project import Project


def mark_synced(project: Project, sync: str) -> RunResult:
    """Commit the model as confirmed. Refuses while a run of the sync is open: its outcomes are not known yet."""
    resolved = resolve(project, sync)
    store, clock = project.store, project.clock
    lease = store.acquire(sync)
    try:
        unfinished = store.open_run(sync)
        if unfinished is not None:
            raise ConfigError(
                f"run {unfinished.run_id} of {sync} is not finished",
                code="usage.open_run",
                hint=f"`levada run {sync}` finishes it; then mark as synced",
            )
        started, before = clock.now(), clock.monotonic()
        run_id = clock.new_id("run")
        store.create_run(lease, run_id, "mark-synced")
        with request(project, resolved, store.ledger(sync)) as asked:
            try:
                ledger = project.planner.confirmed(asked)
            except BaseException:
                store.update_run(lease, run_id, phase="closed", status="failed")
                raise
        remember_target(project, resolved)
        result = RunResult(
            sync=sync,
            run_id=run_id,
            status="succeeded",
            counts=Counts(unchanged=ledger.rows),
            tally=Tally(),
            plan_id="",
            started_at=isoformat(started),
            finished_at=isoformat(clock.now()),
            seconds=clock.monotonic() - before,
            notices=(f"{ledger.rows:,} rows are taken as synced; nothing was sent",),
        )
        store.commit(lease, run_id, ledger, status="succeeded", result=result.as_dict())
        store.note(AuditEntry(result.finished_at, actor(), "sync.mark_synced", sync, {"rows": ledger.rows}))
        return result
    finally:
        store.release(lease)
