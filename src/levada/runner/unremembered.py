"""Records of a sync that nobody remembers: its marks lie beside the table, and its ledger holds nothing.

So it is when the state was lost (a container made anew) or begun anew, and when another copy of the project writes to
the same table. What earlier runs wrote and the model no longer has stays there, and no run will remove it: this is said
by every run and by `status`, until there is no such row, or a person takes the table as it is (`levada mark-synced`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from levada.destination import WriteOrder
from levada.planner import Ledger
from levada.proof import Countable, Proof
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.resolved import Resolved
    from levada.runner.world import World
    from levada.store import Lease

MEMORY = "unremembered"
NOT_COUNTED = '{"rows": null}'


def unremembered(
    world: World, sync: str, to: str, order: WriteOrder, proof: Proof, ledger: Ledger, lease: Lease | None
) -> tuple[str, ...]:
    """Before a run: says, and under a lease notes, what a ledger that holds nothing does not know of."""
    if ledger.rows or proof.empty or order.mode == "replace" or _accepted(world, sync):
        return ()
    noted = world.stored is not None and world.stored.memory.recall(sync, MEMORY) is not None
    if not noted:
        # a ledger that became empty by removals forgot nothing
        others = (mark for mark in proof.marks or {} if mark != order.sync_mark and mark.startswith(f"{order.sync}."))
        if ledger.exists or not any(True for _ in others):
            return ()
        if lease is not None:
            world.store.memory.remember(lease, MEMORY, NOT_COUNTED)
    return (sentence(sync, to, None),)


def still_unremembered(
    world: World, lease: Lease, to: str, destination: object, object_name: str, ledger: Ledger
) -> tuple[str, ...]:
    """After a run: how many rows the table has that the ledger does not; none, and it is forgotten."""
    text = world.store.memory.recall(lease.sync, MEMORY)
    if text is None or _accepted(world, lease.sync) or not isinstance(destination, Countable):
        return ()
    rows = destination.size(object_name) - ledger.rows
    world.store.memory.remember(lease, MEMORY, json.dumps({"rows": rows}) if rows > 0 else None)
    return (sentence(lease.sync, to, rows),) if rows > 0 else ()


def accept_unremembered(world: World, lease: Lease) -> None:
    """A person takes the table as it is."""
    if world.store.memory.recall(lease.sync, MEMORY) is not None:
        world.store.memory.remember(lease, MEMORY, json.dumps({"accepted": True}))


def remember_forgetting(world: World, resolved: Resolved, lease: Lease) -> None:
    """Before a ledger is dropped: what it held is forgotten from now on, whatever was accepted before."""
    if resolved.sync.mode != "replace" and isinstance(resolved.destination, Countable):
        world.store.memory.remember(lease, MEMORY, NOT_COUNTED)


def unremembered_rows(world: World, sync: str) -> tuple[int | None] | None:
    """How many rows there may be (None: not counted); None if there is nothing to say."""
    text = world.stored.memory.recall(sync, MEMORY) if world.stored is not None else None
    found = json.loads(text) if text is not None else {"accepted": True}
    return None if found.get("accepted") else (found.get("rows"),)


def sentence(sync: str, to: str, rows: int | None) -> str:
    """What a person is told."""
    what = f"{'rows' if rows is None else plural(rows, 'row')} of {to}"
    return (
        f"{what} may be of earlier runs of {sync} that nobody remembers: its marks lie beside the table, its ledger "
        f"held nothing. What left the model since then is not removed by any run: delete it by hand, or let "
        f"`levada mark-synced {sync}` take the table as it is"
    )


def without_guess(notices: tuple[str, ...], sync: str, to: str) -> tuple[str, ...]:
    """What a run says, once the rows are counted."""
    return tuple(notice for notice in notices if notice != sentence(sync, to, None))


def _accepted(world: World, sync: str) -> bool:
    text = world.stored.memory.recall(sync, MEMORY) if world.stored is not None else None
    return text is not None and bool(json.loads(text).get("accepted"))
