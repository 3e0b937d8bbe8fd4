"""How far a delivery is, and what it tells of that: the same for requests and for tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from levada import events
from levada.delivery.order import DeliveryOrder
from levada.legible import legible
from levada.outcome import DELIVERED, End, Outcome, Outcomes, readable


@dataclass(slots=True)
class Progress:
    """Figures of a run while it is delivered."""

    total: int
    done: int = 0
    delivered: int = 0
    rejected: int = 0
    unknown: int = 0

    def count(self, outcomes: Outcomes, size: int) -> None:
        """One more batch of `size` records is settled; what was surely not applied is not done."""
        self.add(outcomes.counts(size))

    def add(self, counts: Mapping[End, int]) -> None:
        """So many more records ended so."""
        self.done += sum(counts.values()) - counts.get("not_applied", 0)
        self.delivered += counts.get("delivered", 0)
        self.rejected += counts.get("rejected", 0)
        self.unknown += counts.get("unknown", 0)

    def event(self, order: DeliveryOrder, requests: int) -> events.BatchSettled:
        return events.BatchSettled(
            order.sync, order.run_id, self.done, self.total, self.delivered, self.rejected, self.unknown, requests
        )


def cleaned(outcomes: Outcomes, clean: Callable[[str], str]) -> Outcomes:
    """The same, without secrets in the destination's words, codes and names for requests, and of readable text.

    An identifier that is no text cannot be sent back, and is left out; so is one with what a terminal obeys, since no
    tool that means well has such names.
    """
    request_id = clean(readable(outcomes.request_id)) if outcomes.request_id else ""
    kept = {index: name for index, name in outcomes.identifiers.items() if name == legible(readable(name))}
    if len(kept) < len(outcomes.identifiers):
        outcomes = replace(outcomes, identifiers=kept)
    if outcomes.common == DELIVERED and not outcomes.exceptions:
        return outcomes if request_id == outcomes.request_id else replace(outcomes, request_id=request_id)
    exceptions = {index: _clean(outcome, clean) for index, outcome in outcomes.exceptions.items()}
    common = _clean(outcomes.common, clean)
    return replace(outcomes, common=common, exceptions=exceptions, request_id=request_id).simplified()


def _clean(outcome: Outcome, clean: Callable[[str], str]) -> Outcome:
    return replace(outcome, reason=clean(readable(outcome.reason)), code=clean(readable(outcome.code)))
