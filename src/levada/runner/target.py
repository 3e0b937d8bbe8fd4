"""Holds a sync to the object that its ledger was kept for: what one object confirmed says nothing of another.

Remembered are the object's name in the project, `destination.object`, and the place that the name leads to: the
host of an address, with the database of a database's; the path of a file. Another port or another credential is the
same place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from levada.errors import ConfigError

if TYPE_CHECKING:
    from levada.planner import Ledger
    from levada.runner.resolved import Resolved
    from levada.runner.world import World
    from levada.store import Lease

MEMORY = "target"
PLACE = "place"
DATABASES = ("postgres", "mysql")


def check_target(world: World, resolved: Resolved, ledger: Ledger) -> None:
    """Raises ConfigError if the ledger holds records of another object than the one that the sync writes to."""
    if not ledger.segments or world.stored is None:
        return
    where = world.sync_file(resolved.name).positions.at("to")
    anew = (
        f"`levada resync {resolved.name} --rebuild` sends everything, "
        f"`levada mark-synced {resolved.name}` takes it as there already"
    )
    before = world.stored.memory.recall(resolved.name, MEMORY)
    if before is not None and before != resolved.sync.to:
        raise ConfigError(
            f"{resolved.name} was kept for {before}, and goes to {resolved.sync.to} now",
            code="config.target_changed",
            where=where,
            hint=f"give the sync a new name, or begin anew: {anew}; {before} is left as it is",
        )
    place, now = world.stored.memory.recall(resolved.name, PLACE), place_of(world, resolved.sync.destination)
    if place and now and place != now:
        raise ConfigError(
            f"{resolved.sync.destination} was at {place}, and is at {now} now: what is known of the one says nothing "
            "of the other",
            code="config.target_changed",
            where=where,
            hint="keep the state of each environment apart, such as `store: {path: .levada/${ENVIRONMENT}}` in "
            f"levada.yml; or begin anew: {anew}",
        )


def is_target_of_ledger(world: World, resolved: Resolved) -> bool:
    """Was the ledger kept for the very object that the sync writes to now? False, too, if nothing was ever sent."""
    before, place = (world.store.memory.recall(resolved.name, name) for name in (MEMORY, PLACE))
    now = place_of(world, resolved.sync.destination)
    return before == resolved.sync.to and not (place and now and place != now)


def remember_target(world: World, resolved: Resolved, lease: Lease) -> None:
    """Before anything is sent or taken as synced."""
    memory = world.store.memory
    if memory.recall(lease.sync, MEMORY) != resolved.sync.to:
        memory.remember(lease, MEMORY, resolved.sync.to)
    place = place_of(world, resolved.sync.destination)
    if place and memory.recall(lease.sync, PLACE) != place:
        memory.remember(lease, PLACE, place)


def place_of(world: World, destination: str) -> str:
    """Where a destination's name leads, without credentials and port; empty where its options do not say."""
    declared = world.files.destinations.get(destination)
    if declared is None:
        return ""
    for option in ("base_url", "url"):
        text = getattr(declared.options, option, None)
        if text:
            parts = urlsplit(str(text))
            database = parts.path if declared.type in DATABASES else ""
            return f"{parts.hostname or ''}{database}"
    path = getattr(declared.options, "path", None)
    return str((world.root / str(path)).resolve()) if path else ""
