"""Takes the model as already at the destination: the ledger becomes the model, and nothing is sent.

Records that were sent and left the model since are forgotten with it: no later run removes them. A mirror names them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from levada.change import Counts
from levada.clock import isoformat
from levada.errors import ConfigError, CorruptedError
from levada.planner import KindPolicy
from levada.run import RunResult, Tally
from levada.runner.approve import actor
from levada.runner.columns import remember_columns
from levada.runner.plan import request
from levada.runner.proof import Place, renew_proof
from levada.runner.rebuilt import forget_rebuilt
from levada.runner.resolve import Resolved, resolve
from levada.runner.sample import sample_keys
from levada.runner.shifted import remember_beginning
from levada.runner.target import remember_target
from levada.runner.unremembered import accept_unremembered
from levada.store import AuditEntry
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.project import Project

KEYS_NAMED = 20
"""So many forgotten keys are named."""


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
        try:
            forgotten, keys = _forgotten(project, resolved)
        except BaseException:
            store.update_run(lease, run_id, phase="closed", status="failed")
            raise
        with request(project, resolved, store.ledger(sync)) as asked:
            try:
                ledger = project.planner.confirmed(asked)
            except BaseException:
                store.update_run(lease, run_id, phase="closed", status="failed")
                raise
        remember_target(project, resolved)
        remember_beginning(project, sync, store.ledger(sync), run_id, "sync")
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
            notices=(
                f"{plural(ledger.rows, 'row is', 'rows are')} taken as synced; nothing was sent",
                *_told(forgotten, keys),
            ),
        )
        store.commit(lease, run_id, ledger, status="succeeded", result=result.as_dict())
        accept_unremembered(project, sync)
        renew_proof(project, Place.of(resolved), ledger)
        remember_columns(project, resolved)
        forget_rebuilt(project, sync)
        store.note(
            AuditEntry(
                result.finished_at, actor(), "sync.mark_synced", sync, {"rows": ledger.rows, "forgotten": forgotten}
            )
        )
        return result
    finally:
        store.release(lease)


def _forgotten(project: Project, resolved: Resolved) -> tuple[int, tuple[Any, ...]]:
    """The removals that a mirror would have planned: how many, and the first keys.

    None are told where the old ledger cannot be compared: it is of another key, or its files are broken.
    """
    ledger = project.store.ledger(resolved.name)
    if not resolved.policy.removed or not ledger.segments:
        return 0, ()
    with request(project, resolved, ledger) as asked:
        try:
            policy = KindPolicy(added=False, changed=False, removed=True)
            plan = project.planner.plan(replace(asked, policy=policy))
        except (ConfigError, CorruptedError):
            return 0, ()
        return plan.counts.removed, sample_keys(plan, asked.folder, "removed", KEYS_NAMED)


def _told(forgotten: int, keys: tuple[Any, ...]) -> tuple[str, ...]:
    if not forgotten:
        return ()
    shown = ", ".join(str(key) for key in keys) + (", …" if forgotten > len(keys) else "")
    records = plural(forgotten, "record that has", "records that have")
    stay = "stays at the destination and is" if forgotten == 1 else "stay at the destination and are"
    return (f"{records} left the model {stay} forgotten: {shown}",)
