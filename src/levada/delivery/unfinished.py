"""What an earlier process left of a run: the batches whose end is open, and figures about those that have one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from levada.change import Kind
from levada.delivery.idempotency import left_unsent
from levada.outcome import End
from levada.store import JournalEntry


@dataclass(frozen=True, slots=True)
class Remains:
    """Only open batches are held, and of these there is never more than a window.

    `number`: the first one that was never used. `reached`: by kind, up to which operation of the plan batches were
    made. `open`: by number, batches without an outcome, or with records that were not sent. `ends`: how many records
    of all other batches ended how.
    """

    number: int
    reached: Mapping[Kind, int]
    open: Mapping[int, JournalEntry]
    ends: Mapping[End, int]

    @classmethod
    def of(cls, entries: Iterable[JournalEntry]) -> Remains:
        """Of a journal; of an empty one before the first batch."""
        number = 0
        reached: dict[Kind, int] = {}
        found: dict[int, JournalEntry] = {}
        ends: dict[End, int] = {}
        for entry in entries:
            intent = entry.intent
            number = max(number, intent.number + 1)
            reached[intent.kind] = max(reached.get(intent.kind, 0), intent.first + intent.size)
            if entry.outcomes is None or left_unsent(entry.outcomes, intent.size):
                found[intent.number] = entry
                continue
            for end, count in entry.outcomes.counts(intent.size).items():
                ends[end] = ends.get(end, 0) + count
        return cls(number, reached, dict(sorted(found.items())), ends)
