"""Compares again with every value at the destination unknown, for one that was changed behind Levada's back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.run import RunResult
from levada.runner.audit import note
from levada.runner.rebuilt import remember_rebuilt
from levada.runner.resolve import resolve
from levada.runner.run import run
from levada.runner.unremembered import remember_forgetting

if TYPE_CHECKING:
    from levada.runner.world import World


def resync(world: World, sync: str, *, rebuild: bool = False) -> RunResult:
    """Send every record of the model again, and the removals that are pending.

    Keys stay in the ledger, so that what left the model is still removed; the guard on changes does not
    hold, the others do. `rebuild` begins a new ledger instead, for one that is corrupted: which keys were
    held is lost, and so are pending removals; where a create could make a record twice, it waits for an
    approval. It is noted in the audit.
    """
    resolved = resolve(world, sync)
    if rebuild:
        store = world.store
        lease = store.leases.acquire(sync)
        try:
            remember_rebuilt(world, resolved, lease)
            remember_forgetting(world, resolved, lease)
            store.ledgers.rebuild(lease, sync)
        finally:
            store.leases.release(lease)
        note(world, "sync.rebuild", sync)
    return run(world, resolved.name, purpose="resync")
