"""One simulated world: a model, a destination, time, and processes that run a sync over the real engine.

What is real: the runner, the store, delivery, the account, the declared connector and its reader. What is not:
time, the network below the wire, the warehouse, and in most schedules the planner (`planning`).
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa

from levada import events
from levada.delivery.addresses import AddressPolicy
from levada.delivery.dispatcher import Dispatcher
from levada.delivery.wire import Lost, NotSent, Outgoing
from levada.destination import Credential, Destination, Response, TableDestination, Talk
from levada.errors import BusyError, CorruptedError, LevadaError, SourceError, StoreError
from levada.guard import GuardDeclaration
from levada.model import Model
from levada.project.files import ProjectFiles, SyncFile
from levada.project.settings import Settings
from levada.redaction import Redactor
from levada.runner.heartbeat import Heartbeat
from levada.runner.project import Project
from levada.runner.run import run
from levada.source import Attachment, Column, Source, SourceAbilities
from levada.stores.sqlite import SqliteStore
from levada.sync import Sync
from simulation.schedule import Schedule, Stage
from simulation.server import SECRET, Asked, NoAnswer, NoConnection, Server
from simulation.virtual import VirtualClock, VirtualFlag, run_virtually

SYNC = "people"
_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.int64()),
    pa.field("name", pa.string()),
    pa.field("score", pa.int64()),
]
SCHEMA = pa.schema(_FIELDS)
Row = dict[str, Any]


class Crash(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Process:
    """What a crash ends. `writes` counts the durable steps of one run, for `crash_at`."""

    crash_at: int | None = None
    full_at: int | None = None
    steps: int = 0
    dead: bool = False
    frozen: bool = False
    resuming: bool = False
    points: Counter[str] = field(default_factory=Counter)

    def step(self, point: str) -> None:
        """A point at which a process may die."""
        if self.dead:
            raise Crash(point)
        self.points[point] += 1
        if self.crash_at is not None and self.steps == self.crash_at:
            self.dead = True
            raise Crash(point)
        self.steps += 1


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
        process = PROCESSES.get(id(self._store))
        if process is None or (not (process.dead or process.frozen) and self.lost is None):
            self.beat()


PROCESSES: dict[int, Process] = {}
"""Which process each open store belongs to."""


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
        self.signed_in = 0
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
                value = f"canary person {edit.value}" if edit.value else ""
                self.rows[edit.key] = {"id": edit.key, "name": value, "score": edit.score}
        if not self.rows:
            self.rows[1] = {"id": 1, "name": "canary person z", "score": None}

    def remember(self) -> None:
        """The model as a destination should see it, from now on."""
        rows = {key: mapped(row, self.mapping) for key, row in sorted(self.rows.items())}
        if not self.history or self.history[-1]["rows"] != rows:
            self.history.append({"at": round(self.clock.seconds, 4), "rows": rows})

    def table(self) -> pa.Table:
        return pa.Table.from_pylist([self.rows[key] for key in sorted(self.rows)], schema=SCHEMA)

    # -- faults

    def next_fault(self, what: str, records: Sequence[tuple[str, int]]) -> str:
        """What befalls the next request; counts the cell of the coverage table."""
        number = self.numbered
        self.numbered += 1
        fault = dict(self.stage.faults).get(number, "")
        keys = {key for _, key in records}
        kinds = {kind for kind, _ in records}
        state = "resent" if keys & self.ambiguous else (min(kinds) if kinds else "look-up")
        if self.process.resuming:
            state = "resumed"
        for each in (fault, self.server.weather):
            if each:
                self.cells[each, state] += 1
        if fault in ("lost_before", "lost_after", "late", "half", "error_500_applied") or fault.startswith("lie"):
            self.ambiguous |= keys
        return fault


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


class ModelSource:
    """Fulfils `levada.source.Source` over the world's rows."""

    name = "warehouse"
    abilities = SourceAbilities("duckdb")

    def __init__(self, world: World) -> None:
        self._world = world

    def check(self) -> None:
        return

    def tables(self) -> tuple[str, ...]:
        return ("people",)

    def columns(self, query: str) -> tuple[Column, ...]:
        lost = self._world.stage.source == "loses_column"
        return tuple(Column(f.name, f.type) for f in SCHEMA if not (lost and f.name == "name"))

    @contextmanager
    def read(self, query: str) -> Iterator[Iterator[pa.RecordBatch]]:
        yield self._batches()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        world = self._world
        table = world.table()
        match world.stage.source:
            case "empty":
                table = table.slice(0, 0)
            case "breaks":
                yield table.slice(0, table.num_rows // 2).to_batches()[0] if table.num_rows > 1 else _none()
                raise SourceError("the connection to the warehouse broke", code="source.read")
        yield from table.to_batches() or [_none()]

    def attachment(self, query: str | None = None) -> Attachment | None:
        return None

    def close(self) -> None:
        return


def _none() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=SCHEMA)


class Token:
    """Each sign-in brings the token that is valid now."""

    refreshes = True

    def __init__(self, world: World) -> None:
        self._world = world

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        yield from ()
        return Credential({"Authorization": f"Bearer {SECRET}-{self._world.server.valid_token}"})

    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


class SimulatedWire:
    """Fulfils `levada.delivery.wire.Wire`."""

    def __init__(self, world: World, process: Process, between: Any) -> None:
        self._world = world
        self._process = process
        self._between = between

    async def send(self, outgoing: Outgoing) -> Response:
        world = self._world
        path = outgoing.url.removeprefix("http://127.0.0.1:9")
        document = json.loads(outgoing.body) if outgoing.body else {}
        asked = Asked(outgoing.method, path, outgoing.headers, outgoing.query, document)
        self._process.step("request.before")
        number = world.numbered
        records = [(str(r.get("kind", "")), _key(r)) for r in asked.records] if asked.writes else []
        if asked.method == "DELETE":
            records = [("removed", 0)]
        fault = world.next_fault(path, records)
        try:
            answer = await world.server.exchange(asked, fault)
        except NoAnswer as error:
            raise Lost("no answer within 10 seconds") from error
        except NoConnection as error:
            raise NotSent("connection refused") from error
        self._process.step("request.answered")
        self._between(number)
        return Response(answer.status, answer.headers, answer.body)

    async def close(self) -> None:
        return


def _key(record: Mapping[str, Any]) -> int:
    found: int = record["fields"].get("id", 0) if "fields" in record else record.get("id", 0)
    return found


class _Nowhere:
    file = "syncs/people.yml"
    values: Mapping[Any, Any] = {}

    def at(self, *path: str | int) -> None:
        return None


class Workshop(Project):
    """A process's project: files are values, the world is the simulation's."""

    def __init__(self, world: World, process: Process, planner: Any) -> None:
        super().__init__(world.folder, Settings(), None, self._heard, {"dest": world.destination}, world.clock, True)
        self.world = world
        self.process = process
        store = SqliteStore.open(world.state, world.clock)
        hooked(store, process)
        PROCESSES[id(store)] = process
        self._store = store
        self._redaction = Redactor(())
        self._planner = planner(self)
        self._dispatcher = Dispatcher(
            store,
            world.clock,
            self._redaction,
            policy=AddressPolicy(True, ()),
            listener=self.listener,
            wire=lambda: SimulatedWire(world, process, self._between),
            run_loop=lambda main: run_virtually(world.clock, world.chance, main),
        )
        self._dispatcher.halt = VirtualFlag(world.clock)
        self.between: Any = None

    def _heard(self, event: events.Event) -> None:
        if isinstance(event, events.RunStarted):
            self.process.resuming = event.resumed
        self.world.words.append(repr(event))

    def _between(self, number: int) -> None:
        if self.between is not None:
            self.between(number)

    def sync_file(self, name: str) -> SyncFile:
        world = self.world
        letter = world.schedule.letter
        declared = {
            "model": "people",
            "to": "dest.people",
            "mode": "append" if letter == "D" else "mirror",
            "match": {"id": "id"},
            "fields": dict(FIELDS[world.mapping]),
            "delivery": world.schedule.repeats,
            "guard": GuardDeclaration(removed_max="none", changed_max="none", nulls_max="none"),
        }
        if letter == "D":
            declared["changed"] = "send"
        return SyncFile(SYNC, Sync.model_validate(declared), Path("syncs/people.yml"), _Nowhere())  # type: ignore[arg-type]

    @property
    def files(self) -> ProjectFiles:
        """None: what a file says is given as a value instead."""
        return cast("ProjectFiles", SimpleNamespace(destinations={}))

    def model(self, name: str) -> Model:
        return Model(source="warehouse", key=("id",), query="SELECT * FROM people")

    def source(self, name: str) -> Source:
        return ModelSource(self.world)

    def die(self) -> None:
        """Vanish without a last word."""
        store = self._store
        assert isinstance(store, SqliteStore)
        self.process.dead = True
        store._machine.leave(store._me)
        store._database.close()


def hooked(store: SqliteStore, process: Process) -> None:
    """Make every transaction of the store a point before and after which the process may die, or the disk be full."""
    import sys

    database = store._database
    real = database.write

    @contextmanager
    def write(*, durable: bool = True) -> Iterator[None]:
        name = sys._getframe(2).f_code.co_name
        if name == "renew" and not process.dead:
            with real(durable=durable):
                yield
            return
        process.step(f"{name}.before")
        if process.full_at is not None and process.steps >= process.full_at:
            raise StoreError("no space left", code="store.disk_full", hint="make room")
        with real(durable=durable):
            yield
        process.step(f"{name}.after")

    database.write = write  # type: ignore[method-assign]


def run_once(world: World, planner: Any, *, label: str, all_due: bool = False) -> None:
    """One process runs the sync once; its report, or the error that a command line would show, is noted."""
    process = world.process = Process(crash_at=world.stage.crash)
    world.numbered = 0
    try:
        workshop = opened(world, process, planner)
    except Crash:
        world.points.update(process.points)
        return
    workshop.between = lambda number: _between(world, workshop, planner, number)
    try:
        result = run(workshop, SYNC, all_due=all_due)
    except Crash:
        note(world, label, {"crashed": True})
    except StoreError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
    except LevadaError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
    else:
        note(world, label, result.as_dict())
    finally:
        world.points.update(process.points)
        if process.dead:
            workshop.die()
        else:
            workshop.close()


def opened(world: World, process: Process, planner: Any) -> Workshop:
    """The project; a store that was rolled back is accepted first, as a person would."""
    try:
        return Workshop(world, process, planner)
    except CorruptedError as error:
        note(world, "open", {"raised": error.code, "message": str(error)})
        store = SqliteStore.open(world.state, world.clock, check=False)
        try:
            store.accept_rollback("somebody")
        finally:
            store.close()
        return Workshop(world, process, planner)


def note(world: World, label: str, report: Mapping[str, Any]) -> None:
    line = {"label": label, "stage": world.server.stage, "at": round(world.clock.seconds, 4), **report}
    world.reports.append(json.loads(json.dumps(line)))


def _between(world: World, workshop: Workshop, planner: Any, number: int) -> None:
    """Other processes that come in the middle of a run."""
    if number == world.stage.trigger:
        _rival(world, planner, "triggered")
    if number == world.stage.frozen:
        outer = world.process
        fault_number = world.numbered
        outer.frozen = True
        world.clock.advance(600.0)
        _rival(world, planner, "took over")
        outer.frozen = False
        world.process, world.numbered = outer, fault_number


def _rival(world: World, planner: Any, label: str) -> None:
    stage, outer, numbered = world.stage, world.process, world.numbered
    world.stage = Stage()
    process = world.process = Process()
    rival = Workshop(world, process, planner)
    try:
        note(world, label, run(rival, SYNC).as_dict())
    except BusyError as error:
        note(world, label, {"raised": error.code, "message": str(error)})
    finally:
        rival.close()
        world.stage, world.process, world.numbered = stage, outer, numbered
