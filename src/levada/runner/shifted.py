"""Which syncs may have sent instants in the zone of the machine, as Levada did over HTTP before this was mended.

The ledger holds the right values, so no later run mends what was sent: only `resync` does. A sync is known to be free
of it if its first run was by a version that sends UTC, or a `resync` by one was carried to its end; that is remembered
with the sync. Of any other it is not known: earlier versions did not write down the zone of their machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from levada.destination import Destination, TableDestination
from levada.destinations.python import PythonDestination
from levada.errors import LevadaError

if TYPE_CHECKING:
    from pathlib import Path

    from levada.plan import Purpose
    from levada.planner import Ledger
    from levada.runner.world import World
    from levada.store import Lease

MEMORY = "instants"
UTC = "utc"
"""What is remembered: that all records were sent in UTC, or, until it ends, the resync that sends them so."""


def remember_beginning(world: World, lease: Lease, ledger: Ledger, run_id: str, purpose: Purpose) -> None:
    """Before a run plans: a first one sends everything in UTC, and a resync will have."""
    known = world.store.memory.recall(lease.sync, MEMORY)
    if known == UTC:
        return
    if not ledger.exists:
        world.store.memory.remember(lease, MEMORY, UTC)
    elif purpose == "resync":
        world.store.memory.remember(lease, MEMORY, run_id)


def remember_end(world: World, lease: Lease, run_id: str) -> None:
    """After a run was committed."""
    if world.store.memory.recall(lease.sync, MEMORY) == run_id:
        world.store.memory.remember(lease, MEMORY, UTC)


def possibly_shifted(world: World) -> Iterator[tuple[str, int]]:
    """The syncs whose destination may hold shifted instants, and how many records each has there."""
    store = world.stored
    if store is None:
        return
    for name, file in sorted(world.files.syncs.items()):
        try:
            if store.memory.recall(name, MEMORY) == UTC or not _is_rendered(world.destination(file.sync.destination)):
                continue
            ledger = store.ledgers.get(name)
        except LevadaError:
            continue  # a file or a state that is wrong is told by others
        if any(_holds_instants(ledger.folder / segment.file.name) for segment in ledger.segments):
            yield name, ledger.rows


def _is_rendered(destination: Destination | TableDestination) -> bool:
    """Are its requests rendered by Levada? Tables and functions were given the instants themselves."""
    return not isinstance(destination, TableDestination | PythonDestination)


def _holds_instants(path: Path) -> bool:
    import pyarrow.parquet as parquet

    return any(field.name.startswith("after.") and _is_zoned(field.type) for field in parquet.read_schema(path))


def _is_zoned(kind: pa.DataType) -> bool:
    """Is it an instant, or does it hold one?"""
    if isinstance(kind, pa.TimestampType):
        return kind.tz is not None
    return any(_is_zoned(kind.field(index).type) for index in range(kind.num_fields))
