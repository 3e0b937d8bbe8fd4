"""What may be known of a record before it is sent, and which two of these may meet in one batch, for which class.

What is not here: schedules in which they meet (`pairing`), and who looks whether they did (`watching`).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations

from simulation.schedule import LETTERS, Letter

KINDS = ("added", "changed", "removed")
STATES: tuple[str, ...] = (
    "fresh", "earlier", "lost", "remembered", "expired", "removal",
    "waiting", "due", "suppressed", "settled", "doubted",
)  # fmt: skip
"""`fresh`: nothing was sent that is not answered. `earlier`: an earlier run sent something of it, and what became of
that is not known. `lost`: this very run sent it, and was not answered. `remembered`, `expired`: its create was sent
under a key that the tool surely knows, or may have forgotten. `removal`: an earlier run sent its removal, and was not
answered. `waiting`: refused before, and not to be sent in this run. `due`: refused before, and to be sent again.
`suppressed`: left out by policy before, and not to be sent. `settled`: this run has brought it to an end. `doubted`: an
older state was put back, so that it may have been sent."""
CLOSED = ("waiting", "suppressed", "settled")
"""Records that are not sent."""

Pair = tuple[str, str]
PAIRS: tuple[Pair, ...] = tuple(combinations(STATES, 2))
Cell = tuple[str, str, str]


def named(one: str, other: str) -> str:
    """How the coverage table calls a pair."""
    first, second = sorted((one, other), key=STATES.index)
    return f"{first} + {second}"


def reason(one: str, other: str, kind: str, letter: Letter) -> str:
    """Why two states cannot meet in a batch of this kind and class; empty where they can."""
    if letter == "D" and kind == "removed":
        return "D removed: an event is not taken back"
    if letter == "B" and kind == "added":
        return "B added: a key stands for one create, so each is sent alone"
    for state in (one, other):
        if found := _never(state, kind, letter):
            return found
    for state, beside in ((one, other), (other, one)):
        if state == "doubted" and beside in ("fresh", "earlier", "due"):
            return "doubted + fresh, earlier, due: the doubt is about every record that the run sends"
        if state == "doubted" and beside in ("waiting", "suppressed"):
            return "doubted + waiting, suppressed: a refusal of an older state keeps no record from being sent"
        if letter == "T" and state == "lost" and beside not in CLOSED:
            return "T lost + open: a table's batch is applied or not as a whole, so all that is sent of it is lost"
    return ""


def _never(state: str, kind: str, letter: Letter) -> str:
    """Why no record of this kind and class is in this state."""
    match state:
        case "remembered" | "expired" if letter != "B":
            return "remembered, expired: only class B has keys"
        case "remembered" | "expired" if kind == "changed":
            return "B changed remembered, expired: a create that is not answered is added again, or removed"
        case "earlier" if letter == "B" and kind == "removed":
            return "B removed earlier: a create that is not answered has its key"
        case "removal" if letter == "D":
            return "D removal: an event is not taken back"
        case "removal" if kind == "changed":
            return "changed removal: what may be gone is added again, or removed again"
        case "settled" if letter == "T":
            return "T settled: a table's batch ends as a whole"
    return ""


@cache
def meetings(letter: Letter) -> tuple[tuple[str, str, str], ...]:
    """The (state, state, kind) that can be, for a class."""
    return tuple((*pair, kind) for kind in KINDS for pair in PAIRS if not reason(*pair, kind, letter))


def cells() -> Iterator[Cell]:
    """The cells of the coverage table: (pair, kind, class)."""
    for letter in LETTERS:
        for one, other, kind in meetings(letter):
            yield named(one, other), kind, letter


def reasons() -> list[str]:
    """Why the other cells are empty."""
    found = {reason(*pair, kind, letter) for letter in LETTERS for kind in KINDS for pair in PAIRS}
    return sorted(found - {""})
