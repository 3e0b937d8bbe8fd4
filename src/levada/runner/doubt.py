"""Remembers that more may have been sent for a sync than its ledger can know of.

So it is after an older state was put back and after a plan was dropped: what a new plan would create may be there
already. Where the tool can be asked, delivery asks; where it cannot, it creates nothing and reports the records. The
memory goes once a run has committed that asked for every record: from then on the ledger holds each of those that may
be there as one in doubt. So no record waits in such a run for its turn after a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable

from levada.store import Store

MEMORY = "in_doubt"
SETTLED = "settled"


def doubt(store: Store, syncs: Iterable[str]) -> None:
    for sync in syncs:
        store.memory.remember(sync, MEMORY, "yes")


def is_doubted(store: Store, sync: str) -> bool:
    return store.memory.recall(sync, MEMORY) not in (None, SETTLED)


def was_doubted(store: Store, sync: str) -> bool:
    """Now, or ever before: a row that was not in the model when the doubt was settled may come back."""
    return store.memory.recall(sync, MEMORY) is not None


def settle_doubt(store: Store, sync: str) -> None:
    """A run was committed that knew of it."""
    if is_doubted(store, sync):
        store.memory.remember(sync, MEMORY, SETTLED)
