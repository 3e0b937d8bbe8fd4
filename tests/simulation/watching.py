"""Looks at every batch that delivery takes up: in which states are its records, and which pairs of states meet?

The states are read from what the engine has on disk (the plan, the journal) and from the order, not from the batch:
what a batch says of its records may be wrong. What is not here: what the states mean (`pairs`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from itertools import combinations
from typing import Any

import pyarrow.parquet as pq

from levada.batch import Batch
from levada.delivery.attempts import Attempts
from levada.delivery.idempotency import BEGUN, LEFT, MARK, Keys
from levada.delivery.order import DeliveryOrder
from levada.delivery.table_engine import TableEngine
from levada.outcome import Outcomes
from levada.planner import REMOVAL
from simulation.pairs import named

SENT_BEFORE = LEFT | {BEGUN.code}
"""Codes of what is unknown because of an earlier request: an earlier run's, if the plan knows of one."""
Met = Counter[tuple[str, str]]
"""How many batches had records in both states: by pair and kind."""


@contextmanager
def watched() -> Iterator[Met]:
    """While this lasts, every batch is looked at."""
    met: Met = Counter()
    settled, one = Attempts.settled, TableEngine._one

    async def over_http(self: Attempts, batch: Batch, *given: Any) -> Outcomes:
        kept = self._course.kept.get(batch.number)
        _note(met, self._order, batch, kept, self._keys, lost=kept is None and batch.number in self._course.doubtful)
        return await settled(self, batch, *given)

    def of_table(self: TableEngine, batch: Batch, *, doubtful: bool) -> None:
        _note(met, self._order, batch, None, None, lost=doubtful)
        one(self, batch, doubtful=doubtful)

    with _instead(Attempts, "settled", over_http), _instead(TableEngine, "_one", of_table):
        yield met


@contextmanager
def _instead(owner: type, name: str, value: Callable[..., Any]) -> Iterator[None]:
    real = owner.__dict__[name]
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, real)


def _note(
    met: Met, order: DeliveryOrder, batch: Batch, kept: Outcomes | None, keys: Keys | None, *, lost: bool
) -> None:
    if len(batch) < 2 or order.plan.purpose != "sync":
        return
    for one, other in combinations(sorted(set(states(order, batch, kept, keys, lost=lost))), 2):
        met[named(one, other), batch.kind] += 1


def states(
    order: DeliveryOrder, batch: Batch, kept: Outcomes | None, keys: Keys | None, *, lost: bool
) -> Iterator[str]:
    """The state of each record of a batch."""
    first = batch.sequence - order.plan.first(batch.kind)
    rows = _operations(str(order.folder / order.plan.files[batch.kind].name))[first : first + len(batch)]
    refused = {row["sequence"]: row for row in order.waiting.table.to_pylist()}
    for index, row in enumerate(rows):
        before = refused.get(batch.sequence + index)
        origin = _before(row, order, batch.kind, keys, was_refused=before is not None)
        end = "" if kept is None else kept.of(index).end
        left = kept is not None and kept.of(index).code in SENT_BEFORE and origin not in ("fresh", "due")
        if before is not None and before["left"]:
            yield "waiting" if before["end"] == "rejected" else "suppressed"
        elif end in ("delivered", "rejected", "suppressed"):
            yield "settled"
        elif lost or (end == "unknown" and not left):
            yield "lost"
        else:
            yield origin


@lru_cache(maxsize=8)
def _operations(path: str) -> list[dict[str, Any]]:
    """What a plan's file says beside the values. No two plans of a campaign have the same path."""
    names = [name for name in ("operation", "state") if name in pq.read_schema(path).names]
    return pq.read_table(path, columns=names, use_threads=False).to_pylist()


def _before(row: dict[str, Any], order: DeliveryOrder, kind: str, keys: Keys | None, *, was_refused: bool) -> str:
    """What earlier runs left of a record that is to be sent."""
    operation = row.get("operation") or ""
    if MARK in operation:
        return "remembered" if keys is not None and keys.remembered(operation) else "expired"
    if operation == REMOVAL:
        return "removal"
    if order.in_doubt:
        return "doubted"
    if operation or (kind == "changed" and row["state"] != "confirmed"):
        return "earlier"
    return "due" if was_refused else "fresh"
