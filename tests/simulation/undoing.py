"""Schedules in which runs are taken back, and what their undos met.

All are structured alike: a run over records of somebody else's, one that changes, removes and adds, then undos and runs
in any order, also of undos, with faults in the middle. What is not here: the judging (`oracle_undo`).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from simulation.schedule import LETTERS, REQUEST_FAULTS, WRITER_FAULTS, Edit, Letter, Schedule, Stage

WHATS = ("made", "taken over", "changed", "removed")
"""What the run that is taken back had done to a record."""
TOLD = ("told", "untold")
REASONS = {
    ("BCD", "", "untold"): "creates, updates and deletes tell by themselves what they do",
    ("T", "", "untold"): "a table tells the effect of every record",
    ("B", "taken over", ""): "class B looks nothing up, so that it takes nothing over",
    ("D", "", ""): "an event is not taken back: such an undo is refused",
}
"""Why an undo does not meet something: by classes, what was done, and whether it is told; empty: all of them."""


def reason(what: str, told: str, letter: Letter) -> str:
    """Why an undo of this class cannot meet it; empty if it can."""
    for (letters, done, said), why in REASONS.items():
        if letter in letters and done in ("", what) and said in ("", told):
            return why
    return ""


def reasons() -> Iterator[str]:
    """All of them, each with what it is about."""
    for (letters, what, told), why in REASONS.items():
        yield f"{', '.join(letters)} {what or told or 'all'}: {why}"


def reachable() -> Iterator[tuple[str, str, str]]:
    for letter in LETTERS:
        for what in WHATS:
            for told in TOLD:
                if not reason(what, told, letter):
                    yield f"undo: {what}", told, letter


def cells(evidence: Any, *, told: bool) -> Counter[tuple[str, str, str]]:
    """What was done by the runs that undos took back, a record each, as the destination's log tells it."""
    found: Counter[tuple[str, str, str]] = Counter()
    if not evidence.undone:
        return found
    reports = [each for report in evidence.reports for each in (report, *report.get("resumed", ()))]
    ended = {each["run_id"] for each in reports if each.get("status") in ("succeeded", "partial")}
    undone = {run for undo, run in evidence.undone.items() if undo in ended}
    there: set[str] = set()
    ours: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for line in evidence.accepted:
        rid, run = line["rid"], line["run"]
        if run in undone and (run, rid) not in seen:
            seen.add((run, rid))
            changed = "changed" if rid in ours else "taken over"
            what = "removed" if line["what"] == "delete" else changed if rid in there else "made"
            found[f"undo: {what}", TOLD[evidence.letter == "A" and not told], evidence.letter] += 1
        there.add(rid)
        if line["by"] == "sync":
            ours.add(rid)
    return found


def drawn(seed: int, chance: random.Random, number: int) -> Schedule:
    """The `number`th of its class."""
    letter = LETTERS[seed % len(LETTERS)]
    count = chance.randint(3, 6)
    rows = tuple(Edit(key, chance.choice("abc"), chance.choice((None, 0, 7))) for key in range(1, count + 1))
    theirs: tuple[Edit, ...] = (Edit(500, "theirs", 5),)
    if letter in ("T", "A", "C"):
        theirs += (Edit(1, "theirs", chance.choice((None, 1))), Edit(2, "theirs", 7))
    edits = (Edit(chance.choice((1, 3)), "new", 1), Edit(2, None), Edit(count + 1, "n"))
    stages = [_troubled(Stage(), letter, chance, 0.2), _troubled(Stage(edits=edits), letter, chance, 0.2)]
    if number % 3 == 0:
        stages.append(Stage(edits=(Edit(1, "later", 2), Edit(3, "later", None))))
    first = number % 2
    stages.append(_troubled(Stage(undo=first), letter, chance, 0.6))
    stages.append(_troubled(Stage(undo=1 - first), letter, chance, 0.2))
    for _ in range(chance.choice((0, 1, 2))):
        stages.append(_troubled(_more(chance, stages, count), letter, chance, 0.4))
    return Schedule(
        seed=seed,
        letter=letter,
        batch=chance.choice((2, 3, 4)) if letter != "B" else 1,
        lanes=chance.choice((1, 2)),
        repeats="at_least_once",
        rate=None,
        rows=rows,
        stages=tuple(stages),
        mode="upsert" if letter in ("T", "A", "C") and number % 5 == 4 else "mirror",
        theirs=theirs,
        told=number // 2 % 2 == 0,
    )


def _more(chance: random.Random, stages: Sequence[Stage], count: int) -> Stage:
    """One more stage: a run, or an undo of an earlier one, often of the last."""
    if chance.random() < 0.6:
        return Stage(undo=chance.choice((len(stages) - 1, *range(len(stages)))))
    edits = tuple(Edit(chance.randint(1, count), chance.choice("abc"), 3) for _ in range(chance.choice((0, 0, 1))))
    return Stage(edits=edits, approved=chance.random() < 0.5)


def _troubled(stage: Stage, letter: Letter, chance: random.Random, share: float) -> Stage:
    """With some chance something goes wrong: at a request, or with the process, or both."""
    kinds = WRITER_FAULTS if letter == "T" else REQUEST_FAULTS
    if chance.random() >= share:
        return stage
    if chance.random() < 0.7:
        faults = {chance.choice((0, 0, 1, 1, 2, 3)): chance.choice(kinds) for _ in range(chance.choice((1, 1, 2)))}
        stage = replace(stage, faults=tuple(sorted(faults.items())))
    if chance.random() < 0.5:
        end = chance.choice(("crash", "crash", "torn", "full"))
        stage = replace(stage, **{end: chance.randint(0, 40)})  # type: ignore[arg-type]
    return stage
