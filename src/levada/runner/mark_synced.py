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
from levada.runner.audit import note
from levada.runner.column_changes import remember_columns
from levada.runner.plan import request
from levada.runner.plan_sample import sample_keys
from levada.runner.proof import Place, renew_proof
from levada.runner.rebuilt import forget_rebuilt
from levada.runner.resolve import resolve
from levada.runner.resolved import Resolved
from levada.runner.shifted import remember_beginning
from levada.runner.target import remember_target
from levada.runner.unremembered import accept_unremembered
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World

KEYS_NAMED = 20
"""So many forgotten keys are named."""


def mark_synced(world: World, sync: str) -> RunResult:
    """Commit the model as confirmed. Refuses while a run of the sync is open: its outcomes are not known yet."""
    resolved = resolve(world, sync)
    store, clock = world.store, world.clock
    lease = store.leases.acquire(sync)
    try:
        unfinished = store.runs.open_run(sync)
        if unfinished is not None:
            raise ConfigError(
                f"run {unfinished.run_id} of {sync} is not finished",
                code="usage.open_run",
                hint=f"`levada run {sync}` finishes it; then mark as synced",
            )
        started, before = clock.now(), clock.monotonic()
        run_id = clock.new_id("run")
        store.runs.create(lease, run_id, "mark-synced")
        try:
            forgotten, keys = _forgotten(world, resolved)
        except BaseException:
            store.runs.update(lease, run_id, phase="closed", status="failed")
            raise
        with request(world, resolved, store.ledgers.get(sync)) as asked:
            try:
                ledger = resolved.planner.confirmed(asked)
            except BaseException:
                store.runs.update(lease, run_id, phase="closed", status="failed")
                raise
        remember_target(world, resolved, lease)
        remember_beginning(world, lease, store.ledgers.get(sync), run_id, "sync")
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
        store.ledgers.commit(lease, run_id, ledger, status="succeeded", result=result.as_dict())
        accept_unremembered(world, lease)
        renew_proof(world, Place.of(resolved), lease, ledger)
        remember_columns(world, resolved, lease)
        forget_rebuilt(world, lease)
        note(world, "sync.mark_synced", sync, {"rows": ledger.rows, "forgotten": forgotten})
        return result
    finally:
        store.leases.release(lease)


def _forgotten(world: World, resolved: Resolved) -> tuple[int, tuple[Any, ...]]:
    """The removals that a mirror would have planned: how many, and the first keys.

    None are told where the old ledger cannot be compared: it is of another key, or its files are broken.
    """
    ledger = world.store.ledgers.get(resolved.name)
    if not resolved.policy.removed or not ledger.segments:
        return 0, ()
    with request(world, resolved, ledger) as asked:
        try:
            policy = KindPolicy(added=False, changed=False, removed=True)
            plan = resolved.planner.plan(replace(asked, policy=policy))
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
