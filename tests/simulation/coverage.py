"""Which faults a campaign met, in which state of an operation, for which class; and which it should have met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from simulation.schedule import LETTERS, REQUEST_FAULTS, RUN_FAULTS, STAGE_FAULTS, WRITER_FAULTS

Cell = tuple[str, str, str]
STATES: tuple[str, ...] = ("added", "changed", "removed", "resent", "resumed", "look-up")
"""What a request carries. `resent`: a record whose earlier answer was lost; `resumed`: a run goes on after a crash."""
ENFORCED_FROM = 10_000
"""Rare cells (a lost answer to a removal of class A) are met for sure only by campaigns of this size."""


def reachable() -> Iterator[Cell]:
    """Every cell that a campaign of ENFORCED_FROM schedules must reach."""
    for letter in LETTERS:
        for fault in RUN_FAULTS:
            yield fault, "run", letter
        for deed in ("person_add", "person_edit", "person_delete"):
            yield deed, "run", letter
        if letter == "T":
            for fault in WRITER_FAULTS:
                for state in ("added", "changed", "removed", "resent", "resumed"):
                    yield fault, state, letter
            continue
        weathers = [fault for fault in STAGE_FAULTS if not (letter == "B" and fault == "quota")]
        for fault in (*REQUEST_FAULTS, *weathers):
            for state in STATES:
                if state == "look-up" and (letter != "C" or fault in ("refuse_batch",)):
                    continue
                if state == "removed" and letter == "D":
                    continue
                yield fault, state, letter


def empty(cells: Counter[Cell]) -> list[Cell]:
    return [cell for cell in reachable() if not cells[cell]]


def table(cells: Counter[Cell]) -> str:
    """The counts: one line for each fault and state, one column for each class."""
    wanted = set(reachable())
    pairs = sorted({(fault, state) for fault, state, _ in (*wanted, *cells)}, key=lambda pair: (pair[1] == "run", pair))
    lines = [f"{'fault':<18} {'state':<9}" + "".join(f"{letter:>8}" for letter in LETTERS)]
    for fault, state in pairs:
        shown = []
        for letter in LETTERS:
            count = cells[fault, state, letter]
            shown.append(f"{count:>8,}" if count or (fault, state, letter) in wanted else f"{'·':>8}")
        lines.append(f"{fault:<18} {state:<9}" + "".join(shown))
    return "\n".join(lines)
