"""A project that is open: its files, and the world they speak of, opened when first needed.

`Project` is the public Python face: one method per use case, each a few lines over the module of that name
in this package. Nothing is decided here. A project belongs to one thread; `stop` may be called from any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from levada import events
from levada.addresses import AddressPolicy
from levada.clock import Clock, SystemClock
from levada.destination import Destination, DestinationType, Surroundings, TableDestination, Talk, resumed
from levada.errors import ConfigError, ConfigErrors, StoreError, Where
from levada.guard import GuardDeclaration
from levada.halt import Halt
from levada.model import Model
from levada.planner import Ledger
from levada.redaction import Redactor
from levada.runner.opening import opening
from levada.runner.spool import Spool, make_spool
from levada.runner.watched import WatchedSource
from levada.source import Source, SourceDeclaration
from levada.store import Approval, RunRecord, Store
from levada.sync import Sync

if TYPE_CHECKING:
    from levada.delivery.dispatcher import Dispatcher
    from levada.planners.local import LocalPlanner
    from levada.project.files import ProjectFiles, SyncFile
    from levada.project.settings import Settings
    from levada.run import RunResult
    from levada.runner.cases import CaseResult
    from levada.runner.check import CheckReport
    from levada.runner.connectors import Connector
    from levada.runner.doctor import Diagnosis
    from levada.runner.plan import PlanView
    from levada.runner.preview import PreviewView
    from levada.runner.records import Record, RecordOutcome
    from levada.runner.status import StatusView

T = TypeVar("T")


class Project:
    """Use `Project.open`, as a context manager or with `close`.

    Methods raise `LevadaError`s; refused and invalid records are figures of the result, not errors.
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        environment: str | None,
        listener: events.Listener,
        destinations: Mapping[str, Any],
        clock: Clock,
        private_addresses: bool,
    ) -> None:
        self.root = root
        self.settings = settings
        self.environment = environment
        self.listener = listener
        self.clock = clock
        self._halt = Halt()
        self._private_addresses = private_addresses
        self._given = dict(destinations)
        self._files: ProjectFiles | None = None
        self._redaction: Redactor | None = None
        self._store: Store | None = None
        self._spool: Spool | None = None
        self._planner: LocalPlanner | None = None
        self._dispatcher: Dispatcher | None = None
        self._sources: dict[str, Source] = {}
        self._destinations: dict[str, Destination | TableDestination] = {}
        self._types: dict[str, DestinationType] = {}

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        env: str | None = None,
        *,
        listener: events.Listener = events.ignore,
        destinations: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        private_addresses: bool = True,
    ) -> Project:
        """The project in `path` or in the nearest folder above it. Reads levada.yml; everything else waits.

        `env` names a further file of variables, `.env.<env>`. `destinations` are opened destinations that take
        the place of those of the same name in the files. `private_addresses`: may requests go to this machine and
        its networks, as for whoever works on it? Raises ConfigError if there is no project.
        """
        from levada.project.files import load_settings
        from levada.project.listing import find_root

        root = find_root(Path(path))
        settings = load_settings(root, environment=env)
        return cls(root, settings, env, listener, destinations or {}, clock or SystemClock(), private_addresses)

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release connections and the store. Idempotent."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()
        self._destinations.clear()
        if self._dispatcher is not None:
            self._dispatcher = None
        if self._store is not None:
            self._store.close()
            self._store = None
        if self._spool is not None:
            self._spool.close()
            self._spool = self._planner = None

    def stop(self) -> None:
        """Ask what runs to stop: what is sent, after what is under way; what is computed before that, at once.

        May be called from any thread.
        """
        self._halt.set()
        if self._dispatcher is not None:
            self._dispatcher.halt.set()

    @property
    def computing(self) -> bool:
        """Does a source or a plan compute, of which nothing was sent yet?"""
        return self._halt.computing

    @property
    def stopped(self) -> bool:
        return self._halt.is_set()

    def wait(self, seconds: float) -> bool:
        """Let so much time pass, or less if this is stopped meanwhile; says whether it was."""
        return self._halt.wait(seconds)

    # -- what the files say

    @property
    def files(self) -> ProjectFiles:
        """Everything that is declared; what is wrong in it stands in `errors`."""
        if self._files is None:
            from levada.destinations import destination_types
            from levada.project.files import read
            from levada.sources import source_types

            self._files = read(
                self.root,
                environment=self.environment,
                source_options=self._source_options,
                destination_options=self._destination_options,
                known_sources=source_types(),
                known_destinations=destination_types(),
                secrets=self._secret,
            )
        return self._files

    def select(self, words: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
        """The syncs that these words choose, in the order in which they run; all of them without words.

        Raises ConfigErrors for what is wrong in the files that they are made of, ConfigError for a word that
        chooses nothing, with the nearest name.
        """
        from levada.runner.selecting import select

        chosen = select(self.files, words, exclude)
        errors = self.files.errors_for(chosen) if words or exclude else self.files.errors
        if errors:
            raise ConfigErrors(list(errors))
        return chosen

    def sync_file(self, name: str) -> SyncFile:
        """A sync and the places of its keys. Raises ConfigError for what is wrong in it, or the nearest name."""
        from levada.nearest import nearest_hint

        files = self.files
        if name not in files.listed.get("sync", {}):
            raise ConfigError(
                f"there is no sync {name}", code="config.unknown_name", hint=nearest_hint(name, files.listed["sync"])
            )
        errors = files.errors_for([name])
        if errors:
            raise ConfigErrors(list(errors))
        return files.syncs[name]

    def model(self, name: str) -> Model:
        """A model. Raises ConfigError with the nearest name."""
        from levada.nearest import nearest_hint

        if name not in self.files.models:
            raise ConfigError(
                f"there is no model {name}", code="config.unknown_name", hint=nearest_hint(name, self.files.models)
            )
        return self.files.models[name].model

    def model_position(self, name: str, *path: str | int) -> Where:
        return self.files.models[name].positions.at(*path)

    def guard_of(self, sync: Sync) -> GuardDeclaration:
        """The guard of a sync; the project's defaults are already in it."""
        return sync.guard

    @property
    def redaction(self) -> Redactor:
        """What keeps the project's secrets out of words."""
        if self._redaction is None:
            self._redaction = Redactor(self.files.secrets)
        return self._redaction

    # -- the world, opened when first needed

    @property
    def state_folder(self) -> Path:
        return (self.root / self.settings.store.path).resolve()

    @property
    def store(self) -> Store:
        """The store, made if there is none yet."""
        if self._store is None:
            from levada.stores.sqlite import SqliteStore

            self._store = SqliteStore.open(self.state_folder, self.clock)
        return self._store

    @property
    def stored(self) -> Store | None:
        """The store, if there is one: for whatever only looks."""
        if self._store is None:
            from levada.stores.sqlite import SqliteStore

            # a folder with remains of a store is opened as if to make one, which says what was lost
            lost = any((self.state_folder / "ledgers").glob("*/*")) or (self.state_folder / "high-water").exists()
            try:
                self._store = SqliteStore.open(self.state_folder, self.clock, create=lost)
            except StoreError as error:
                if error.code == "store.missing":
                    return None
                raise
        return self._store

    def ledger(self, sync: str) -> Ledger:
        """What is confirmed of a sync; an empty ledger where there is no store yet."""
        store = self.stored
        return store.ledger(sync) if store is not None else Ledger(sync, self.state_folder / "ledgers" / sync)

    @property
    def spool(self) -> Path:
        """A folder for what is needed for a moment: private to this user, gone when the project is closed."""
        if self._spool is None:
            self._spool = make_spool()
        return self._spool.folder

    @property
    def planner(self) -> LocalPlanner:
        if self._planner is None:
            from levada.planners.local import LocalPlanner

            settings = self.settings.planner
            self._planner = LocalPlanner(self.spool, settings.memory, settings.threads, self.clock, self._halt)
        return self._planner

    @property
    def dispatcher(self) -> Dispatcher:
        """What delivers plans and talks to HTTP destinations."""
        if self._dispatcher is None:
            from levada.delivery.dispatcher import Dispatcher

            network = self.settings.network
            self._dispatcher = Dispatcher(
                self.stored,
                self.clock,
                self.redaction,
                policy=self.policy,
                authorities={host.lower(): self.root / file for host, file in network.ca_files.items()},
                listener=self.listener,
            )
            if self.stopped:
                self._dispatcher.halt.set()
        return self._dispatcher

    def source(self, name: str) -> Source:
        if name not in self._sources:
            from levada.sources import source_type

            declared = self.files.sources[name]
            kind = source_type(declared.type)
            assert kind is not None, "an unknown type is refused when the files are read"
            assert isinstance(declared.options, SourceDeclaration)
            with opening(declared.options, declared.positions, self.root, self.state_folder, self.policy):
                opened = kind.open(name, declared.options, self.root, self.policy)
            seconds = declared.options.statement_timeout_seconds
            self._sources[name] = WatchedSource(opened, declared.positions, self._halt, seconds)
        return self._sources[name]

    def destination(self, name: str) -> Destination | TableDestination:
        if name in self._given:
            found: Destination | TableDestination = self._given[name]
            return found
        if name not in self._destinations:
            declared = self.files.destinations[name]
            kind = self._destination_type(declared.type)
            assert kind is not None, "an unknown type is refused when the files are read"
            surroundings = Surroundings(self.root, self.settings.network.allow_hosts, self.policy)
            with opening(declared.options, declared.positions, self.root, self.state_folder, self.policy):
                self._destinations[name] = kind.open(name, declared.options, surroundings)
        return self._destinations[name]

    @property
    def policy(self) -> AddressPolicy:
        """Where requests and connections may go."""
        return AddressPolicy(self._private_addresses, tuple(host.lower() for host in self.settings.network.allow_hosts))

    def talk(self, destination: Destination, talk: Talk[T]) -> T:
        """Have a talk with an HTTP destination, outside a run: describe, check."""
        try:
            first = next(talk)
        except StopIteration as stop:
            found: T = stop.value
            return found
        return self.dispatcher.talk(destination, resumed(talk, first))

    def _secret(self, name: str) -> str | None:
        store = self.stored
        return store.secret(name) if store is not None else None

    def _source_options(self, name: str) -> Any:
        from levada.sources import source_type

        kind = source_type(name)
        return kind.options if kind is not None else None

    def _destination_options(self, name: str) -> Any:
        kind = self._destination_type(name)
        return kind.options if kind is not None else None

    def _destination_type(self, name: str) -> DestinationType | None:
        """A type of ours, or one that a file in the project's connectors/ declares, which goes before ours."""
        if name not in self._types:
            from levada.runner.connectors import find_destination_type

            kind = find_destination_type(self.root, name)
            if kind is None:
                return None
            self._types[name] = kind
        return self._types[name]

    # -- the use cases

    def run(self, sync: str, *, discard_plan: bool = False) -> RunResult:
        """Plan, guard, send, and remember what was confirmed. Finishes an interrupted run of the sync first."""
        from levada.runner.attempt import attempted
        from levada.runner.run import run

        self.sync_file(sync)
        return attempted(self, sync, lambda: run(self, sync, discard_plan=discard_plan))

    def retry(self, sync: str) -> RunResult:
        """A run now, which also sends what was refused before and would wait for its turn."""
        from levada.runner.attempt import attempted
        from levada.runner.run import run

        self.sync_file(sync)
        return attempted(self, sync, lambda: run(self, sync, all_due=True))

    def resync(self, sync: str, *, rebuild: bool = False) -> RunResult:
        """Compare again with every value at the destination unknown; pending removals stay planned."""
        from levada.runner.attempt import attempted
        from levada.runner.resync import resync

        return attempted(self, sync, lambda: resync(self, sync, rebuild=rebuild))

    def mark_synced(self, sync: str) -> RunResult:
        """Take the model as already at the destination; nothing is sent."""
        from levada.runner.mark_synced import mark_synced

        return mark_synced(self, sync)

    def undo(self, run: str, *, plan_id: str | None = None) -> RunResult:
        """Take back what a run delivered; with `plan_id` only by that very plan, as `plan_undo` showed it."""
        from levada.runner.undo import undo

        return undo(self, run, plan_id=plan_id)

    def plan_undo(self, run: str, *, sample_size: int = 10) -> PlanView:
        """What an undo of a run would send now, and what it would leave alone. Changes nothing."""
        from levada.runner.undo import plan_undo

        return plan_undo(self, run, sample_size=sample_size)

    def plan(self, sync: str, *, sample_size: int = 10) -> PlanView:
        """What a run would send now. Changes nothing."""
        from levada.runner.plan import plan

        return plan(self, sync, sample_size=sample_size)

    def preview(self, name: str, rows: int = 10) -> PreviewView:
        """The first rows of a sync as they would arrive, or of a model as they are."""
        from levada.runner.preview import preview

        return preview(self, name, rows)

    def check(self, syncs: Sequence[str] | None = None) -> CheckReport:
        """Everything that can be known without sending."""
        from levada.runner.check import check

        return check(self, syncs)

    def approve(self, plan_id: str) -> Approval:
        """Let a plan pass that its guard stopped."""
        from levada.runner.approve import approve

        return approve(self, plan_id)

    def status(self, syncs: Sequence[str] | None = None) -> StatusView:
        """What needs a person, and how each sync stands."""
        from levada.runner.status import status

        return status(self, syncs)

    def runs(self, sync: str | None = None, limit: int = 20) -> Sequence[RunRecord]:
        """The latest runs, newest first."""
        from levada.runner.runs import runs

        return runs(self, sync, limit)

    def records(
        self,
        sync: str,
        *,
        run: str | None = None,
        outcome: RecordOutcome | None = None,
        key: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """What happened to each record of a run."""
        from levada.runner.records import records

        return records(self, sync, run=run, outcome=outcome, key=key, limit=limit)

    def connectors(self, name: str | None = None) -> tuple[Connector, ...]:
        """The kinds of sources and destinations that this project can use."""
        from levada.runner.connectors import connectors

        return connectors(self.root, name)

    def test(self, connectors: Sequence[str] = ()) -> tuple[CaseResult, ...]:
        """Run the cases of the project's own connectors."""
        from levada.runner.cases import run_cases

        return run_cases(self, connectors)

    def doctor(self) -> tuple[Diagnosis, ...]:
        """Examine the installation and the state."""
        from levada.runner.doctor import doctor

        return doctor(self, self.clock)

    def secrets(self) -> Sequence[str]:
        """The names of the secrets that the store keeps."""
        from levada.runner.secret import secret_names

        return secret_names(self)

    def set_secret(self, name: str, value: str) -> None:
        from levada.runner.secret import set_secret

        set_secret(self, name, value)

    def remove_secret(self, name: str) -> None:
        from levada.runner.secret import remove_secret

        remove_secret(self, name)


def find_root(path: str | Path) -> Path | None:
    """The folder of the project that `path` lies in; None if there is none."""
    from levada.project.listing import find_root as find

    try:
        return find(Path(path))
    except ConfigError:
        return None
