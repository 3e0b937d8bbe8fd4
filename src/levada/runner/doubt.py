"""Remembers that more may have been sent for a sync than its ledger can know of.

So it is after an older state was put back and after a plan was dropped: what a new plan would create may be there
already. Where the tool can be asked, delivery asks; where it cannot, it creates nothing and reports the records. The
memory goes once a run has committed that asked for every record: from then on the ledger holds each of those that may
be there as one in doubt. So no record waits in such a run for its turn after a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable

from levada.store import Fact, Lease, Memory

MEMORY = "in_doubt"
DOUBTED = "yes"
SETTLED = "settled"


def doubt(memory: Memory, lease: Lease) -> None:
    memory.remember(lease, MEMORY, DOUBTED)


def doubts(syncs: Iterable[str]) -> list[Fact]:
    """What is to be remembered of syncs of which nobody holds the lease."""
    return [Fact(sync, MEMORY, DOUBTED) for sync in syncs]


def is_doubted(memory: Memory, sync: str) -> bool:
    return memory.recall(sync, MEMORY) not in (None, SETTLED)


def was_doubted(memory: Memory, sync: str) -> bool:
    """Now, or ever before: a row that was not in the model when the doubt was settled may come back."""
    return memory.recall(sync, MEMORY) is not None


def settle_doubt(memory: Memory, lease: Lease) -> None:
    """A run was committed that knew of it."""
    if is_doubted(memory, lease.sync):
        memory.remember(lease, MEMORY, SETTLED)
