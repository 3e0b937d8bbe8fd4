"""A campaign of schedules over several processes, and the replay of one."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TextIO

from claims import note
from simulation.coverage import Cell, impossible, reachable, table
from simulation.drawing import aim_of
from simulation.play import Played, campaign, of_seed, play, shrunk

CHUNK = 20
SAY_SECONDS = 60
Found = tuple[int, list[tuple[int, list[str]]], Counter[Cell], Counter[str]]


def _chunk(work: tuple[Sequence[int], int]) -> Found:
    seeds, rows = work
    cells: Counter[Cell] = Counter()
    points: Counter[str] = Counter()
    failed = []
    with campaign():
        for seed in seeds:
            played = play(of_seed(seed, rows))
            cells += played.cells
            points += played.points
            if played.findings:
                failed.append((seed, played.findings))
    return len(seeds), failed, cells, points


def command(seed: int, rows: int) -> str:
    """What replays a schedule."""
    return f"PYTHONPATH=tests .venv/bin/python -m simulation --seed {seed} --rows {rows}"


def told(played: Played, rows: int, out: TextIO) -> None:
    """One schedule, its evidence, and what is wrong with it."""
    print(f"schedule: {played.schedule}", file=out)
    evidence = played.evidence
    assert evidence is not None
    for name in ("history", "reports", "accepted", "requests", "held"):
        for line in getattr(evidence, name):
            print(f"{name}: {json.dumps(line, ensure_ascii=False)}", file=out)
    for finding in played.findings:
        print(f"FOUND {finding}", file=out)
    print(f"replay: {command(played.schedule.seed, rows)}", file=out)


def replay(seed: int, rows: int, *, small: bool) -> int:
    with campaign():
        played = play(of_seed(seed, rows))
        if played.findings and small:
            played = shrunk(played)
    told(played, rows, sys.stdout)
    return 1 if played.findings else 0


def wanted(seeds: range) -> set[Cell]:
    """The cells that a campaign must reach: the faults that its schedules aim at; of a large one all there are."""
    return {*reachable(len(seeds)), *(cell for seed in seeds if (cell := aim_of(seed)) is not None)}


def run_campaign(first: int, seeds: int, rows: int, jobs: int) -> int:
    began = time.monotonic()
    chunks = [(range(start, min(start + CHUNK, first + seeds)), rows) for start in range(first, first + seeds, CHUNK)]
    cells: Counter[Cell] = Counter()
    points: Counter[str] = Counter()
    failed: list[tuple[int, list[str]]] = []
    done, said = 0, began
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=20) as pool:
        for count, bad, met, passed in pool.imap_unordered(_chunk, chunks):
            done += count
            cells += met
            points += passed
            failed += bad
            for seed, findings in bad:
                print(f"seed {seed}: {findings[0]}\n  replay: {command(seed, rows)}", flush=True)
            if time.monotonic() - said > SAY_SECONDS:
                said = time.monotonic()
                print(f"{done:,} of {seeds:,} schedules, {len(failed)} failures", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    print(table(cells))
    print("steps at which a process may die:", ", ".join(f"{name} {count:,}" for name, count in sorted(points.items())))
    to_reach = wanted(range(first, first + seeds))
    missing, wrong = sorted(cell for cell in to_reach if not cells[cell]), impossible(cells)
    print(
        f"{done:,} schedules, seeds {first} to {first + seeds - 1}, {len(failed)} failures, "
        f"{len(missing)} empty cells of {len(to_reach):,}, "
        f"{seconds:.0f} s ({done / seconds:.1f} schedules a second)"
    )
    note(
        "H1",
        f"{done:,} schedules (seeds {first} to {first + seeds - 1}): {len(failed)} failures, "
        f"{len(missing)} of {len(to_reach):,} cells empty",
    )
    for word, found in (("EMPTY", missing), ("MET, and said to be impossible", wrong)):
        if found:
            print(f"{word}:", ", ".join("/".join(cell) for cell in found))
    return 1 if failed or missing or wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this one schedule and show everything")
    parser.add_argument("--small", action="store_true", help="with --seed: shrink it first, if it fails")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed of a campaign")
    parser.add_argument("--seeds", type=int, default=2_000, help="how many schedules")
    parser.add_argument("--rows", type=int, default=12, help="the most rows that a model begins with")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    given = parser.parse_args()
    if given.seed is not None:
        return replay(given.seed, given.rows, small=given.small)
    return run_campaign(given.first, given.seeds, given.rows, given.jobs)
