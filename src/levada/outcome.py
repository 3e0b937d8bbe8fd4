"""What a destination made of what it was sent.

There are three ends, never two: applied (`delivered`), surely not applied (`rejected` by the destination,
or `not_applied` for a reason that lies outside the record), and `unknown`. Outcomes of a batch are a common
one plus the exceptions by index, so that ten thousand delivered records cost nothing.

A delivered record also has an *effect*: what its request changed at the destination, as far as the destination tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Literal

End = Literal["delivered", "rejected", "waiting", "suppressed", "not_applied", "unknown"]
"""`suppressed`: not sent, or without effect, by policy (mode update on a record that does not exist).
`waiting`: refused by an earlier run, not asked in this one, asked again later (see `levada.delivery.waiting`)."""

Effect = Literal["created", "updated", "same", "gone", "untold"]
"""`created`: the record was not there before. `updated`: it was, with other values. `same`: the destination was already
as wanted. `gone`: the record was there and is removed. `untold`: the destination does not say, or nothing was
delivered."""
LETTERS: Mapping[Effect, str] = {"created": "c", "updated": "u", "same": "s", "gone": "g", "untold": "-"}
"""How effects are written, one letter each."""

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
LOOK_UP_FAILED = "look_up_failed"
"""The code of a record that was not sent, because a look-up did not tell whether it is there."""
UNREAD = "answer_unread"
"""The code of an outcome that is open because no word of the connector's reads the answer: likewise."""
HOPELESS = frozenset({FUNCTION_FAILED, UNREAD})
"""Codes of outcomes that stay open however often their records are sent: a person has to mend the connector."""

DELIVERED = Outcome("delivered")
UNKNOWN = Outcome("unknown")

_EFFECTS: Mapping[str, Effect] = {letter: effect for effect, letter in LETTERS.items()}


@dataclass(frozen=True, slots=True)
class Effects:
    """The effects of a batch's records, by index (from 0): the one that all have, or a letter for each of them.

    `letters` is one of LETTERS, which then holds for every record, or as long as the batch.
    """

    letters: str = LETTERS["untold"]

    @staticmethod
    def all(effect: Effect) -> Effects:
        """Every record has this one."""
        return Effects(LETTERS[effect])

    @staticmethod
    def each(effects: Sequence[Effect]) -> Effects:
        """One for each record of a batch, in its order."""
        return Effects("".join(LETTERS[effect] for effect in effects)).simplified()

    def of(self, index: int) -> Effect:
        return _EFFECTS[self.letters if len(self.letters) == 1 else self.letters[index]]

    def of_size(self, size: int) -> str:
        """A letter for each of `size` records."""
        return self.letters * size if len(self.letters) == 1 else self.letters

    def runs(self, size: int) -> Iterator[tuple[Effect, int]]:
        """Each run of equal effects among `size` records, with its length."""
        if len(self.letters) == 1:
            yield _EFFECTS[self.letters], size
            return
        for letter, run in groupby(self.letters):
            yield _EFFECTS[letter], sum(1 for _ in run)

    def counts(self, size: int, excluded: Iterable[int] = ()) -> dict[Effect, int]:
        """How many of `size` records have which effect; some may be excluded by index."""
        found: dict[Effect, int] = {}
        for effect, length in self.runs(size):
            found[effect] = found.get(effect, 0) + length
        for index in excluded:
            found[self.of(index)] -= 1
        return {effect: count for effect, count in found.items() if count}

    def part(self, start: int, length: int) -> Effects:
        """Those of a run of the records."""
        return self if len(self.letters) == 1 else Effects(self.letters[start : start + length]).simplified()

    def simplified(self) -> Effects:
        """The same as one letter, where all are equal."""
        kinds = set(self.letters)
        return Effects(kinds.pop()) if len(kinds) == 1 else self if kinds else Effects()

    @staticmethod
    def joined(parts: Sequence[tuple[int, Effects]]) -> Effects:
        """The effects of a batch from those of its consecutive parts, each given with its size."""
        if len({part.letters for _, part in parts}) == 1 and len(parts[0][1].letters) == 1:
            return parts[0][1]
        return Effects("".join(part.of_size(size) for size, part in parts)).simplified()

    def as_text(self) -> str:
        """Short text for a journal: each run of equal effects as its length and its letter (`200c3u`)."""
        if len(self.letters) == 1:
            return self.letters
        return "".join(f"{sum(1 for _ in run)}{letter}" for letter, run in groupby(self.letters))

    @staticmethod
    def from_text(text: str) -> Effects:
        """The reverse of `as_text`. Raises ValueError for what it has not written."""
        if text in _EFFECTS:
            return Effects(text)
        found, count = [], ""
        for sign in text:
            if sign.isdigit():
                count += sign
            elif sign in _EFFECTS and count:
                found.append(sign * int(count))
                count = ""
            else:
                raise ValueError(f"no effects: {text!r}")
        if count or not found:
            raise ValueError(f"no effects: {text!r}")
        return Effects("".join(found))


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
    #: what was changed at the destination; counts for delivered records only
    effects: Effects = Effects()
    #: what a person should know of the answers and that changes no outcome; the same words however many requests say it
    notices: tuple[str, ...] = ()

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
        effects = Effects.joined([(size, part.effects) for size, part in parts])
        notices = tuple(dict.fromkeys(notice for _, part in parts for notice in part.notices))
        return Outcomes(
            common, exceptions, identifiers=identifiers, request_id=request_id, effects=effects, notices=notices
        )


UNTOLD = Effects()


def readable(text: str) -> str:
    """The same with a replacement character for each half of one: what tools say when they cut text by UTF-16."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def shortened(text: str) -> str:
    """A destination's words, on one line and at most REASON_CHARACTERS_MAX long."""
    line = " ".join(text.split())
    return line if len(line) <= REASON_CHARACTERS_MAX else line[: REASON_CHARACTERS_MAX - 1] + "…"
