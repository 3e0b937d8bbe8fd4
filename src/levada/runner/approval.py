"""Whether a plan that a guard stopped was approved, and still is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from levada.store import Approval

if TYPE_CHECKING:
    from levada.runner.world import World

SET_BACK = timedelta(hours=1)
"""Clocks are set back by so much without anything being wrong."""


def standing_approval(world: World, plan_id: str) -> Approval | None:
    """The approval that covers this plan now, if there is one. One from the future does not: the clock was set back,
    and nobody knows how old it is."""
    found = world.stored.approvals.get(plan_id) if world.stored is not None else None
    if found is None:
        return None
    approved, expires = datetime.fromisoformat(found.approved_at), datetime.fromisoformat(found.expires_at)
    return found if approved - SET_BACK <= world.clock.now() < expires else None
