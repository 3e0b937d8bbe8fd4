"""A SQLite database file as a source: opened read-only, read in one transaction, never created.

What a column is, its declaration says; what an expression is, its values say, all of them, counted by
`typeof` before the rows are read. SQLite lets a column hold anything: a value that is not of the column's
type makes its row invalid, and is never converted. Types: `levada.sources.sqlite_types`.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.errors import LevadaError, SourceError
from levada.source import (
    BATCH_BYTES,
    BATCH_ROWS_MAX,
    Attachment,
    Column,
    SourceAbilities,
    SourceDeclaration,
    SourceType,
    missing_file,
    with_unfit,
)
from levada.sources import sqlite_types
from levada.sources.running import Running
from levada.sources.sqlite_types import SqliteColumn
from levada.sources.statements import check_text, identifier, one_select, refused, wrapped

BUSY_SECONDS = 15.0
"""How long a read waits for a writer that holds the whole file."""
BATCH_ROWS = min(16_384, BATCH_ROWS_MAX)
VALUE_BYTES = 64
"""What a value of Python's weighs besides its text."""
_VIEW = '"levada model"'
_READS = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}

_DIRECT_ONLY = 0x80000
_KNOWN_ACTING = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer", "sqlite_dbpage"})


class SQLiteOptions(SourceDeclaration):
    type: Literal["sqlite"] = "sqlite"
    """A SQLite database file."""
    path: str = Field(min_length=1)
    """The file, absolute or from the project's folder. It must exist; it is opened read-only."""


@dataclass(slots=True)
class SQLiteSource:
    name: str
    path: Path
    abilities: SourceAbilities = field(default=SourceAbilities(dialect="sqlite"), init=False)
    _running: Running = field(default_factory=Running, init=False, repr=False)

    def check(self) -> None:
        self.tables()

    def tables(self) -> tuple[str, ...]:
        with self._connected() as connection, self._translated():
            rows = connection.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*'"
            ).fetchall()
            return tuple(sorted(_written(connection, name) for (name,) in rows))

    def columns(self, query: str) -> tuple[Column, ...]:
        with self._connected() as connection:
            return tuple(Column(c.name, c.arrow, c.declared) for c in self._described(connection, query))

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        return self._read(query)

    def attachment(self, query: str | None = None) -> Attachment | None:
        return None

    def interrupt(self) -> None:
        self._running.interrupt()

    def close(self) -> None:
        """Nothing stays open between reads."""

    @contextmanager
    def _read(self, query: str) -> Iterator[Iterator[pa.RecordBatch]]:
        with self._connected() as connection:
            columns = self._described(connection, query)
            with self._translated():
                cursor = connection.execute(f"SELECT * FROM {_VIEW}")
            try:
                yield self._batches(cursor, columns)
            finally:
                cursor.close()

    def _batches(self, cursor: sqlite3.Cursor, columns: tuple[SqliteColumn, ...]) -> Iterator[pa.RecordBatch]:
        schema = pa.schema([column.field for column in columns])
        empty = True
        while rows := self._rows(cursor):
            empty = False
            values = zip(*rows, strict=True)
            made = [column.array(cells) for column, cells in zip(columns, values, strict=True)]
            unfit = [each for _, found in made for each in found]
            yield with_unfit(pa.RecordBatch.from_arrays([array for array, _ in made], schema=schema), unfit)
        if empty:
            yield with_unfit(pa.RecordBatch.from_pylist([], schema=schema), [])

    def _rows(self, cursor: sqlite3.Cursor) -> list[tuple[sqlite_types.Value, ...]]:
        """The rows of the next batch, which is cut by what the values weigh as well, looked at row by row."""
        rows: list[tuple[sqlite_types.Value, ...]] = []
        weight = 0
        with self._translated():
            for row in cursor:
                rows.append(row)
                weight += len(row) * VALUE_BYTES + sum(len(each) for each in row if isinstance(each, str | bytes))
                if len(rows) >= BATCH_ROWS or weight >= BATCH_BYTES:
                    break
        return rows

    def _described(self, connection: sqlite3.Connection, query: str) -> tuple[SqliteColumn, ...]:
        """The query as a temporary view, in which SQLite's own grammar takes one SELECT only, and its columns."""
        check_text(query)
        text = query.rstrip().rstrip(";")
        try:
            connection.execute(f"CREATE TEMP VIEW {_VIEW} AS {wrapped(text)}")
            found = connection.execute(f"PRAGMA temp.table_xinfo({_VIEW})").fetchall()
            connection.set_authorizer(_authorizer(_acting(connection)))
            connection.execute(f"SELECT * FROM {_VIEW} LIMIT 0").close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            if "locked" in str(error):
                raise self._failed(error) from error
            one_select(query, "sqlite")
            raise self._failed(error, asking=True) from error
        declared = [(str(name), str(kind or "")) for _, name, kind, *_ in found]
        _refuse_duplicates([name for name, _ in declared])
        return self._typed(connection, declared)

    def _typed(self, connection: sqlite3.Connection, declared: list[tuple[str, str]]) -> tuple[SqliteColumn, ...]:
        """Columns by declaration; for the others, one pass over all rows says what kinds of values there are."""
        known = {name: sqlite_types.declared(name, kind) for name, kind in declared}
        asked = [name for name, column in known.items() if column is None]
        kinds: dict[str, set[str]] = {}
        if asked:
            items = ", ".join(f"group_concat(DISTINCT typeof({identifier(name)}))" for name in asked)
            with self._translated():
                row = connection.execute(f"SELECT {items} FROM {_VIEW}").fetchone()
            kinds = {name: set((text or "").split(",")) - {"", "null"} for name, text in zip(asked, row, strict=True)}
        return tuple(known[name] or sqlite_types.inferred(name, kind, kinds[name]) for name, kind in declared)

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a read transaction. It may make a temporary view, in memory, and nothing else."""
        if not self.path.is_file():
            raise missing_file(self.path)
        with self._translated():
            connection = sqlite3.connect(
                f"file:{quote(str(self.path))}?mode=ro",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        try:
            with self._translated():
                # else a misspelt "column" would silently be the text 'column'
                for flag in ("SQLITE_DBCONFIG_DQS_DML", "SQLITE_DBCONFIG_DQS_DDL"):
                    if hasattr(sqlite3, flag):
                        connection.setconfig(getattr(sqlite3, flag), False)  # type: ignore[attr-defined,unused-ignore]
                # text that is not UTF-8 is found where it becomes Arrow, and not the end of the read
                connection.text_factory = functools.partial(str, encoding="utf-8", errors="surrogateescape")
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with self._running.on(connection.interrupt):
                yield connection
        finally:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception, *, asking: bool = False) -> LevadaError:
        message = " ".join(str(error).split())[:500]
        if "locked" in message or "busy" in message:
            return SourceError(
                f"{self.path} is locked by a process that writes to it",
                code="source.locked",
                hint="run again when it has finished; PRAGMA journal_mode = WAL lets both work at once",
            )
        if "not a database" in message or "malformed" in message or "unsupported file format" in message:
            return SourceError(f"{self.path} is not a SQLite database, or is damaged", code="source.not_a_database")
        if "not authorized" in message or "prohibited" in message or "readonly" in message:
            return refused(message)
        if "decode" in message:
            column = re.search(r"column '([^']*)'", message)
            where = f"column {column[1]!r}" if column else "a column"
            return SourceError(
                f"{where} holds text that is not UTF-8", code="source.value", hint="CAST(column AS BLOB) in the model"
            )
        if asking:
            return SourceError(message, code="source.query")
        return SourceError(f"the read broke off: {message}", code="source.read", hint="nothing was taken from it")


def _acting(connection: sqlite3.Connection) -> frozenset[str]:
    """The functions of this SQLite that do more than compute, by its own word (SQLITE_DIRECTONLY), in lower case."""
    with contextlib.suppress(sqlite3.Error):
        rows = connection.execute("SELECT name, flags FROM pragma_function_list").fetchall()
        return frozenset(str(name).lower() for name, flags in rows if int(flags) & _DIRECT_ONLY) | _KNOWN_ACTING
    return _KNOWN_ACTING


def _authorizer(acting: frozenset[str]) -> Callable[[int, str | None, str | None, str | None, str | None], int]:
    """Takes what reads and calls nothing that acts."""

    def authorize(action: int, first: str | None, second: str | None, database: str | None, inner: str | None) -> int:
        if action not in _READS or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in acting):
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    return authorize


def _written(connection: sqlite3.Connection, name: str) -> str:
    """The name as a query writes it: bare, if SQLite takes it so."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        with contextlib.suppress(sqlite3.Error):
            connection.execute(f"SELECT 1 FROM {name} LIMIT 0").close()
            return name
    return identifier(name)


def _refuse_duplicates(names: list[str]) -> None:
    """SQLite numbers columns of the same name: `a`, `a:1`."""
    for name in names:
        base = re.sub(r":\d+$", "", name)
        if base != name and base in names:
            raise SourceError(
                f"the query has two columns named {base!r}",
                code="source.duplicate_column",
                hint="give one another name",
            )


def _open(name: str, options: SQLiteOptions, root: Path, policy: AddressPolicy = OWN_MACHINE) -> SQLiteSource:
    return SQLiteSource(name, (root / Path(options.path).expanduser()).absolute())


TYPE = SourceType(
    type="sqlite",
    title="SQLite",
    docs="A SQLite database file.",
    options=SQLiteOptions,
    open=_open,
)
