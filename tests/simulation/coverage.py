"""Which faults a campaign met, in which state of an operation, for which class, which pairs of states met in a batch,
and what undos met; and what it should have met. What is not here: which pairs (`pairs`) and undos (`undoing`) there
are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from simulation import pairs, undoing
from simulation.schedule import (
    DEEDS,
    LETTERS,
    REQUEST_FAULTS,
    RUN_FAULTS,
    STAGE_FAULTS,
    WRITER_FAULTS,
    WRITER_WEATHER,
    Letter,
)

Cell = tuple[str, str, str]
STATES: tuple[str, ...] = ("added", "changed", "removed", "resent", "resumed", "look-up")
"""What a request carries. `resent`: a record whose earlier answer was lost; `resumed`: a run goes on after a crash."""
RUN = "run"
"""The state of what happens to a run as a whole."""
ENFORCED_FROM = 2_000
"""So many consecutive seeds hold at least one aim at every fault."""
PAIRS_ENFORCED_FROM = 2_500
"""So many hold at least one aim at every pair."""
HARMLESS_TO_LOOK_UPS = ("refuse_record", "refuse_batch", "half", "fewer", "poison")
"""Faults of writes; a look-up that leaves records out is one that no sender can see through."""


def cells_of(letter: Letter) -> Iterator[Cell]:
    """Every cell of a class that a campaign of ENFORCED_FROM schedules must reach."""
    for fault in (*RUN_FAULTS, *(f"person_{deed}" for deed in DEEDS)):
        yield fault, RUN, letter
    faults = (*WRITER_FAULTS, *WRITER_WEATHER) if letter == "T" else (*REQUEST_FAULTS, *STAGE_FAULTS)
    for fault in faults:
        for state in STATES:
            if _exists(fault, state, letter):
                yield fault, state, letter


def _exists(fault: str, state: str, letter: Letter) -> bool:
    if state == "look-up" and (letter != "C" or fault in HARMLESS_TO_LOOK_UPS):
        return False
    if state == "removed" and letter == "D":
        return False
    if fault == "shuffled":  # wants several records in one request
        return letter in ("A", "D") or (letter == "C" and state not in ("changed", "removed"))
    return not (letter == "B" and fault == "quota" and state in ("resent", "resumed"))  # a day outlives a key


def faults() -> Iterator[Cell]:
    for letter in LETTERS:
        yield from cells_of(letter)


def reachable(seeds: int = PAIRS_ENFORCED_FROM) -> Iterator[Cell]:
    """Every cell that so many schedules must reach."""
    if seeds >= ENFORCED_FROM:
        yield from faults()
        yield from undoing.reachable()
    if seeds >= PAIRS_ENFORCED_FROM:
        yield from pairs.cells()


def impossible(cells: Counter[Cell]) -> list[Cell]:
    """Pairs that met, and undos of what they are said not to meet: a reason is wrong."""
    given = {cell for cell in cells if "+" in cell[0] or cell[0].startswith("undo: ")}
    return sorted(given - set(pairs.cells()) - set(undoing.reachable()))


def table(cells: Counter[Cell]) -> str:
    """The counts: one line for each fault and state, or for each pair of states and kind; a column for each
    class."""
    undos = {cell for cell in cells if cell[0].startswith("undo: ")} | set(undoing.reachable())
    met = {cell for cell in cells if "+" in cell[0]}
    return "\n".join(
        (
            *_table(cells, {*faults(), *(set(cells) - met - undos)}, "fault", "state"),
            "",
            *_table(cells, undos, "a run taken back had", "and is"),
            *(f"· {reason}" for reason in undoing.reasons()),
            "",
            *_table(cells, {*pairs.cells(), *met}, "met in a batch", "kind"),
            *(f"· {reason}" for reason in pairs.reasons()),
        )
    )


def _table(cells: Counter[Cell], shown_cells: set[Cell], what: str, where: str) -> Iterator[str]:
    rows = sorted({(fault, state) for fault, state, _ in shown_cells}, key=lambda row: (row[1] == RUN, row))
    wanted = set(reachable())
    yield f"{what:<22} {where:<9}" + "".join(f"{letter:>8}" for letter in LETTERS)
    for fault, state in rows:
        shown = []
        for letter in LETTERS:
            count = cells[fault, state, letter]
            shown.append(f"{count:>8,}" if count or (fault, state, letter) in wanted else f"{'·':>8}")
        yield f"{fault:<22} {state:<9}" + "".join(shown)
