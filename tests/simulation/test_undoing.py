"""Schedules in which runs are taken back: where an undo may die, what it may not do, and what the oracle would say."""

from __future__ import annotations

import ast
import sys
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from claims import campaign as in_campaign
from claims import full
from simulation import oracle_undo
from simulation.coverage import impossible
from simulation.drawing import draw, undos_of
from simulation.oracle import Evidence
from simulation.oracle_undo import judge_undos
from simulation.play import Played, campaign, play
from simulation.schedule import LETTERS, Edit, Letter, Schedule, Stage
from simulation.undoing import TOLD, WHATS, reachable, reason

ROWS = (Edit(1, "a"), Edit(2, "b"), Edit(3, "c"))
THEIRS = (Edit(1, "theirs", 5), Edit(500, "theirs", 5))
EDITS = Stage(edits=(Edit(3, "z"), Edit(2, None), Edit(4, "n")))


def schedule(letter: Letter, *stages: Stage, told: bool = True) -> Schedule:
    theirs = THEIRS if letter in ("T", "A", "C") else THEIRS[1:]
    batch = 1 if letter == "B" else 2
    return Schedule(0, letter, batch, 1, "at_least_once", None, ROWS, stages, theirs=theirs, told=told)


def played(wanted: Schedule) -> Played:
    with campaign():
        return play(wanted)


def evidence_of(found: Played) -> Evidence:
    assert not found.findings
    assert found.evidence is not None
    return found.evidence


def statuses(evidence: Evidence) -> list[tuple[str, str]]:
    return [(report["label"], report.get("status", "")) for report in evidence.reports if report["label"] != "quiet"]


@pytest.mark.parametrize("letter", ["T", "A", "B", "C"])
def test_an_undo_may_die_at_its_steps(letter: Letter) -> None:
    """Killed amid it; the next run finishes the undo, and is held then. In CI at twice as many steps."""
    first, every = (4, 5) if full() or in_campaign() else (4 + 3 * LETTERS.index(letter), 10)
    with campaign():
        for step in range(first, 40, every):
            found = play(schedule(letter, Stage(), EDITS, Stage(undo=1, crash=step), Stage()))
            assert not found.findings, (step, found.findings)
            assert found.evidence is not None
            if not any(report.get("crashed") for report in found.evidence.reports):
                break


@pytest.mark.parametrize("letter", ["T", "A", "B", "C"])
def test_undone_twice_is_undone_once_and_a_run_is_held(letter: Letter) -> None:
    """The second undo sends nothing, nor does the run after it."""
    evidence = evidence_of(played(schedule(letter, Stage(), EDITS, Stage(undo=1), Stage(undo=1), Stage())))
    ends = [
        ("run", "succeeded"),
        ("run", "succeeded"),
        ("undo", "succeeded"),
        ("undo", "succeeded"),
        ("run", "blocked"),
    ]
    assert statuses(evidence) == ends
    assert not [line for line in evidence.requests if line["writes"] and line["stage"] in (3, 4)]
    assert [line["what"] for line in evidence.accepted if line["stage"] == 2]


@pytest.mark.parametrize("letter", ["T", "A", "B", "C"])
def test_what_a_later_run_made_again_is_not_taken_back_with_an_earlier_one(letter: Letter) -> None:
    """Taken back, made again by a run that somebody approved: that run's record, whatever it holds."""
    evidence = evidence_of(played(schedule(letter, Stage(), Stage(undo=0), Stage(approved=True), Stage(undo=0))))
    assert statuses(evidence)[-1] == ("undo", "succeeded")
    assert [line for line in evidence.accepted if line["stage"] == 2]
    assert not [line for line in evidence.requests if line["writes"] and line["stage"] == 3]


@pytest.mark.parametrize("told", [True, False])
def test_an_undo_removes_what_was_made_only_if_the_tool_tells_so(told: bool) -> None:
    """Class A. The record of somebody else's, and records of which nobody knows, stay."""
    evidence = evidence_of(played(schedule("A", Stage(), Stage(undo=0), told=told)))
    deleted = {line["key"] for line in evidence.accepted if line["what"] == "delete"}
    assert deleted == ({2, 3} if told else set())


def test_an_event_is_not_taken_back() -> None:
    """Class D: the undo fails with a reason, and sends nothing."""
    evidence = evidence_of(played(schedule("D", Stage(), Stage(undo=0))))
    assert statuses(evidence) == [("run", "succeeded"), ("undo", "failed")]
    assert evidence.reports[1]["error"]["code"] == "usage.not_reversible"
    assert not [line for line in evidence.requests if line["stage"] == 1]


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("which run_", {"what": "delete", "values": None}),
        ("and before", {"values": {"name": "other"}}),
        ("not mapped", {"values": {"note": "mine"}}),
        ("neither changed nor removed", {"key": 9, "rid": "r99", "values": {"id": 9}}),
    ],
)
def test_the_oracle_sees_an_undo_that_does_more(word: str, wrong: dict[str, object]) -> None:
    """A line of the log that an undo must not leave there."""
    evidence = evidence_of(played(schedule("T", Stage(), Stage(undo=0))))
    (given,) = (line for line in evidence.accepted if line["stage"] == 1 and line["key"] == 1)
    lines = [{**line, **wrong} if line is given else line for line in evidence.accepted]
    assert not judge_undos(evidence)
    assert any(word in finding for finding in judge_undos(replace(evidence, accepted=lines)))


def test_the_oracle_sees_what_is_sent_again_and_what_is_taken_back_twice() -> None:
    """A run that nobody had approved, and a second undo that writes."""
    evidence = evidence_of(played(schedule("T", Stage(), EDITS, Stage(undo=1), Stage(approved=True))))
    assert not judge_undos(evidence)
    assert any(each.startswith("sent again") for each in judge_undos(replace(evidence, approved={})))
    (undo,) = evidence.undone
    again = {"run_again": evidence.undone[undo], **evidence.undone}
    repeated = [
        each
        for line in evidence.accepted
        for each in ([line, {**line, "run": "run_again"}] if line["run"] == undo and line["values"] else [line])
    ]
    assert any(each.startswith("twice") for each in judge_undos(replace(evidence, accepted=repeated, undone=again)))


def test_each_cell_of_undos_can_be_met_or_has_a_reason_why_not() -> None:
    """One that is met against its reason fails the campaign."""
    can = set(reachable())
    for letter, what, told in product(LETTERS, WHATS, TOLD):
        assert ((f"undo: {what}", told, letter) in can) == (not reason(what, told, letter))
    wrong = ("undo: made", "told", "D")
    assert impossible(Counter({wrong: 1, ("undo: made", "told", "T"): 1})) == [wrong]


def test_schedules_with_undos_are_drawn_of_every_class_told_and_untold() -> None:
    drawn = [draw(seed) for seed in range(600) if undos_of(seed) is not None]
    assert {(each.letter, each.told) for each in drawn} >= {(letter, True) for letter in LETTERS}
    assert all(any(stage.undo is not None for stage in each.stages) for each in drawn)


def test_the_oracle_of_undos_imports_only_the_standard_library() -> None:
    """It cannot share a mistake with what it judges."""
    tree = ast.parse(Path(oracle_undo.__file__).read_text(encoding="utf-8"))
    imported = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported += [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names
