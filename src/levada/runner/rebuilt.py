"""Remembers that a ledger was begun anew, so that records which are there already are not made again unasked.

Where the destination tells by itself that a record is there (an upsert, a look-up, a swap of the whole object), sending
all again does no harm. Where it cannot, the creates of the next plan wait for an approval, like those of a guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from levada.guard import GuardReason
from levada.plan import Plan
from levada.runner.target import is_target_of_ledger
from levada.runner.unremembered import unremembered_rows
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.resolved import Resolved
    from levada.runner.world import World
    from levada.store import Lease

MEMORY = "rebuilt"


def remember_rebuilt(world: World, resolved: Resolved, lease: Lease) -> None:
    """Before the ledger is dropped. If it was kept for another object, nothing of it says what is in this one."""
    if not is_target_of_ledger(world, resolved):
        forget_rebuilt(world, lease)
    elif repeats_creates(resolved):
        world.store.memory.remember(lease, MEMORY, "yes")


def forget_rebuilt(world: World, lease: Lease) -> None:
    """The ledger knows again what is there."""
    if world.store.memory.recall(lease.sync, MEMORY) is not None:
        world.store.memory.remember(lease, MEMORY, None)


def rebuilt_reason(world: World, resolved: Resolved, plan: Plan) -> GuardReason | None:
    """Why a plan is stopped after its ledger was begun anew; None if nothing of it can make a record twice."""
    added = plan.counts.added
    if not added or not repeats_creates(resolved):
        return None
    # a state that was lost begins anew, too: there are rows of the sync's, and they were not counted yet
    if world.store.memory.recall(resolved.name, MEMORY) is None and unremembered_rows(world, resolved.name) != (None,):
        return None
    what = plural(added, "record would be", "records would be")
    message = (
        f"{what} created, whether {resolved.sync.destination} has them or not: the ledger was begun anew. "
        f"`levada mark-synced {resolved.name}` takes them as there already"
    )
    return GuardReason("rebuilt", message, added, 0)


def repeats_creates(resolved: Resolved) -> bool:
    """Does sending a record that is there already make a second one?"""
    verb = resolved.verbs.get("added")
    if verb is None or resolved.policy.everything:
        return False
    if verb == "append":
        return True
    match resolved.delivery_class("added"):
        case "B" | "D":
            return True
        case "C":
            return resolved.sync.mode not in ("upsert", "mirror")  # in these, delivery looks up before it creates
        case "A" | "T":
            return False
