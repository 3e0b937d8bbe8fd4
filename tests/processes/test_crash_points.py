"""H3, H6: a real run is killed at every step that outlives it; the next start needs no person, and nothing is wrong.

docs/internals/crash-points.md says what a step is, and where the list of them comes from.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import claims
from processes.command import Commands, Strike
from processes.destination import Destination
from processes.matrix import Matrix
from processes.worlds import LANES, Letter, World

LETTERS: tuple[Letter, ...] = ("T", "T append", "T duckdb", "A", "B", "C", "D", "D once")
SCENARIOS = ("first", "change")
PAIRS_FULL = int(os.environ.get("LEVADA_PAIRS", "40"))
"""Pairs of crash points for each class and scenario in the full size."""
WINDOW = 128
"""How many batches of class A may be under way or not yet remembered."""
AGAIN_MAX = {"T": 0, "T append": 0, "T duckdb": 0, "T postgres": 0, "A": WINDOW}
"""How many batches of dead processes a start may send again; the lanes, where nothing is said."""


def judged(matrix: Matrix, figure: claims.Figure) -> None:
    """Nothing is wrong in any case; says how many there were."""
    letter = matrix.world.letter
    assert not matrix.bad, f"{len(matrix.bad)} findings, the first: " + "\n".join(matrix.bad[:5])
    assert matrix.again <= AGAIN_MAX.get(letter, LANES), matrix.most
    drawn = "" if claims.full() else " (drawn)"
    figure(
        "H3",
        f"class {letter}: {matrix.cases - matrix.pairs:,} crash points{drawn} and {matrix.pairs:,} pairs (drawn), "
        f"kinds of steps struck {len(matrix.struck)} of {len(matrix.steps | matrix.struck)}: 0 bad",
    )
    unit = "rows" if letter.startswith("T") else f"batches over {LANES} lanes"
    figure("H6", f"class {letter}: at most {matrix.again} {unit} sent again over {matrix.cases:,} crash cases")


@pytest.mark.claim("H3")
@pytest.mark.claim("H6")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", LETTERS)
def test_killed_at_any_step_the_next_start_finishes_and_nothing_is_wrong(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Nothing lost, doubled or stale; reports that add up; no operator; no write in the run after."""
    matrix = Matrix(World(letter, tmp_path / "project", server), forge, tmp_path)
    chance = random.Random(f"crash points {letter}")
    for scenario in SCENARIOS:
        if claims.full():
            matrix.all(scenario, chance, points=None, pairs=PAIRS_FULL)
        elif scenario == "change":
            matrix.all(scenario, chance, points=2, pairs=1)
        elif letter in ("T", "C"):
            matrix.all(scenario, chance, points=1, pairs=0)
    judged(matrix, figure)


def test_killed_while_a_duckdb_file_is_made(forge: Commands, server: Destination, tmp_path: Path) -> None:
    """DuckDB writes a new file in three pieces, and opens no half of one: for ever, the next starts could not write."""
    matrix = Matrix(World("T duckdb", tmp_path / "project", server), forge, tmp_path)
    start = matrix.begin("first")
    making = [step for step in matrix.steps_of(start) if step.where.startswith(".there.") or step.call == "link"]
    assert [step.call for step in making][:3] == ["open", "pwrite", "pwrite"]
    for place, step in enumerate(making):
        matrix.one(start, [Strike(step.number)], edit=place % 2 == 1)
    assert not matrix.bad, "\n".join(matrix.bad)


@pytest.mark.claim("H3")
@pytest.mark.claim("H6")
@pytest.mark.timeout(4 * 3600)
def test_killed_at_any_step_of_writing_to_postgres(
    forge: Commands, server: Destination, tmp_path: Path, postgres_url: str, figure: claims.Figure
) -> None:
    """The same with a real database server: rows and mark are one transaction, whatever was under way."""
    matrix = Matrix(World("T postgres", tmp_path / "project", server, postgres_url), forge, tmp_path)
    matrix.all(
        "first", random.Random("postgres"), points=None if claims.full() else 3, pairs=20 if claims.full() else 1
    )
    judged(matrix, figure)


MANY = {n: {"id": n, "name": f"p{n}", "score": n} for n in range(1, 401)}


@pytest.mark.claim("H6")
@pytest.mark.timeout(3600)
def test_a_killed_run_of_many_batches_sends_at_most_one_window_again(
    forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Class A runs ahead of its journal by a window of batches, and never by more."""
    world = World("A", tmp_path / "project", server, lanes=4, batch=1, first=MANY)
    matrix = Matrix(world, forge, tmp_path)
    start = matrix.begin("first")
    chance = random.Random("window")
    again = []
    for _ in range(40 if claims.full() else 1):
        matrix.again = 0
        strike = Strike(chance.randrange(len(MANY) // 4, len(MANY)), after=True, only="recv")
        matrix.one(start, [strike], edit=False)
        again.append(matrix.again)
    assert not matrix.bad, "\n".join(matrix.bad)
    assert max(again) <= WINDOW
    figure(
        "H6",
        f"class A with {len(MANY)} batches over 4 lanes, window {WINDOW}: at most {max(again)} batches sent again "
        f"over {len(again)} crash points",
    )
