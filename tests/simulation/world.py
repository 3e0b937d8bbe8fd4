"""One simulated world: a model, a destination, time, and processes that run a sync over the real engine.

What is real: the runner, the store, delivery, the account, the declared connector and its reader. What is not:
time, the network below the wire, the warehouse, and in most schedules the planner (`planning`).
"""

from __future__ import annotations

import json
import random
import shutil
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from levada import events
from levada.addresses import AddressPolicy
from levada.delivery.account import account_name
from levada.delivery.dispatcher import Dispatcher
from levada.destination import Destination, TableDestination
from levada.errors import CorruptedError, LevadaError, StoreError
from levada.guard import GuardDeclaration
from levada.model import Model
from levada.project.files import ProjectFiles, SyncFile
from levada.project.settings import Settings
from levada.redaction import Redactor
from levada.runner.approve import approve
from levada.runner.doubt import doubts
from levada.runner.heartbeat import Heartbeat
from levada.runner.records import RecordOutcome, records
from levada.runner.run import run
from levada.runner.undo import undo
from levada.runner.world import World as RunnerWorld
from levada.source import Source
from levada.stores.sqlite import SqliteStore
from levada.sync import Sync
from simulation.coverage import HARMLESS_TO_LOOK_UPS, RUN
from simulation.outside import SCHEMA, ModelSource, SimulatedWire
from simulation.process import Crash, Process, hooked, living
from simulation.schedule import Schedule, Stage
from simulation.server import LIES, SECRET, Server
from simulation.virtual import VirtualClock, VirtualFlag, run_virtually

SYNC = "people"
PERSON = "canary person"
Row = dict[str, Any]
DAY_SECONDS = 86_400.0


class VirtualHeartbeat(Heartbeat):
    """Beats on virtual time. A process that is dead or frozen does not."""

    def __enter__(self) -> VirtualHeartbeat:
        clock = cast("VirtualClock", self._clock)
        clock.beaten_at = clock.seconds
        clock.due.append(self._due)
        return self

    def __exit__(self, *_: object) -> None:
        cast("VirtualClock", self._clock).due.remove(self._due)

    def _due(self) -> None:
        process = PROCESSES.get(id(self._leases))
        if process is None or (not (process.dead or process.frozen) and self.lost is None):
            self.beat()


PROCESSES: dict[int, Process] = {}
"""Which process the leases of each open store belong to."""


class World:
    """All that outlives a process."""

    def __init__(self, schedule: Schedule, folder: Path, template: Path) -> None:
        self.schedule = schedule
        self.folder = folder
        self.chance = random.Random(f"world {schedule.seed}")
        self.clock = VirtualClock(self.chance)
        self.server = Server(lambda: self.clock.seconds, self.chance)
        self.rows: dict[int, Row] = {}
        self.mapping = 0
        self.history: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self.words: list[str] = []
        self.cells: Counter[tuple[str, str]] = Counter()
        self.points: Counter[str] = Counter()
        self.stage = Stage()
        self.numbered = 0
        self.process = Process()
        self.ambiguous: set[int] = set()
        self.struck: set[int] = set()
        self.days_down = 0
        self.between: Any = None
        self.store: SqliteStore | None = None
        self.signed_in = 0
        #: the run of each stage; of each undo, what it takes back; runs begun with an approval, and when
        self.begun: dict[int, str] = {}
        self.undone: dict[str, str] = {}
        #: the last run that asks for something of its own
        self.latest = ""
        self.approved: dict[str, float] = {}
        self.destination: Destination | TableDestination | None = None
        shutil.copytree(template, self.state)
        (self.folder / "copy").mkdir()

    @property
    def state(self) -> Path:
        return self.folder / ".levada"

    # -- the model

    def edited(self, edits: Sequence[Any]) -> None:
        for edit in edits:
            if edit.value is None:
                self.rows.pop(edit.key, None)
            else:
                value = f"{PERSON} {edit.value}" if edit.value else ""
                self.rows[edit.key] = {"id": edit.key, "name": value, "score": edit.score}
        if not self.rows:
            self.rows[1] = {"id": 1, "name": f"{PERSON} z", "score": None}

    def remember(self) -> None:
        """The model as a destination should see it, from now on."""
        rows = {key: mapped(row, self.mapping) for key, row in sorted(self.rows.items())}
        if not self.history or self.history[-1]["rows"] != rows:
            self.history.append({"at": round(self.clock.seconds, 4), "rows": rows})

    def table(self) -> pa.Table:
        return pa.Table.from_pylist([self.rows[key] for key in sorted(self.rows)], schema=SCHEMA)

    # -- faults

    def next_fault(self, records: Sequence[tuple[str, int]], *, size: int, looks: bool = False) -> str:
        """What befalls the next request, of `size` records; counts the cell of the coverage table."""
        number = self.numbered
        self.numbered += 1
        keys = {key for _, key in records}
        state = self._state(records, keys, looks=looks)
        fault = dict(self.stage.faults).get(number) or self._strike(state, size, looks=looks)
        if self.stage.onset == state and not self.server.weather:
            self.server.weather = self.stage.weather
            if self.server.weather == "quota":
                self.exhaust()
        if fault and _strikes_home(fault, size, looks=looks):
            self.cells[fault, state] += 1
        weather = self.server.weather
        if weather and (weather != "poison" or self.server.poison in keys):
            self.cells[weather, state] += 1
        if fault in AMBIGUOUS and not looks:
            self.ambiguous |= keys
        elif not (fault or weather or looks):
            self.ambiguous -= keys
        return fault

    def _state(self, records: Sequence[tuple[str, int]], keys: set[int], *, looks: bool) -> str:
        if self.process.resuming:
            return "resumed"
        if looks or not records:
            return "look-up"
        return "resent" if keys & self.ambiguous else min(kind for kind, _ in records)

    def _strike(self, state: str, size: int, *, looks: bool) -> str:
        """The first fault left that waits for a request in this state."""
        for index, (wanted, fault) in enumerate(self.stage.strikes):
            if wanted == state and index not in self.struck and _strikes_home(fault, size, looks=looks):
                self.struck.add(index)
                return fault
        return ""

    def exhaust(self) -> None:
        """Others use up what is left of the day's requests to the account."""
        store, destination = self.store, self.destination
        if store is not None and destination is not None and destination.spec.limits.requests_per_day:
            day = self.clock.now().date().isoformat()
            account = account_name(cast("Destination", destination))
            store.limits.use_quota(account, day, destination.spec.limits.requests_per_day)

    def leaked(self) -> dict[str, list[str]]:
        """The canaries in the bytes of the state folder: by file, those found."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                names = [canary for canary in (SECRET, PERSON) if canary.encode() in content]
                if names:
                    found[str(path.relative_to(self.folder))] = names
        return found

    def leftovers(self) -> list[str]:
        """Files of the state that are half written, or lie beside a ledger without being part of it. Plans are kept
        for a while, with whatever lies beside them."""
        store = SqliteStore.open(self.state, self.clock, check=False)
        try:
            named = {segment.file.name for segment in store.ledgers.get(SYNC).segments}
        finally:
            store.close()
        found = []
        for path in sorted(path for path in self.state.rglob("*") if path.is_file()):
            place = path.relative_to(self.state)
            half = path.suffix == ".partial" and place.parts[0] != "plans"
            if half or (place.parts[0] == "ledgers" and path.name not in named):
                found.append(str(place))
        return found


AMBIGUOUS = {"lost_before", "lost_after", "late", "half", "error_500_applied", *LIES, "lie_truncated"}


def _strikes_home(fault: str, size: int, *, looks: bool) -> bool:
    """Has this fault any effect on such a request?"""
    if looks and fault in HARMLESS_TO_LOOK_UPS:
        return False
    return fault != "shuffled" or size > 1


def mapped(row: Row, mapping: int) -> Row:
    """What the destination should hold of a row."""
    match mapping:
        case 1:
            return {"id": row["id"], "name": row["name"]}
        case 2:
            return {"id": row["id"], "name": row["name"].upper(), "score": row["score"]}
    return dict(row)


FIELDS: tuple[Mapping[str, Any], ...] = (
    {"id": "id", "name": "name", "score": "score"},
    {"id": "id", "name": "name"},
    {"id": "id", "name": {"sql": "upper(name)"}, "score": "score"},
)


class _Nowhere:
    file = "syncs/people.yml"
    values: Mapping[Any, Any] = {}

    def at(self, *path: str | int) -> None:
        return None


class Workshop(RunnerWorld):
    """A process's project: files are values, the world is the simulation's."""

    def __init__(self, world: World, process: Process, planner: Any) -> None:
        super().__init__(
            world.folder,
            Settings(),
            None,
            world.clock,
            listener=self._heard,
            halt=VirtualFlag(world.clock),
            destinations={"dest": world.destination},
        )
        self.place = world
        self.process = process
        store = SqliteStore.open(world.state, world.clock)
        hooked(store, process)
        PROCESSES[id(store.leases)] = process
        self._opened.store = world.store = store
        self._opened.redaction = Redactor(())
        self._planner = planner(self)
        self._dispatcher = Dispatcher(
            store,
            world.clock,
            self.redaction,
            halt=self.halt,
            policy=AddressPolicy(True, ()),
            listener=self.listener,
            wire=lambda: SimulatedWire(world, process, self._between),
            run_loop=lambda main: run_virtually(world.clock, world.chance, main),
        )
        self.between: Any = None

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            self.process.resuming, self.process.run = event.resumed, event.run_id
            if not event.resumed:
                self._begun(event.run_id)
        self.place.words.append(repr(event))

    def _begun(self, run_id: str) -> None:
        world, purpose = self.place, self.store.runs.get(run_id).purpose
        if purpose != "settle":
            world.begun[world.server.stage] = world.latest = run_id
        if purpose == "undo":
            world.undone[run_id] = self.process.undoes
        elif purpose == "settle" and world.latest in world.undone:  # it asks again for what the undo left open
            world.undone[run_id] = world.undone[world.latest]
        elif self.process.approved:
            world.approved[run_id] = world.clock.seconds

    def _between(self, number: int) -> None:
        if self.between is not None:
            self.between(number)

    def sync_file(self, name: str) -> SyncFile:
        world = self.place
        letter = world.schedule.letter
        declared = {
            "model": "people",
            "to": "dest.people",
            "mode": "append" if letter == "D" else world.schedule.mode,
            "match": {"id": "id"},
            "fields": dict(FIELDS[world.mapping]),
            "delivery": world.schedule.repeats,
            "guard": GuardDeclaration(removed_max="none", changed_max="none", nulls_max="none", undo_max="none"),
        }
        if letter == "D":
            declared["changed"] = "send"
        return SyncFile(SYNC, Sync.model_validate(declared), Path("syncs/people.yml"), _Nowhere())  # type: ignore[arg-type]

    @property
    def files(self) -> ProjectFiles:
        """None: what a file says is given as a value instead."""
        return cast("ProjectFiles", SimpleNamespace(destinations={}, syncs={}))

    def model(self, name: str) -> Model:
        return Model(source="warehouse", key=("id",), query="SELECT * FROM people")

    def source(self, name: str) -> Source:
        return ModelSource(self.place)

    def die(self) -> None:
        """Vanish without a last word."""
        store = self._opened.store
        assert isinstance(store, SqliteStore)
        self.process.dead = True
        store._machine.leave(store._me)
        store._database.close()


def run_once(
    world: World, planner: Any, *, label: str, all_due: bool = False, undoes: str = "", approved: bool = False
) -> None:
    """One process runs the sync once; its report, or the error that a command line would show, is noted.

    `undoes`: it takes back that run instead.
    """
    stage = world.stage
    process = world.process = Process(crash_at=stage.crash, torn_at=stage.torn, full_at=stage.full)
    process.undoes, process.approved = undoes, approved
    world.numbered, world.struck = 0, set()
    if stage.onset:
        world.server.weather = ""
    try:
        workshop = opened(world, process, planner)
    except Crash:
        _counted(world, process)
        return
    except StoreError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
        _counted(world, process)
        return
    workshop.between = lambda number: _between(world, workshop, planner, number)
    world.between = workshop.between
    try:
        with living(process, world.state):
            result = undo(workshop, undoes) if undoes else run(workshop, SYNC, all_due=all_due)
    except Crash:
        note(world, label, {"crashed": True})
    except LevadaError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
    except Exception as error:  # noqa: BLE001 - no error leaves the engine but its own
        note(world, label, {"raised": "stumbled", "message": _traced(error)})
    else:
        note(world, label, result.as_dict())
    finally:
        world.between = None
        _ended(workshop, process)
        _counted(world, process)


def _ended(workshop: Workshop, process: Process) -> None:
    """The process ends, if it has not; it may die over that."""
    try:
        if not process.dead:
            workshop.close()
    except Crash:
        pass
    if process.dead:
        workshop.die()


def _traced(error: Exception) -> str:
    """The error and where it came from, on one line."""
    places = [f"{Path(at.filename).name}:{at.lineno}" for at in traceback.extract_tb(error.__traceback__)[-6:]]
    return f"{error!r} at {' '.join(places)}"


def _counted(world: World, process: Process) -> None:
    """What befell the whole run, for the coverage table."""
    world.points.update(process.points)
    if process.dead:
        world.cells["crash" if world.stage.torn is None else "torn", RUN] += 1
    if process.filled:
        world.cells["disk_full", RUN] += 1
    world.days_down = world.days_down + 1 if world.server.weather == "down" else 0
    if world.days_down > 1 and world.stage.wait_seconds >= DAY_SECONDS:
        world.cells["outage", RUN] += 1


def left_to_people(world: World, planner: Any, *, restored: bool) -> tuple[frozenset[int], list[Any]]:
    """The keys that the last run names as unknown and does not send again (`levada records`), and all results that
    the state remembers (`levada runs`).

    `restored`: an older state was put back that had lost something. Then also those that it names as not found: the
    lost part had deleted them.
    """
    run_id = world.reports[-1].get("run_id") if world.reports else None
    workshop = opened(world, Process(), planner)
    try:
        results = [record.result for record in workshop.store.runs.newest(SYNC, 1_000) if record.result]
        if not run_id or not workshop.store.runs.get(run_id).folder:
            return frozenset(), results
        outcomes: list[RecordOutcome] = ["unknown", "suppressed"] if restored else ["unknown"]
        found = [record for each in outcomes for record in records(workshop, SYNC, run=run_id, outcome=each)]
        return frozenset(record.key for record in found if record.code), results
    finally:
        workshop.close()


def approve_held(world: World, planner: Any) -> bool:
    """If the last run was held after an undo, somebody approves its plan."""
    report = world.reports[-1] if world.reports else {}
    rules = {reason["rule"] for reason in report.get("guard", {}).get("reasons", ())}
    if report.get("status") != "blocked" or "undone" not in rules:
        return False
    workshop = opened(world, Process(), planner)
    try:
        approve(workshop, report["plan_id"])
    finally:
        workshop.close()
    return True


def opened(world: World, process: Process, planner: Any) -> Workshop:
    """The project; a store that was rolled back is accepted first, as a person would."""
    try:
        with living(process, world.state):
            return Workshop(world, process, planner)
    except CorruptedError as error:
        note(world, "open", {"raised": error.code, "message": str(error)})
        store = SqliteStore.open(world.state, world.clock, check=False)
        try:
            store.upkeep.accept_rollback("somebody", doubts([SYNC]))
        finally:
            store.close()
        return Workshop(world, process, planner)


def note(world: World, label: str, report: Mapping[str, Any]) -> None:
    line = {"label": label, "stage": world.server.stage, "at": round(world.clock.seconds, 4), **report}
    world.reports.append(json.loads(json.dumps(line)))


def _between(world: World, workshop: Workshop, planner: Any, number: int) -> None:
    """Other processes that come in the middle of a run."""
    if number == world.stage.trigger:
        world.cells["trigger", RUN] += 1
        _rival(world, planner, "triggered")
    if number == world.stage.frozen:
        world.cells["frozen", RUN] += 1
        outer = world.process
        fault_number = world.numbered
        outer.frozen = True
        world.clock.advance(600.0)
        _rival(world, planner, "took over")
        outer.frozen = False
        world.process, world.numbered = outer, fault_number


def _rival(world: World, planner: Any, label: str) -> None:
    stage, outer, numbered, between = world.stage, world.process, world.numbered, world.between
    world.stage, world.between = Stage(), None
    process = world.process = Process()
    rival = Workshop(world, process, planner)
    try:
        with living(process, world.state):
            note(world, label, run(rival, SYNC).as_dict())
    except LevadaError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
    finally:
        rival.close()
        world.stage, world.process, world.numbered, world.between = stage, outer, numbered, between
