"""A project's files, read and validated as a whole.

`read` looks at everything and keeps what is right beside what is wrong, for those who show both (the page,
`check`); `load` is for those who need all of it right. Sources, destinations and connectors are not known
here: their classes come in through callables. Nothing is opened, and nothing is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from levada.declaration.reading import read_text
from levada.declaration.validation import validate
from levada.declaration.yaml import Document, KeyPath, Positions, mapping, parse
from levada.errors import ConfigError, ConfigErrors, Where
from levada.model import Declaration, Model
from levada.nearest import nearest_hint
from levada.project.environment import Interpolation, SecretLookup, read_environment
from levada.project.header import parse_sql
from levada.project.listing import (
    SETTINGS_FILES,
    FileNotice,
    Kind,
    Listing,
    list_files,
    settings_file,
)
from levada.project.references import Reference, check_references, references_of_model, references_of_sync
from levada.project.settings import Settings
from levada.redaction import Redactor
from levada.sync import Sync

Options = type[BaseModel]

OptionsLookup = Callable[[str], Options | None]
"""The class of the options of a `type:`, or None if there is no such type."""


class Common(Declaration):
    """What every source and every destination has, whatever its type."""

    type: Annotated[str, Field(min_length=1)]
    """What it is: the keys below depend on it."""
    description: str = ""
    """For people."""
    tags: tuple[str, ...] = ()
    """Words to select by: `--select tag:marketing`."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`options` is an instance of the class that belongs to `type`. Its repr may hold secrets: never log it."""

    name: str
    type: str
    options: BaseModel = field(repr=False)
    path: Path
    positions: Positions = field(repr=False)
    description: str = ""
    tags: tuple[str, ...] = ()

    @property
    def where(self) -> Where:
        return Where(self.positions.file)


@dataclass(frozen=True, slots=True)
class DestinationFile(SourceFile):
    """The same of a destination."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """`positions.at("query")` is where the query begins, also in a `.sql` file."""

    name: str
    model: Model
    path: Path
    positions: Positions = field(repr=False)

    @property
    def where(self) -> Where:
        return Where(self.positions.file)

    def in_query(self, offset: int) -> Where:
        """The place of a character of the query; its beginning in a `.yml` file, which may break lines elsewhere."""
        begin = self.positions.at("query")
        if self.model.query is None or self.path.suffix != ".sql":
            return begin
        before = self.model.query[:offset]
        lines = before.count("\n")
        column = len(before) - (before.rfind("\n") + 1) + (1 if lines else begin.column)
        return Where(begin.file, begin.line + lines, column)


@dataclass(frozen=True, slots=True)
class SyncFile:
    """`sync` has the project's defaults in it. `positions.at("fields", "tier", "sql")` is the place of a value."""

    name: str
    sync: Sync
    path: Path
    positions: Positions = field(repr=False)

    @property
    def where(self) -> Where:
        return Where(self.positions.file)

    def field_position(self, target: str) -> Where:
        """The place of a field: among the fields, or in `match`, from where fields are taken that are not listed."""
        if ("fields", target) not in self.positions.values and ("match", target) in self.positions.values:
            return self.positions.at("match", target)
        return self.positions.at("fields", target)


@dataclass(frozen=True, slots=True)
class ProjectFiles:
    """What a project declares, by kind and name, each in the order of the names.

    `secrets`: every secret value that went into the options, for redaction. `errors`: what is wrong, in the
    order of the files; a file with an error is not among the values. `listed`: the path of every file, those
    with errors included.
    """

    root: Path
    settings: Settings
    sources: Mapping[str, SourceFile]
    models: Mapping[str, ModelFile]
    destinations: Mapping[str, DestinationFile]
    syncs: Mapping[str, SyncFile]
    connectors: Mapping[str, Path]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    errors: tuple[ConfigError, ...] = ()
    notices: tuple[FileNotice, ...] = ()
    listed: Mapping[Kind, Mapping[str, Path]] = field(default_factory=dict)
    environment: str | None = None

    def errors_for(self, syncs: Iterable[str]) -> tuple[ConfigError, ...]:
        """The errors that concern these syncs: in levada.yml and the files that each of them is made of.

        A sync whose own file is wrong concerns itself; what it would have used is then not known.
        """
        concerned = set(SETTINGS_FILES)
        for name in syncs:
            concerned.update(self._shown(path) for path in self.paths_of(name))
        return tuple(error for error in self.errors if error.where is None or error.where.file in concerned)

    def paths_of(self, sync: str) -> tuple[Path, ...]:
        """The files that a sync is made of: its own, its model's, its source's, its destination's and connector's."""
        found = [self.listed.get("sync", {}).get(sync)]
        if declared := self.syncs.get(sync):
            model = declared.sync.model or ""
            destination = declared.sync.destination
            found += [self.listed["model"].get(model), self.listed["destination"].get(destination)]
            if model in self.models:
                found.append(self.listed["source"].get(self.models[model].model.source))
            if destination in self.destinations:
                found.append(self.connectors.get(self.destinations[destination].type))
        return tuple(path for path in found if path is not None)

    def _shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def load(
    root: Path,
    *,
    environment: str | None = None,
    source_options: OptionsLookup,
    destination_options: OptionsLookup,
    known_sources: Sequence[str],
    known_destinations: Sequence[str],
    secrets: SecretLookup | None = None,
    process: Mapping[str, str] | None = None,
) -> ProjectFiles:
    """The project in `root`, all of it valid. Raises ConfigErrors with everything that is wrong.

    `secrets` is asked only for the names that the files refer to. `process`: the environment's variables;
    those of this process if absent.
    """
    files = read(
        root,
        environment=environment,
        source_options=source_options,
        destination_options=destination_options,
        known_sources=known_sources,
        known_destinations=known_destinations,
        secrets=secrets,
        process=process,
    )
    if files.errors:
        raise ConfigErrors(list(files.errors))
    return files


def read(
    root: Path,
    *,
    environment: str | None = None,
    source_options: OptionsLookup,
    destination_options: OptionsLookup,
    known_sources: Sequence[str],
    known_destinations: Sequence[str],
    secrets: SecretLookup | None = None,
    process: Mapping[str, str] | None = None,
) -> ProjectFiles:
    """The project in `root`: what is right in it, and in `errors` what is not.

    Raises ConfigError only where nothing can be read: no levada.yml, a broken `.env`, an unknown environment.
    """
    root = root.absolute()
    reading = _Reading(root, environment, process, secrets)
    reading.read_settings()
    connectors = reading.listing.files["connector"]
    sources = reading.read_accounts("source", source_options, known_sources)
    models = reading.read_models()
    destinations = reading.read_accounts("destination", destination_options, known_destinations)
    syncs = reading.read_syncs()
    reading.errors += check_references(reading.listing.files, reading.references, syncs)
    reading.errors += reading.interpolation.misplaced()
    return ProjectFiles(
        root=root,
        settings=reading.settings,
        sources={name: SourceFile(name, *parts) for name, parts in sources.items()},
        models=models,
        destinations={name: DestinationFile(name, *parts) for name, parts in destinations.items()},
        syncs=syncs,
        connectors=connectors,
        secrets=tuple(sorted(reading.interpolation.secrets | reading.interpolation.pieces)),
        errors=tuple(reading.sorted_errors()),
        notices=tuple(reading.listing.notices),
        listed=reading.listing.files,
        environment=environment,
    )


def load_settings(root: Path, *, environment: str | None = None, process: Mapping[str, str] | None = None) -> Settings:
    """`levada.yml` alone, for who must know the store before anything else can be read. Raises ConfigErrors."""
    reading = _Reading(root.absolute(), environment, process, None)
    reading.read_settings()
    errors = [error for error in reading.sorted_errors() if error.where and error.where.file in SETTINGS_FILES]
    if errors:
        raise ConfigErrors(errors)
    return reading.settings


class _Reading:
    """One reading of a project: gathers errors instead of stopping at them."""

    def __init__(
        self, root: Path, environment: str | None, process: Mapping[str, str] | None, secrets: SecretLookup | None
    ) -> None:
        self.root = root
        if settings_file(root) is None:
            raise ConfigError(
                f"there is no levada.yml in {root}",
                code="config.no_project",
                hint="go to a project's folder, or begin one with `levada init NAME`",
            )
        variables = read_environment(root, environment, os.environ if process is None else process, secrets)
        self.interpolation = Interpolation(variables)
        self.listing: Listing = list_files(root)
        self.errors: list[ConfigError] = list(self.listing.errors)
        self.references: list[Reference] = []
        self.settings = Settings()
        self._defaults: dict[str, Any] = {}

    def read_settings(self) -> None:
        path = settings_file(self.root)
        assert path is not None
        if opened := self._open(path, credentials=False):
            value, document, broken = opened
            settings, errors = validate(Settings, value, document.positions, broken=broken)
            self.errors += errors
            if settings is not None:
                self.settings = settings
                self._defaults = value.get("defaults") or {}
                if settings.alerts:
                    self._note("alerts are not sent in this version", document.positions.key("alerts"))
        if not self.settings.name:
            self.settings = self.settings.model_copy(update={"name": self.root.name})
        self._refuse_policies()

    def read_accounts(self, kind: Kind, options_of: OptionsLookup, known: Sequence[str]) -> dict[str, Any]:
        """Name: type, options, path, positions, description, tags; of sources or of destinations."""
        found: dict[str, Any] = {}
        for name, path in self.listing.files[kind].items():
            opened = self._open(path, credentials=True)
            if opened is None:
                continue
            value, document, broken = opened
            common_value = {key: item for key, item in value.items() if key in Common.model_fields}
            common, errors = validate(Common, common_value, document.positions, broken=broken)
            self.errors += [_with_types(error, kind, known) for error in errors]
            type_name = value.get("type")
            if not isinstance(type_name, str) or not type_name or ("type",) in broken:
                continue
            options_class = self._options_class(kind, type_name, options_of, known, document.positions)
            if options_class is None:
                continue
            own = {
                key: item
                for key, item in value.items()
                if key not in Common.model_fields or key in options_class.model_fields
            }
            also = list(Common.model_fields)
            options, errors = validate(options_class, own, document.positions, broken=broken, also=also, secret=True)
            self.errors += errors
            if common is not None and options is not None and not broken:
                found[name] = (type_name, options, path, document.positions, common.description, common.tags)
        return found

    def _options_class(
        self, kind: Kind, name: str, options_of: OptionsLookup, known: Sequence[str], positions: Positions
    ) -> Options | None:
        where = positions.at("type")
        try:
            found = options_of(name)
        except ConfigError as error:
            self.errors.append(ConfigError(error.message, code=error.code, where=error.where or where, hint=error.hint))
            return None
        if found is None:
            self.errors.append(
                ConfigError(
                    f"there is no {kind} of type {name}",
                    code="config.unknown_type",
                    where=where,
                    hint=nearest_hint(name, known),
                )
            )
        return found

    def read_models(self) -> dict[str, ModelFile]:
        found: dict[str, ModelFile] = {}
        for name, path in self.listing.files["model"].items():
            opened = self._open(path, credentials=False)
            if opened is None:
                continue
            value, document, broken = opened
            if "dbt" in value:
                self._refuse("models of dbt are not available in this version", document.positions.key("dbt"))
                continue
            self.references += references_of_model(value, document.positions)
            model, errors = validate(Model, value, document.positions, broken=broken)
            self.errors += errors
            if model is not None and not broken:
                found[name] = ModelFile(name, model, path, document.positions)
        return found

    def read_syncs(self) -> dict[str, SyncFile]:
        found: dict[str, SyncFile] = {}
        for name, path in self.listing.files["sync"].items():
            opened = self._open(path, credentials=False)
            if opened is None:
                continue
            value, document, broken = opened
            if "audience" in value:
                self._refuse("audiences are not available in this version", document.positions.key("audience"))
                continue
            self.references += references_of_sync(value, document.positions)
            sync, errors = validate(Sync, self._with_defaults(value), document.positions, broken=broken)
            self.errors += errors
            if sync is not None and not broken:
                found[name] = SyncFile(name, sync, path, document.positions)
        return found

    def _with_defaults(self, value: dict[str, Any]) -> dict[str, Any]:
        merged = {**{key: item for key, item in self._defaults.items() if item is not None}, **value}
        guards = (self._defaults.get("guard"), value.get("guard"))
        if all(isinstance(guard, dict) for guard in guards):
            merged["guard"] = {key: item for guard in guards for key, item in (guard or {}).items()}
        return merged

    # -- one file

    def _open(
        self, path: Path, *, credentials: bool
    ) -> tuple[dict[str, Any], Document, dict[KeyPath, ConfigError]] | None:
        """The file's mapping with its references replaced; None if it cannot be read as one."""
        shown = self.listing.shown(path)
        try:
            text = read_text(path, shown)
            if path.suffix == ".sql":
                return self._open_sql(text, shown)
            document = parse(text, shown)
            mapping(document)
        except ConfigError as error:
            self.errors.append(error)
            return None
        value, broken = self.interpolation.apply(document, credentials=credentials)
        self.errors += broken.values()
        return value or {}, document, broken

    def _open_sql(self, text: str, shown: str) -> tuple[dict[str, Any], Document, dict[KeyPath, ConfigError]]:
        document = parse_sql(text, shown)
        query = document.value["query"]
        header = Document({key: item for key, item in document.value.items() if key != "query"}, document.positions)
        value, broken = self.interpolation.apply(header, credentials=False)
        self.errors += broken.values()
        return {**value, "query": query}, document, broken

    def _refuse(self, message: str, where: Where) -> None:
        self.errors.append(
            ConfigError(message, code="config.unavailable", where=where, hint="move the file out of the project")
        )

    def _refuse_policies(self) -> None:
        """A policy that is not enforced must not look as if it were."""
        for name in ("policies.yml", "policies.yaml"):
            path = self.root / name
            if not path.is_file():
                continue
            opened = self._open(path, credentials=False)
            if opened is not None and opened[0]:
                self._refuse("policies are not enforced in this version", opened[1].positions.at())
            elif opened is not None:
                self._note("policies are not available in this version; the file is empty", Where(name))

    def _note(self, message: str, where: Where) -> None:
        self.listing.notices.append(FileNotice("project.unavailable", message, where))

    def sorted_errors(self) -> list[ConfigError]:
        """In the order of kinds, files and lines; without the secrets that a message may have repeated."""
        folders = ["", "sources", "models", "destinations", "syncs", "connectors"]

        def rank(error: ConfigError) -> tuple[int, str, int, int]:
            where = error.where or Where("")
            folder = where.file.partition("/")[0] if "/" in where.file else ""
            return folders.index(folder) if folder in folders else 0, where.file, where.line, where.column

        redactor = Redactor(self.interpolation.secrets | self.interpolation.pieces)
        return sorted((_redacted(error, redactor) for error in self.errors), key=rank)


def _redacted(error: ConfigError, redactor: Redactor) -> ConfigError:
    clean = redactor.clean
    message, hint = clean(error.message), error.hint and clean(error.hint)
    if (message, hint) == (error.message, error.hint):
        return error
    return ConfigError(message, code=error.code, where=error.where, hint=hint)


def _with_types(error: ConfigError, kind: Kind, known: Sequence[str]) -> ConfigError:
    """A missing `type` says which there are."""
    if error.code != "config.missing_key":
        return error
    hint = nearest_hint("", known, f"add `type:`; a {kind} is one of")
    return ConfigError(error.message, code=error.code, where=error.where, hint=hint)
