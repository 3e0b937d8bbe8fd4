"""How the records of one batch end, attempt by attempt, and what was known of each before.

What is known of a record before it is sent is its state (`levada.batch.RecordState`), a column of the batch. What
follows from it, by the delivery class of the verb; everything else in the batch goes on as if the record were alone:

    state       A           B                                   C               D at least once   D at most once
    fresh       send        send, under a new key               send (1)        send              send
    sent        send again  send again under the same key (2)   look up first   send again (3)    not sent, unknown
    removing    send        not sent: unanswered (2)            look up first   send              send

    waiting, suppressed, ended before in this run: not sent in any class; the end stays as it is.
    held: not sent before the wait is over, in any class (`levada.delivery.held`); then as its state says.
    in doubt (an older state was put back, or a plan dropped): as `sent`, but B: not sent, maybe created.

(1) in modes upsert and mirror it is looked up, too, and in mode insert once the sync was ever in doubt. (2) in a run
that settles, before the next plan; elsewhere it is not sent, and reported as `unanswered`, or `key_expired` where the
key may be forgotten. (3) counted as possibly doubled. Class T asks the marks of its database instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from levada.delivery.idempotency import AT_MOST_ONCE, BEGUN, HELD, is_open, repeated
from levada.outcome import DELIVERED, HOPELESS, Effect, Effects, Outcome, Outcomes


@dataclass(slots=True)
class Ends:
    """The ends so far of a batch of `size` records, by index. `lost`: those of which a sending was not answered.

    `counted`: a record that is sent again may be there twice (class D, at least once). `once`: it must not be sent
    again (class D, at most once).
    """

    size: int
    lost: set[int]
    counted: bool = False
    once: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    identifiers: dict[int, str] = field(default_factory=dict)
    effects: dict[int, Effect] = field(default_factory=dict)
    request_id: str = ""

    def leave(self, ends: Mapping[int, Outcome]) -> None:
        """These records are not sent, unless they have an end already."""
        for index, outcome in ends.items():
            if index not in self.outcomes or is_open(self.outcomes[index]):
                self.outcomes[index] = outcome

    def keep(self, kept: Outcomes) -> None:
        """What was settled of the batch before. What was held then is as if nothing were known of it."""
        ends = {index: kept.of(index) for index in range(self.size) if kept.of(index) != HELD}
        self.outcomes = ends | self.outcomes
        self.identifiers.update(kept.identifiers)
        self.effects.update({index: kept.effects.of(index) for index in range(self.size)})
        self.request_id = kept.request_id

    @property
    def open(self) -> list[int]:
        """The records that are to be sent, or sent again."""
        if not self.outcomes:
            return list(range(self.size))
        return [index for index in range(self.size) if index not in self.outcomes or is_open(self.outcomes[index])]

    def take(self, indices: Sequence[int], outcomes: Outcomes) -> None:
        """What one attempt made of these records, in their order."""
        self.request_id = outcomes.request_id or self.request_id
        for place, index in enumerate(indices):
            outcome, effect = outcomes.of(place), outcomes.effects.of(place)
            if index in self.lost:
                if outcome.end == "not_applied":
                    # what is surely not applied is this attempt, and not the one before it
                    code = outcome.code if outcome.code in HOPELESS else BEGUN.code
                    outcome = replace(outcome, end="unknown", code=code)
                elif self.counted:
                    outcome = repeated(outcome)
                effect = effect if effect in ("created", "gone") else "untold"  # the lost attempt may have made it so
            elif outcome.end == "unknown":
                self.lost.add(index)
            if self.once and index in self.lost:
                outcome = AT_MOST_ONCE
            self.outcomes[index], self.effects[index] = outcome, effect
            if place in outcomes.identifiers:
                self.identifiers[index] = outcomes.identifiers[place]

    def of(self, indices: Iterable[int]) -> list[Outcome]:
        """The ends so far of some of them."""
        return [self.outcomes[index] for index in indices if index in self.outcomes]

    def joined(self) -> Outcomes:
        """The ends of the whole batch."""
        assert len(self.outcomes) == self.size, "a record has no end"
        common = DELIVERED if DELIVERED in self.outcomes.values() else self.outcomes[0]
        effects = Effects.each([self.effects.get(index, "untold") for index in range(self.size)])
        return Outcomes(
            common, self.outcomes, identifiers=self.identifiers, request_id=self.request_id, effects=effects
        ).simplified()
