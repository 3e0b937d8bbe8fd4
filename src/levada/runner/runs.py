"""The runs that the store remembers, newest first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from levada.store import RunRecord

if TYPE_CHECKING:
    from levada.runner.world import World

RUNS_DEFAULT = 20
RUNS_MAX = 10_000


def runs(world: World, sync: str | None = None, limit: int = RUNS_DEFAULT) -> Sequence[RunRecord]:
    """At most `limit` runs, of one sync or of all. Raises ConfigError for a sync that there is not."""
    if sync is not None:
        world.sync_file(sync)
    store = world.stored
    return store.runs.newest(sync, min(limit, RUNS_MAX)) if store is not None else ()
