"""What a destination made of what it was sent.

There are three ends, never two: applied (`delivered`), surely not applied (`rejected` by the destination,
or `not_applied` for a reason that lies outside the record), and `unknown`. Outcomes of a batch are a common
one plus the exceptions by index, so that ten thousand delivered records cost nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

End = Literal["delivered", "rejected", "waiting", "suppressed", "not_applied", "unknown"]
"""`suppressed`: not sent, or without effect, by policy (mode update on a record that does not exist).
`waiting`: refused by an earlier run, not asked in this one, asked again later (see `levada.delivery.waiting`)."""

REASON_CHARACTERS_MAX = 500
"""Longer words of a destination are cut, with an ellipsis."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One record's end. `reason` holds the destination's own words; they are data, never trusted."""

    end: End
    reason: str = ""
    #: stable word of ours, or the destination's own error code
    code: str = ""


GONE = "record_gone"
"""The code of an update that met no record: the tool knows none by its id, or by what stands for one in the address."""
FUNCTION_FAILED = "function_failed"
"""The code of an outcome that is open because the connector's own code failed: to try again would not help."""

DELIVERED = Outcome("delivered")
UNKNOWN = Outcome("unknown")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The ends of all records of one batch: `common`, but for `exceptions` by index (from 0).

    `attributed` is False when the destination refused the batch without naming a record: delivery then
    halves the batch until the culprit stands alone. `identifiers`: the destination's own ids, by index.
    """

    common: Outcome
    exceptions: Mapping[int, Outcome] = field(default_factory=dict)
    attributed: bool = True
    identifiers: Mapping[int, str] = field(default_factory=dict)
    #: the destination's name for the request, for its support
    request_id: str = ""

    def of(self, index: int) -> Outcome:
        return self.exceptions.get(index, self.common)

    def replaced(self, code: str, outcome: Outcome) -> Outcomes:
        """The same, with another outcome for the records whose outcome has this code."""
        changed = {index: outcome if each.code == code else each for index, each in self.exceptions.items()}
        return replace(self, common=outcome if self.common.code == code else self.common, exceptions=changed)

    def counts(self, size: int) -> dict[End, int]:
        found: dict[End, int] = {}
        for outcome in self.exceptions.values():
            found[outcome.end] = found.get(outcome.end, 0) + 1
        rest = size - len(self.exceptions)
        if rest:
            found[self.common.end] = found.get(self.common.end, 0) + rest
        return found

    def any(self, size: int, *ends: End) -> bool:
        """Did any record of a batch of `size` end in one of these ways?"""
        found = [outcome.end for outcome in self.exceptions.values()]
        return any(end in ends for end in found) or (self.common.end in ends and len(found) < size)

    def simplified(self) -> Outcomes:
        """The same, without exceptions that say what is common."""
        kept = {index: outcome for index, outcome in self.exceptions.items() if outcome != self.common}
        return replace(self, exceptions=kept)

    @staticmethod
    def joined(parts: Sequence[tuple[int, Outcomes]]) -> Outcomes:
        """The outcomes of a batch from those of its consecutive parts, each given with its size."""
        commons: dict[Outcome, int] = {}
        for size, part in parts:
            commons[part.common] = commons.get(part.common, 0) + size - len(part.exceptions)
        common = max(commons, key=lambda outcome: commons[outcome])
        exceptions: dict[int, Outcome] = {}
        identifiers: dict[int, str] = {}
        request_id = ""
        start = 0
        for size, part in parts:
            for index in range(size) if part.common != common else part.exceptions:
                outcome = part.of(index)
                if outcome != common:
                    exceptions[start + index] = outcome
            identifiers.update({start + index: name for index, name in part.identifiers.items()})
            request_id = request_id or part.request_id
            start += size
        return Outcomes(common, exceptions, identifiers=identifiers, request_id=request_id)


def readable(text: str) -> str:
    """The same with a replacement character for each half of one: what tools say when they cut text by UTF-16."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shortened(text: str) -> str:
    """A destination's words, on one line and at most REASON_CHARACTERS_MAX long."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_CHARACTERS_MAX else line[: REASON_CHARACTERS_MAX - 1] + "…"
