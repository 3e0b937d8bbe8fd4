"""Data files as a source: each file, and each folder of files of one format, is a table named after it.

What a column of a CSV or JSON file is, is decided by `levada.sources.file_types` from every value of the
file, never from a sample alone. Parquet says it itself. The tables are views over the files; only text that is not
UTF-8 is copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.errors import SourceError
from levada.source import Attachment, Column, SourceAbilities, SourceDeclaration, SourceType, missing, missing_file
from levada.sources import duckdb_reading, file_types
from levada.sources.encoding import Encoding
from levada.sources.file_types import View
from levada.sources.naming import tables_named
from levada.sources.running import Running
from levada.sources.statements import identifier
from levada.sources.table_files import Format, TableFiles, escaped

FILES_MAX = 20_000
"""The most files below one path; more are a sign of a wrong path."""

SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet",
    ".csv": "csv", ".csv.gz": "csv", ".tsv": "csv", ".tsv.gz": "csv",
    ".jsonl": "json", ".ndjson": "json", ".json": "json", ".jsonl.gz": "json", ".ndjson.gz": "json", ".json.gz": "json",
}  # fmt: skip
_RESERVED = {"main", "temp", "system", "memory"}


class FilesOptions(SourceDeclaration):
    type: Literal["files"] = "files"
    """Parquet, CSV and JSON-lines files."""
    path: str = Field(min_length=1)
    """A folder, or one file; absolute or from the project's folder."""
    text: tuple[str, ...] = ()
    """Columns of CSV and JSON files to be kept as text whatever they hold: `column`, or `table.column`."""
    json_: tuple[str, ...] = Field(default=(), alias="json")
    """Columns of JSON files to be kept as JSON whatever they hold: `column`, or `table.column`."""
    encoding: Encoding = "utf-8"
    """How the text of CSV files is encoded, where no byte order mark tells it."""


@dataclass(slots=True)
class FilesSource:
    """The folder is looked at anew for every read; what was found out about an unchanged file is kept."""

    name: str
    path: Path
    text: tuple[str, ...] = ()
    json: tuple[str, ...] = ()
    encoding: Encoding = "utf-8"
    abilities: SourceAbilities = field(default=SourceAbilities(dialect="duckdb", in_place=True), init=False)
    _running: Running = field(default_factory=Running, init=False, repr=False)
    _known: dict[str, tuple[duckdb_reading.State, View]] = field(default_factory=dict, init=False, repr=False)

    def check(self) -> None:
        if not self._found():
            raise SourceError(
                f"there is no Parquet, CSV or JSON-lines file in {self.path}",
                code="source.empty",
                hint=f"files end in {', '.join(sorted(SUFFIXES))}",
            )

    def tables(self) -> tuple[str, ...]:
        """As in the contract; no file is looked into."""
        names = tuple(f"CREATE VIEW {identifier(name)} AS SELECT 1" for name in self._found())
        with duckdb_reading.connected(Attachment(names), self._running) as connection, duckdb_reading.translated():
            return duckdb_reading.tables_of(connection)

    def columns(self, query: str) -> tuple[Column, ...]:
        return duckdb_reading.columns_of(self.attachment(query), query, self._running, self._found())

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        return duckdb_reading.reading(self.attachment(query), query, self._running)

    def attachment(self, query: str | None = None) -> Attachment:
        """Views over the files. Tables that the query does not name are not looked into."""
        tables = self._found()
        if query is not None and (named := tables_named(query)) is not None:
            tables = {name: files for name, files in tables.items() if name.casefold() in named}
        alias = f"{self.name}_source" if self.name.lower() in _RESERVED else self.name
        statements = [f"ATTACH ':memory:' AS {identifier(alias)}", f"USE {identifier(alias)}"]
        paths: set[Path] = set()
        for name in sorted(tables):
            view = self._view(name, tables[name])
            statements.append(f"CREATE VIEW {identifier(name)} AS {view.select}")
            for path in (*tables[name].paths, *view.paths):
                # DuckDB compares what a query reads with what is allowed by the letter, and these are written escaped
                paths |= {path, Path(escaped(path))}
        return Attachment(tuple(statements), tuple(sorted(paths)))

    def interrupt(self) -> None:
        self._running.interrupt()

    def close(self) -> None:
        self._known.clear()

    def _view(self, name: str, table: TableFiles) -> View:
        """How a table's files are read, from memory if none of them has changed."""
        state = duckdb_reading.state_of(table.paths)
        if (known := self._known.get(name)) and known[0] == state:
            return known[1]
        with duckdb_reading.translated():
            view = file_types.view(table, _of(name, self.text), _of(name, self.json), self.encoding, self._running)
        duckdb_reading.check_unchanged(state)
        self._known[name] = (state, view)
        return view

    def _found(self) -> dict[str, TableFiles]:
        """The tables below the path, by name. Raises SourceError for names or formats that clash."""
        if not self.path.exists():
            raise missing_file(self.path, "file or folder")
        try:
            entries = [self.path] if self.path.is_file() else sorted(self.path.iterdir())
        except OSError as error:
            raise missing(
                f"{self.path} cannot be read: {error.strerror}", "path", "Levada reads it as the user who runs it"
            ) from error
        tables: dict[str, TableFiles] = {}
        origins: dict[str, Path] = {}
        for entry in entries:
            if entry.name.startswith("."):
                continue
            table = _folder(entry) if entry.is_dir() else _file(entry)
            if table is None:
                continue
            name = entry.name if entry.is_dir() else entry.name[: -len(_suffix(entry))]
            if other := origins.get(name.casefold()):
                raise SourceError(
                    f"{other.name} and {entry.name} in {self.path} would both be the table {name!r}",
                    code="source.tables",
                    hint="rename one, or put files that belong together into a folder of their own",
                )
            origins[name.casefold()], tables[name] = entry, table
        if (count := sum(len(table.paths) for table in tables.values())) > FILES_MAX:
            raise SourceError(f"{count:,} files below {self.path}; the most is {FILES_MAX:,}", code="source.tables")
        return tables


def _of(table: str, columns: tuple[str, ...]) -> set[str]:
    """Which declared columns, `column` or `table.column`, are meant for a table."""
    return {each for each in columns if "." not in each} | {
        each.removeprefix(f"{table}.") for each in columns if each.startswith(f"{table}.")
    }


def _suffix(path: Path) -> str:
    """The longest known suffix of a file's name as it is written, or nothing."""
    lower = path.name.lower()
    known = max((suffix for suffix in SUFFIXES if lower.endswith(suffix)), key=len, default="")
    return path.name[len(path.name) - len(known) :] if known and len(known) < len(lower) else ""


def _file(path: Path) -> TableFiles | None:
    suffix = _suffix(path)
    return TableFiles(SUFFIXES[suffix.lower()], (path.absolute(),)) if suffix else None


def _folder(folder: Path) -> TableFiles | None:
    """All data files below a folder as one table; None if there are none."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
        found += [Path(place, name) for name in names if not name.startswith((".", "_")) and _suffix(Path(name))]
    if not found:
        return None
    formats = {SUFFIXES[_suffix(path).lower()] for path in found}
    if len(formats) > 1:
        raise SourceError(
            f"the folder {folder} mixes {' and '.join(sorted(formats))} files",
            code="source.tables",
            hint="a folder is one table: keep one format in it",
        )
    partitioned = all("=" in part for path in found for part in path.parent.relative_to(folder).parts)
    nested = any(path.parent != folder for path in found)
    return TableFiles(formats.pop(), tuple(sorted(path.absolute() for path in found)), partitioned and nested)


def _open(name: str, options: FilesOptions, root: Path, policy: AddressPolicy = OWN_MACHINE) -> FilesSource:
    path = (root / Path(options.path).expanduser()).absolute()
    return FilesSource(name, path, options.text, options.json_, options.encoding)


TYPE = SourceType(
    type="files",
    title="Files",
    docs="A folder of Parquet, CSV or JSON-lines files, read where they are.",
    options=FilesOptions,
    open=_open,
)
