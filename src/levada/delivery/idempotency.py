"""What is left open: ends that are no answer of the destination's, and keys by which a tool knows a repeat.

A tool of class B forgets an idempotency key after a while, and a repeat after that makes a second record. So the
moment at which a key was first sent stays with it, in the journal and in the ledger: `<key>@<moment>`. Where it is not
sure that the tool still remembers, nothing is sent again, and the record is reported until a person says what became
of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from levada.destination import DestinationSpec
from levada.outcome import Outcome, Outcomes
from levada.store import JournalEntry, Moments

MARK = "@"
"""Between a key and the moment at which it was first sent."""

AT_MOST_ONCE = Outcome(
    "unknown", "an earlier attempt may have been applied, and at most one is allowed", "at_most_once"
)
TWICE = Outcome("delivered", "an earlier attempt may have been applied, too", "possibly_duplicated")
KEY_EXPIRED = Outcome(
    "unknown",
    "its create was never answered, and the tool no longer knows a repeat by its key: look whether the record is there",
    "key_expired",
)
UNANSWERED = Outcome(
    "unknown", "an earlier request for this record is not answered yet: the next run asks again", "unanswered"
)
ROLLED_BACK = Outcome(
    "unknown",
    "what was sent before the state was put back is not known: look whether the record is there",
    "maybe_created",
)
BEGUN = Outcome("unknown", "", "begun")
"""For the journal: what was surely not applied may be sent from now on."""
LEFT = frozenset(each.code for each in (AT_MOST_ONCE, KEY_EXPIRED, UNANSWERED, ROLLED_BACK))
"""Codes of records that are unknown and not sent again by this run."""
HELD = Outcome("not_applied", "", "held")
"""For the journal: never sent so far, because an earlier request for the record may still be applied."""


@dataclass(frozen=True, slots=True)
class Keys:
    """When the keys of one destination were first sent."""

    moments: Moments
    spec: DestinationSpec

    def stamped(self, key: str) -> str:
        """A key that is first sent from now on."""
        return f"{key}{MARK}{self.moments.now()}"

    def remembered(self, stamp: str) -> bool:
        """Is it sure that the tool still knows the key when a request that is sent now takes effect?"""
        _, _, moment = stamp.partition(MARK)
        on_its_way = self.spec.timeout_seconds + self.spec.max_server_seconds
        return self.moments.seconds_since(moment) + on_its_way < self.spec.idempotency_seconds


def stamps(entries: Iterable[JournalEntry]) -> dict[int, str]:
    """The stamped keys of what a run leaves unknown, by the operation's sequence."""
    return {
        entry.intent.first: entry.intent.idempotency_key
        for entry in entries
        if MARK in entry.intent.idempotency_key
        and (entry.outcomes is None or entry.doubtful or entry.outcomes.any(entry.intent.size, "unknown"))
    }


def is_open(outcome: Outcome) -> bool:
    """Is it for this run to bring this record to an end?"""
    return outcome.end in ("unknown", "not_applied") and outcome.code not in LEFT and outcome != HELD


def has_open(outcomes: Outcomes, size: int) -> bool:
    """Has any record no end yet?"""
    if is_open(outcomes.common) and len(outcomes.exceptions) < size:
        return True
    return any(is_open(outcome) for outcome in outcomes.exceptions.values())


def was_begun(outcomes: Outcomes) -> bool:
    """Was a batch that had been left open sent again, and is not answered?"""
    return any(each.code == BEGUN.code for each in (outcomes.common, *outcomes.exceptions.values()))


def left_unsent(outcomes: Outcomes, size: int) -> bool:
    """Is there any record of a settled batch that was not sent, or whose sending was begun again?"""
    common = [outcomes.common] if len(outcomes.exceptions) < size else []
    ends = (*common, *outcomes.exceptions.values())
    return any(each.end == "not_applied" or each.code == BEGUN.code for each in ends)


def begun(outcomes: Outcomes, size: int, held: Collection[int] = ()) -> Outcomes:
    """The same, where what was surely not applied may be sent from now on, but for those that are `held`."""
    ends = {index: outcomes.of(index) for index in range(size)}
    sent = {index for index, outcome in ends.items() if outcome.end == "not_applied" and index not in held}
    marked = {index: BEGUN if index in sent else outcome for index, outcome in ends.items()}
    return replace(outcomes, common=BEGUN, exceptions=marked).simplified()


def repeated(outcome: Outcome) -> Outcome:
    """The end of a record of class D that was sent again after a lost answer; one that is refused now may be there."""
    if outcome.end == "delivered":
        return TWICE
    return replace(outcome, code=TWICE.code) if outcome.end in ("unknown", "rejected") else outcome
