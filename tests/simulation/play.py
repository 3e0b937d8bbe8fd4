"""Plays one schedule and hands the evidence to the oracle; shrinks one that fails."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import levada.runner.run
from levada.planners.local import LocalPlanner
from levada.runner.heartbeat import Heartbeat
from levada.stores.sqlite import SqliteStore
from simulation import undoing
from simulation.connectors import Signed, declared
from simulation.drawing import draw
from simulation.duck import shared
from simulation.oracle import Evidence, judge
from simulation.oracle_undo import judge_undos
from simulation.outside import Token
from simulation.pieces import read_in_pieces
from simulation.planning import PlainPlanner
from simulation.schedule import LETTERS, Schedule, Stage
from simulation.server import LAG_SECONDS, SECRET, SERVER_SECONDS
from simulation.tables import Table
from simulation.virtual import Hanging
from simulation.watching import Met, watched
from simulation.world import (
    PERSON,
    PROCESSES,
    VirtualHeartbeat,
    Workshop,
    World,
    approve_held,
    left_to_people,
    run_once,
)

QUIET_RUNS = 3
QUOTA = 12
SHRINKS_MAX = 400
REAL_EVERY = 12
"""One schedule of each class in so many has the planner on DuckDB."""
WHOLE_EVERY = 7
"""One schedule of each class in so many has all quiet runs; the others end with the first that has nothing to do."""
FAST = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@contextmanager
def campaign() -> Iterator[None]:
    """What holds while schedules are played: one DuckDB for all, and heartbeats on virtual time."""
    real = Heartbeat
    vars(levada.runner.run)["Heartbeat"] = VirtualHeartbeat
    try:
        with shared():
            yield
    finally:
        vars(levada.runner.run)["Heartbeat"] = real


@dataclass(slots=True)
class Played:
    """How a schedule went."""

    schedule: Schedule
    findings: list[str]
    cells: Counter[tuple[str, str, str]]
    points: Counter[str]
    evidence: Evidence | None = field(repr=False, default=None)


@cache
def empty_state() -> Path:
    """A store's folder as it is made at the first run: copied, because making one takes longer."""
    folder = Path(tempfile.mkdtemp(prefix="levada-simulation-", dir=FAST))
    SqliteStore.open(folder / "state").close()
    return folder / "state"


def planner_of(workshop: Workshop) -> Any:
    """The real planner for one schedule of each class in REAL_EVERY and for undos, for all others the quick one."""
    schedule = workshop.place.schedule
    undoes = any(stage.undo is not None for stage in schedule.stages)
    if undoes or schedule.seed // len(LETTERS) % REAL_EVERY == 0:
        return real_planner(workshop)
    return plain_planner(workshop)


def plain_planner(workshop: Workshop) -> Any:
    return PlainPlanner(workshop.root / "spool", workshop.clock)


def real_planner(workshop: Workshop) -> Any:
    return LocalPlanner(workshop.root / "spool", "256MB", 1, workshop.clock)


def play(schedule: Schedule, planner: Any = planner_of) -> Played:
    """Play a schedule to its end and judge it."""
    folder = Path(tempfile.mkdtemp(prefix="levada-simulation-", dir=FAST))
    try:
        world = World(schedule, folder, empty_state())
        quota = QUOTA if any(stage.weather == "quota" for stage in schedule.stages) else None
        if schedule.letter == "T":
            world.destination = Table(world, schedule.batch)
        else:
            wanted = (schedule.batch, schedule.lanes, schedule.rate, quota, schedule.bulk, schedule.told)
            made = declared(schedule.letter, *wanted)
            world.destination = Signed(made, Token(world))
        hung = ""
        met: Met = Counter()
        orphans: set[int] = set()
        named: frozenset[int] = frozenset()
        restored = False
        runs: list[Any] = []
        try:
            with read_in_pieces(schedule.pieces), watched() as met:
                _stages(world, planner, orphans)
                _quiet(world, planner)
            restored = bool(orphans) or any(report.get("raised") == "store.rolled_back" for report in world.reports)
            named, runs = left_to_people(world, planner, restored=restored)
        except Hanging as error:
            hung = f"hanging: {error}"
        evidence = _evidence(world, quota, orphans, named, runs, restored=restored)
        findings = [hung] if hung else [*judge(evidence), *judge_undos(evidence)]
        cells: Counter[tuple[str, str, str]] = Counter()
        counted = chain(world.cells.items(), met.items())
        cells.update({(what, where, schedule.letter): count for (what, where), count in counted})
        cells.update(undoing.cells(evidence, told=schedule.told))
        return Played(schedule, findings, cells, world.points, evidence)
    finally:
        PROCESSES.clear()
        shutil.rmtree(folder, ignore_errors=True)


def _stages(world: World, planner: Any, orphans: set[int]) -> None:
    world.edited(world.schedule.rows)
    for each in world.schedule.theirs:
        world.server.hold(each.key, {"id": each.key, "name": each.value, "score": each.score, "note": "theirs"})
    for number, stage in enumerate(world.schedule.stages):
        world.clock.advance(stage.wait_seconds)
        world.server.catch_up()
        world.stage, world.server.stage = stage, number
        world.server.weather = stage.weather
        world.server.fates = fates_of(stage)
        world.server.poison = min(world.rows)
        world.mapping = stage.mapping
        world.edited(stage.edits)
        world.remember()
        for deed, key in stage.human:
            world.server.human(deed, key)
            world.cells[f"person_{deed}", "run"] += 1
        if stage.restored:
            world.clock.advance(SERVER_SECONDS + LAG_SECONDS)
            world.server.catch_up()
            _restore(world, orphans)
        if stage.mapping:
            world.cells["mapping", "run"] += 1
        if stage.undo is None:
            run_once(world, planner, label="run")
        elif stage.undo in world.begun:
            run_once(world, planner, label="undo", undoes=world.begun[stage.undo])
        if stage.approved and approve_held(world, planner):
            run_once(world, planner, label="approved", approved=True)
        if stage.copied:
            _copy(world)


def fates_of(stage: Stage) -> dict[int, frozenset[str]]:
    """By key."""
    keys = {key for key, _ in stage.fates}
    return {key: frozenset(fate for each, fate in stage.fates if each == key) for key in keys}


def _quiet(world: World, planner: Any) -> None:
    """Faults end and the model stands still."""
    world.stage = Stage()
    world.server.weather, world.server.fates = "", {}
    world.remember()
    for number in range(QUIET_RUNS + (3 if _slow(world) else 0)):
        world.clock.advance(SERVER_SECONDS + LAG_SECONDS + 1 + (86_400 if _slow(world) else 0))
        world.server.catch_up()
        world.server.stage = len(world.schedule.stages) + number
        # what was refused while faults lasted would wait for its turn: somebody who mended the tool says so
        before = len(world.server.requests)
        run_once(world, planner, label="quiet", all_due=number == 0)
        if approve_held(world, planner):
            run_once(world, planner, label="quiet", all_due=number == 0, approved=True)
        idle = len(world.server.requests) == before and world.reports[-1].get("status") == "succeeded"
        if idle and world.schedule.seed // len(LETTERS) % WHOLE_EVERY:
            break  # the next one would find the same ledger and the same model
    world.clock.advance(SERVER_SECONDS + 1)
    world.server.catch_up()


def _slow(world: World) -> bool:
    return any(stage.weather == "quota" for stage in world.schedule.stages)


def _copy(world: World) -> None:
    shutil.rmtree(world.folder / "copy")
    shutil.copytree(world.state, world.folder / "copy")


def _restore(world: World, orphans: set[int]) -> None:
    """An older copy of the store is put back; its high-water mark stays, as where it lies elsewhere."""
    if not (world.folder / "copy" / "state.sqlite").exists():
        return
    world.cells["restored", "run"] += 1
    mark = (world.state / "high-water").read_bytes() if (world.state / "high-water").exists() else None
    shutil.rmtree(world.state)
    shutil.copytree(world.folder / "copy", world.state)
    if mark is not None:
        (world.state / "high-water").write_bytes(mark)
    orphans.update(record["id"] for record in world.server.records.values())


def _evidence(
    world: World, quota: int | None, orphans: set[int], named: frozenset[int], runs: list[Any], *, restored: bool
) -> Evidence:
    schedule = world.schedule
    server = world.server
    return Evidence(
        letter=schedule.letter,
        repeats=schedule.repeats,
        mode=schedule.mode,
        history=world.history,
        accepted=server.accepted,
        requests=server.requests,
        reports=world.reports,
        held=list(server.records.values()),
        quiet=len(schedule.stages),
        named=named,
        runs=runs,
        orphans=frozenset(orphans),
        restored=restored,
        reused=frozenset(server.reused),
        rate=schedule.rate,
        quota=quota,
        words=world.words,
        files=world.leaked(),
        leftovers=world.leftovers(),
        secrets=(SECRET,),
        people=(PERSON,),
        undone=world.undone,
        approved=world.approved,
    )


def shrunk(played: Played, planner: Any = planner_of) -> Played:
    """The smallest schedule found that still fails in the same way."""
    word = played.findings[0].split(":")[0]
    best = played
    tries = 0
    smaller = True
    while smaller and tries < SHRINKS_MAX:
        smaller = False
        for candidate in best.schedule.smaller():
            tries += 1
            again = play(candidate, planner)
            if any(finding.startswith(word) for finding in again.findings):
                best, smaller = again, True
                break
            if tries >= SHRINKS_MAX:
                break
    return best


def of_seed(seed: int, rows: int = 12) -> Schedule:
    return draw(seed, rows_max=rows)


def without(schedule: Schedule, **parts: Any) -> Schedule:
    """A schedule with parts replaced: for tests."""
    return replace(schedule, **parts)
