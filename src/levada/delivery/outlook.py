"""What a run would do with a plan: which operations it sends at once, which after a wait, and which not at all.

It reads what delivery itself goes by: the plan's states, the refused records that wait for their turn, and the records
whose end is open. What is not here: whether the guard lets the plan pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from levada.change import KINDS, Kind
from levada.delivery.held import Held, held
from levada.delivery.order import DeliveryOrder
from levada.delivery.plan_reader import PlanReader
from levada.destination import Destination, TableDestination
from levada.run import Wait

if TYPE_CHECKING:
    from levada.store import Store


@dataclass(frozen=True, slots=True)
class Outlook:
    """How many operations of a plan a run would send. Their sum is the plan's.

    `at_once`: by kind. `held`: those that are sent once the `wait` is over. `waiting`, `suppressed`: refused or without
    effect before, and not asked in this run. `in_doubt`: an earlier request was not answered, and they are not sent.
    """

    at_once: Mapping[Kind, int]
    held: int = 0
    waiting: int = 0
    suppressed: int = 0
    in_doubt: int = 0
    wait: Wait | None = None

    @property
    def sent(self) -> int:
        return sum(self.at_once.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "sends": {kind: self.at_once.get(kind, 0) for kind in ("added", "changed", "removed")},
            "held": self.held,
            "waiting": self.waiting,
            "suppressed": self.suppressed,
            "in_doubt": self.in_doubt,
            **({"wait": self.wait.as_dict()} if self.wait is not None else {}),
        }


def outlook(order: DeliveryOrder, destination: Destination | TableDestination, store: Store | None) -> Outlook:
    """For an order that nothing was sent of. Reads the plan's files only where something may be left out."""
    plan = order.plan
    total = plan.counts.operations
    if store is None or not total:
        return Outlook({kind: plan.counts.of(kind) for kind in KINDS})
    doubt, waits = _empty(), Held()
    if not isinstance(destination, TableDestination):
        doubt = _in_doubt(order, destination)
        waits = held(store, order.sync, plan, order.folder, order.run_id)
    left = order.waiting.table.filter((pc.field("left") > 0) & ~pc.field("sequence").isin(doubt))
    out = pa.concat_arrays([doubt, pa.chunked_array(left["sequence"].chunks, pa.int64()).combine_chunks()])
    every = pa.array(range(total), pa.int64()) if waits.sequences is None else waits.sequences
    later = every.filter(pc.invert(pc.is_in(every, out)))
    gone = pa.concat_arrays([out, later])
    found = Held(waits.seconds, later)
    wait = found.wait(destination.name, destination.spec, total, waits.seconds) if found else None
    refused = left.filter(pc.field("end") == "rejected").num_rows
    return Outlook(
        at_once={kind: plan.counts.of(kind) - _within(gone, plan.first(kind), plan.counts.of(kind)) for kind in KINDS},
        held=len(later),
        waiting=refused,
        suppressed=left.num_rows - refused,
        in_doubt=len(doubt),
        wait=wait,
    )


def _in_doubt(order: DeliveryOrder, destination: Destination) -> pa.Array[Any]:
    """The operations that are not sent because an earlier request for them was not answered: of class B while the run
    has not settled them, and of class D where at most one may be sent (the table is in `levada.delivery.ends`)."""
    reader = PlanReader(order)
    found: list[pa.Array[Any]] = [_empty()]
    try:
        for kind in KINDS:
            if kind not in order.plan.files or not order.plan.counts.of(kind):
                continue
            match destination.spec.delivery_class(order.object, order.verbs[kind]):
                case "B" if order.in_doubt:
                    found.append(pa.array(range(order.plan.counts.of(kind)), pa.int64()))
                case "B":
                    found.append(reader.in_state(kind, "removing", stamped=True))
                case "D" if order.repeats == "at_most_once":
                    found.append(reader.in_state(kind, "sent", stamped=False))
                case _:
                    continue
            found[-1] = pc.add(found[-1], order.plan.first(kind))
    finally:
        reader.close()
    return pa.concat_arrays(found)


def _within(sequences: pa.Array[Any], first: int, size: int) -> int:
    """How many of the sequences lie in [first, first + size)."""
    return len(sequences.filter(pc.is_in(sequences, pa.array(range(first, first + size), pa.int64()))))


def _empty() -> pa.Array[Any]:
    return pa.array([], pa.int64())
