"""After a lost answer: only the records concerned wait until it can no longer be applied, in every class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from simulation.museum import MUTANTS, Mutant
from simulation.play import Played, campaign, play
from simulation.schedule import Edit, Letter, Schedule, Stage
from simulation.server import SERVER_SECONDS

AT_ONCE_SECONDS = 5
LOST = Stage(edits=(Edit(1, "z"),), faults=((0, "late"),))
NEWER = Stage(edits=(Edit(1, "y"), Edit(2, "y"), Edit(4, "n")))


def schedule(letter: Letter, *stages: Stage, batch: int = 1, lanes: int = 1) -> Schedule:
    rows = (Edit(1, "a"), Edit(2, "b"), Edit(3, "c"))
    return Schedule(0, letter, batch, lanes, "at_least_once", None, rows, stages)


def times(found: Played, stage: int) -> dict[int, float]:
    """When the sync's last effect on each key came in a stage, in seconds after the stage's first request."""
    assert found.evidence is not None
    begun = min(line["at"] for line in found.evidence.requests if line["stage"] == stage)
    lines = [line for line in found.evidence.accepted if line["stage"] == stage and line["by"] == "sync"]
    return {line["key"]: line["at"] - begun for line in lines}


def report(found: Played, stage: int) -> Mapping[str, Any]:
    assert found.evidence is not None
    return [one for one in found.evidence.reports if one["stage"] == stage][-1]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("letter", ["A", "B", "C", "D"])
def test_only_the_record_whose_end_is_open_waits(letter: Letter, batch: int) -> None:
    """A change of key 1 is lost, and may be applied late. The next run sends the others at once, also those of the
    same batch, and key 1 once that is past; and it says so."""
    with campaign():
        found = play(schedule(letter, Stage(), LOST, NEWER, batch=batch))
    assert not found.findings
    at = times(found, 2)
    assert max(at[2], at[4]) < AT_ONCE_SECONDS < at[1]
    (wait,) = report(found, 2)["waited"]
    assert (wait["reason"], wait["records"], wait["option"]) == ("hold", 1, "max_server_seconds")
    assert AT_ONCE_SECONDS < wait["seconds"] <= SERVER_SECONDS + AT_ONCE_SECONDS
    assert f"max_server_seconds: {SERVER_SECONDS:g}" in wait["message"]


@pytest.mark.parametrize("letter", ["A", "B", "C", "D"])
def test_a_run_that_has_nothing_for_those_records_waits_for_nothing(letter: Letter) -> None:
    """The record whose request was lost was sent again by the same run, and does not change any more."""
    lost = replace(LOST, edits=(Edit(1, "answered"), Edit(3, "lost")), faults=((1, "late"),))
    with campaign():
        found = play(schedule(letter, Stage(), lost, Stage(edits=(Edit(2, "y"), Edit(4, "n")))))
    assert not found.findings
    assert max(times(found, 2)[key] for key in (2, 4)) < AT_ONCE_SECONDS
    assert "waited" not in report(found, 2)


def test_after_a_kill_the_rest_of_the_plan_goes_first() -> None:
    """Class C: a create that may have been sent is looked up once it can be found; the others are sent meanwhile."""
    edits = tuple(Edit(key, "n") for key in range(10, 16))
    waited = 0
    with campaign():
        for crash in range(8, 30):
            found = play(schedule("C", Stage(), Stage(edits=edits, crash=crash), Stage()))
            assert not found.findings, (crash, found.findings)
            told = [one.get("waited") for one in (report(found, 2), *report(found, 2).get("resumed", ()))]
            if any(told):
                waited += 1
                at = sorted(times(found, 2).values())
                assert all(moment < AT_ONCE_SECONDS for moment in at[:-1]), (crash, at)
    assert waited


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if "(E10)" in each.like], ids=lambda each: each.name)
def test_a_neighbour_that_sends_too_early_is_caught(mutant: Mutant) -> None:
    """Key 1's newer value goes at once, the lost one comes after it, and the oracle sees it."""
    with campaign(), mutant.alive():
        found = play(schedule("A", Stage(), LOST, NEWER))
    assert any(finding.startswith("backwards") for finding in found.findings)
