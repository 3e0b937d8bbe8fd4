"""Schedules in which records in two given states, and often in more, meet in one batch.

Some runs before the meeting bring each record into its state; a record whose state begins in the very run that meets is
brought there by an outage in the middle of its batch, and meets when the run is resumed. What is not here: which
states there are (`pairs`), and which seed aims at which pair (`drawing`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Literal

from simulation.pairs import STATES, meetings, reason
from simulation.schedule import Edit, Letter, Schedule, Stage

Mode = Literal["mirror", "upsert", "insert"]
MORE_MAX = 3
"""So many states besides the two that are aimed at."""
FILLER, SPARE, VOUCHER, HELPER, FIRST, APART, REFUSED, LATE = 1, 20, 40, 60, 100, 200, 300, 900
"""Keys: a row that changes in every run, rows that leave, rows that come, rows that answer for class B, the records
that meet, rows between them, and those of them that were refused; then one that comes when what an older state will not
know is sent."""
COMPANION = "companion"
"""A fresh record whose sending the outage meets."""
BEFORE = {"earlier": 1, "remembered": 1, "expired": 2, "removal": 1, "due": 1, "waiting": 2, "suppressed": 2}
"""How many runs before the meeting a state begins."""
REPEATS: tuple[Literal["at_least_once", "at_most_once"], ...] = ("at_least_once", "at_most_once")
REFUSALS = {"due", "waiting", "suppressed"}
UNHEARD = {"earlier", "remembered", "expired", "removal"}
KEY_FORGOTTEN_SECONDS = 200_000.0
ORDER = ("settled", "lost", COMPANION)
"""What comes first in the batch: the outage meets the companion when these have their end."""


@dataclass(slots=True)
class _Run:
    """A stage that is being put together."""

    edits: list[Edit] = field(default_factory=list)
    fates: list[tuple[int, str]] = field(default_factory=list)


def meeting(one: str, other: str, kind: str, letter: Letter, seed: int, chance: random.Random) -> Schedule:
    """A schedule in which the two states meet, whatever is drawn."""
    states = _with_more([one, other], kind, letter, chance)
    resumed = bool({"settled", "lost"} & set(states))
    if resumed:
        states.append(COMPANION)
    states.sort(key=(*ORDER, *STATES).index if resumed else STATES.index)
    states.sort(key=lambda state: ORDER.index(state) if state in ORDER else len(ORDER))
    keys = {(REFUSED if state in REFUSALS else FIRST) + place: state for place, state in enumerate(states)}
    count = max((BEFORE.get(state, 0) for state in states), default=0)
    runs = [_Run() for _ in range(count + 1)]
    base = [Edit(FILLER, "filler"), *(Edit(SPARE + number, "spare") for number in range(count))]
    for number, run in enumerate(runs[:-1]):
        run.edits += [Edit(FILLER, f"filler {number}"), Edit(SPARE + number, None), Edit(VOUCHER + number, "voucher")]
    for key, state in keys.items():
        _brought(key, state, kind, runs, base, letter, chance, applied=not resumed and chance.random() < 0.7)
    if letter == "B":
        _helped(set(states), runs, base)
    batch = len(keys) + chance.choice((0, 0, 1))
    if "doubted" in states:  # then every row that there is counts as changed
        batch = len(keys) + len(base) + count + 2 if kind == "changed" else len(keys) + 2
    if REFUSALS & set(states) and UNHEARD & set(states):
        _kept_apart(kind, runs, base, batch)
    stages = [Stage(edits=tuple(run.edits), fates=tuple(run.fates)) for run in runs]
    if "expired" in states:
        stages[-2] = replace(stages[-2], wait_seconds=KEY_FORGOTTEN_SECONDS)
    return Schedule(
        seed=seed,
        letter=letter,
        batch=batch,
        lanes=1,
        repeats="at_least_once" if resumed and "doubted" in states else chance.choice(REPEATS),
        rate=None,
        rows=tuple(base),
        stages=_staged(stages, chance, doubted="doubted" in states, resumed=resumed),
        mode=_mode(states, kind, letter, chance),
        bulk=letter in ("B", "C") and (kind != "added" or chance.random() < 0.3),
    )


def _with_more(states: list[str], kind: str, letter: Letter, chance: random.Random) -> list[str]:
    """Further states that can meet with all of these. A removal beside a create rules mode insert out, in which class
    C has most to lose: rarely."""
    possible = {state for *pair, each in meetings(letter) if each == kind for state in pair}
    if kind == "added" and chance.random() < 0.8:
        possible -= {"removal"} - set(states)
    for state in chance.sample(sorted(possible - set(states)), k=min(MORE_MAX, len(possible) - 2)):
        if not any(reason(state, beside, kind, letter) for beside in states):
            states = [*states, state]
    return states


def _mode(states: list[str], kind: str, letter: Letter, chance: random.Random) -> Mode:
    if kind == "removed" or "removal" in states or letter == "D":
        return "mirror"
    if kind == "changed" or letter not in ("C", "T"):
        return chance.choice(("mirror", "upsert"))
    return chance.choice(("mirror", "upsert", "insert", "insert", "insert", "insert"))


def _staged(stages: list[Stage], chance: random.Random, *, doubted: bool, resumed: bool) -> tuple[Stage, ...]:
    """With the run that an older state will not know of before the meeting, and the one that goes on after it."""
    *before, met = [Stage(), *stages]
    if doubted:
        before[-1] = replace(before[-1], copied=True)
        before.append(Stage(edits=(Edit(FILLER, "not known"), Edit(LATE, "late"))))
        met = replace(met, restored=True)
    if resumed:
        return (*before, met, Stage())
    return (*before, replace(met, wait_seconds=max(met.wait_seconds, chance.choice((0.0, 30.0)))))


def _brought(
    key: int, state: str, kind: str, runs: list[_Run], base: list[Edit], letter: Letter, chance: random.Random,
    *, applied: bool,
) -> None:  # fmt: skip
    """What brings one record into its state: in the last of `runs` it is operated on as the kind says."""
    last = len(runs) - 1
    begins = last - BEFORE.get(state, 0)
    unheard = "unheard_after" if applied else "unheard_before"
    asked = Edit(key, None) if kind == "removed" else Edit(key, f"{kind} {key}", chance.choice((None, 0, 7)))
    held = Edit(key, f"held {key}", 7)
    match state:
        case "removal":
            base.append(held)
            runs[begins].edits.append(Edit(key, None))
            runs[begins].fates.append((key, "unheard_before" if kind == "removed" and not applied else "unheard_after"))
            if kind == "added":
                runs[last].edits.append(asked)
            if letter == "B":
                runs[last].fates.append((key, "unheard_before"))
        case "earlier" | "remembered" | "expired" if kind == "removed":
            runs[begins].edits.append(held)
            runs[begins].fates.append((key, unheard))
            runs[last].edits.append(asked)
            if state == "remembered":
                runs[last].fates.append((key, unheard))
        case "earlier":
            base += [held] if kind == "changed" else []
            runs[begins].edits.append(asked)
            runs[begins].fates.append((key, unheard))
        case "due" | "waiting" | "suppressed":
            base += [held] if kind != "added" else []
            runs[begins].edits.append(asked)
            fate = "refused" if state != "suppressed" else state
            for run in runs[begins:last]:
                run.fates.append((key, fate))
        case _:
            base += [held] if kind != "added" else []
            runs[last].edits.append(asked)
            runs[last].fates += [(key, fate) for fate in _fates(state, unheard)]


def _kept_apart(kind: str, runs: list[_Run], base: list[Edit], batch: int) -> None:
    """Before the meeting, rows between those that are refused and those that are not answered for: what is refused in
    one batch with these counts as sent and not answered, too."""
    for number, run in enumerate(runs[:-1]):
        for place in range(batch):
            key = APART + place + (0 if kind == "changed" else number * batch)
            base += [Edit(key, "apart")] if kind == "removed" or (kind == "changed" and not number) else []
            run.edits.append(Edit(key, None if kind == "removed" else f"apart {number}"))


def _fates(state: str, unheard: str) -> tuple[str, ...]:
    """In the run that an outage cuts off."""
    return {"settled": ("together",), "lost": ("together", unheard), COMPANION: ("together", "away")}.get(state, ())


def _helped(states: set[str], runs: list[_Run], base: list[Edit]) -> None:
    """Class B asks again before it plans: a tool that then answered for no record at all would be taken for away."""
    if "removal" in states:
        base.append(Edit(HELPER, "helper"))
        runs[-2].edits.append(Edit(HELPER, None))
        runs[-2].fates.append((HELPER, "unheard_before"))
    if "remembered" in states:
        runs[-2].edits.append(Edit(HELPER + 1, "helper"))
        runs[-2].fates.append((HELPER + 1, "unheard_before"))
