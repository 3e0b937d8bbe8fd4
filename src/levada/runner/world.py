"""What a project speaks of, opened when first needed: its files, its store, planner, sources and destinations.

Every use case takes a `World`; nothing is decided here. A world belongs to one thread. What is stopped or heard by
itself works in a world `apart`, which shares all that is open.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from levada import events
from levada.addresses import AddressPolicy
from levada.clock import Clock
from levada.destination import Destination, DestinationType, Surroundings, TableDestination, Talk, resumed
from levada.errors import ConfigError, ConfigErrors, StoreError, Where
from levada.halt import Halt
from levada.model import Model
from levada.planner import Ledger, Planner
from levada.redaction import Redactor
from levada.runner.opening import opening
from levada.runner.scratch import Spool, make_spool
from levada.runner.watched import WatchedSource
from levada.source import Source, SourceDeclaration
from levada.store import Store

if TYPE_CHECKING:
    from levada.delivery.dispatcher import Dispatcher
    from levada.delivery.refusals import Refusals
    from levada.project.files import ProjectFiles, SyncFile
    from levada.project.settings import Settings

T = TypeVar("T")


@dataclass(slots=True)
class _Opened:
    """What the worlds of one project share."""

    files: ProjectFiles | None = None
    redaction: Redactor | None = None
    refusals: Refusals | None = None
    store: Store | None = None
    spool: Spool | None = None
    sources: dict[str, WatchedSource] = field(default_factory=dict)
    destinations: dict[str, Destination | TableDestination] = field(default_factory=dict)
    types: dict[str, DestinationType] = field(default_factory=dict)


class World:
    """`halt` ends what computes and sends in it, from any thread; `listener` hears what happens.

    `destinations` are opened destinations that take the place of those of the same name in the files.
    `private_addresses`: may requests go to this machine and its networks?
    """

    def __init__(
        self,
        root: Path,
        settings: Settings,
        environment: str | None,
        clock: Clock,
        *,
        listener: events.Listener = events.ignore,
        halt: Halt | None = None,
        destinations: Mapping[str, Any] | None = None,
        private_addresses: bool = True,
    ) -> None:
        self.root = root
        self.settings = settings
        self.environment = environment
        self.clock = clock
        self.listener = listener
        self.halt = halt or Halt()
        self._given = dict(destinations or {})
        self._private_addresses = private_addresses
        self._opened = _Opened()
        self._planner: Planner | None = None
        self._dispatcher: Dispatcher | None = None

    @contextmanager
    def apart(self, listener: events.Listener | None = None) -> Iterator[World]:
        """The same world with a halt, and if given a listener, of its own. It ends with this one's halt, too."""
        with self.halt.apart() as halt:
            other = copy(self)
            other.halt, other.listener = halt, listener or self.listener
            other._planner = other._dispatcher = None
            yield other

    def close(self) -> None:
        """Release connections, the store, and what was needed for a moment. Idempotent."""
        opened = self._opened
        self._planner = self._dispatcher = None
        while opened.sources:
            opened.sources.popitem()[1].close()
        opened.destinations.clear()
        if opened.store is not None:
            opened.store.close()
            opened.store = None
        if opened.spool is not None:
            opened.spool.close()
            opened.spool = None

    # -- what the files say

    @property
    def files(self) -> ProjectFiles:
        """Everything that is declared; what is wrong in it stands in `errors`."""
        if self._opened.files is None:
            from levada.destinations import destination_types
            from levada.project.files import read
            from levada.runner.connectors import connector_files
            from levada.sources import source_types

            self._opened.files = read(
                self.root,
                environment=self.environment,
                source_options=self._source_options,
                destination_options=self._destination_options,
                known_sources=source_types(),
                known_destinations=tuple(dict.fromkeys((*destination_types(), *connector_files(self.root)))),
                secrets=self._secret,
            )
        return self._opened.files

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

    @property
    def redaction(self) -> Redactor:
        """What keeps the project's secrets out of words."""
        if self._opened.redaction is None:
            self._opened.redaction = Redactor(self.files.secrets)
        return self._opened.redaction

    # -- the world, opened when first needed

    @property
    def state_folder(self) -> Path:
        return (self.root / self.settings.store.path).resolve()

    @property
    def store(self) -> Store:
        """The store, made if there is none yet."""
        if self._opened.store is None:
            from levada.stores.sqlite import SqliteStore

            self._opened.store = SqliteStore.open(self.state_folder, self.clock)
        return self._opened.store

    @property
    def stored(self) -> Store | None:
        """The store, if there is one: for whatever only looks."""
        if self._opened.store is None:
            from levada.stores.sqlite import SqliteStore

            try:
                self._opened.store = SqliteStore.open(self.state_folder, self.clock, create=False)
            except StoreError as error:
                if error.code == "store.missing":
                    return None
                raise
        return self._opened.store

    def ledger(self, sync: str) -> Ledger:
        """What is confirmed of a sync; an empty ledger where there is no store yet."""
        store = self.stored
        return store.ledgers.get(sync) if store is not None else Ledger(sync, self.state_folder)

    @property
    def spool(self) -> Path:
        """A folder for what is needed for a moment: private to this user, gone when the project is closed."""
        if self._opened.spool is None:
            self._opened.spool = make_spool()
        return self._opened.spool.folder

    @property
    def planner(self) -> Planner:
        """What compares models with ledgers: in this process, whatever the source."""
        if self._planner is None:
            from levada.planners.local import LocalPlanner

            settings = self.settings.planner
            self._planner = LocalPlanner(self.spool, settings.memory, settings.threads, self.clock, self.halt)
        return self._planner

    @property
    def dispatcher(self) -> Dispatcher:
        """What delivers plans and talks to HTTP destinations."""
        if self._dispatcher is None:
            from levada.delivery.dispatcher import Dispatcher
            from levada.delivery.refusals import Refusals

            self._opened.refusals = self._opened.refusals or Refusals(self.clock)
            network = self.settings.network
            self._dispatcher = Dispatcher(
                self.stored,
                self.clock,
                self.redaction,
                halt=self.halt,
                refusals=self._opened.refusals,
                policy=self.policy,
                authorities={host.lower(): self.root / file for host, file in network.ca_files.items()},
                listener=self.listener,
            )
        return self._dispatcher

    def source(self, name: str) -> Source:
        sources = self._opened.sources
        if name not in sources:
            from levada.sources import source_type

            declared = self.files.sources[name]
            kind = source_type(declared.type)
            assert kind is not None, "an unknown type is refused when the files are read"
            assert isinstance(declared.options, SourceDeclaration)
            with opening(declared.options, declared.positions, self.root, self.state_folder, self.policy):
                opened = kind.open(name, declared.options, self.root, self.policy)
            sources[name] = WatchedSource(
                opened, declared.positions, self.halt, declared.options.statement_timeout_seconds
            )
        return replace(sources[name], halt=self.halt)

    def destination(self, name: str) -> Destination | TableDestination:
        if name in self._given:
            found: Destination | TableDestination = self._given[name]
            return found
        if name not in self._opened.destinations:
            declared = self.files.destinations[name]
            kind = self._destination_type(declared.type)
            assert kind is not None, "an unknown type is refused when the files are read"
            surroundings = Surroundings(self.root, self.settings.network.allow_hosts, self.policy)
            with opening(declared.options, declared.positions, self.root, self.state_folder, self.policy):
                self._opened.destinations[name] = kind.open(name, declared.options, surroundings)
        return self._opened.destinations[name]

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
        return store.vault.get(name) if store is not None else None

    def _source_options(self, name: str) -> Any:
        from levada.sources import source_type

        kind = source_type(name)
        return kind.options if kind is not None else None

    def _destination_options(self, name: str) -> Any:
        kind = self._destination_type(name)
        return kind.options if kind is not None else None

    def _destination_type(self, name: str) -> DestinationType | None:
        """A type of ours, or one that a file in the project's connectors/ declares, which goes before ours."""
        if name not in self._opened.types:
            from levada.runner.connectors import find_destination_type

            kind = find_destination_type(self.root, name)
            if kind is None:
                return None
            self._opened.types[name] = kind
        return self._opened.types[name]
