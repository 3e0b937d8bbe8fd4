"""SQLite as a destination: a database file on this machine.

Values travel as SQLite's own four kinds: integers, floating point, text and bytes. Decimals, dates and times
are text, in columns whose declared type keeps them so (docs/reference/table-destinations.md has the table).
Not here: reading models from SQLite, which is `levada.sources.sqlite`.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from levada.destination import DestinationSpec, DestinationType, Surroundings
from levada.destinations.tables.destination import SqlDestination, swap_rows
from levada.destinations.tables.engine import Grammar, Refused, TableColumn, TableFacts, Transient
from levada.destinations.tables.marks import MARKS_TABLE
from levada.destinations.tables.names import TableName, place_of, quoted
from levada.destinations.tables.statements import quoted_table
from levada.destinations.tables.values import as_json, columns_of, decimal_text, is_nested, simple, simplified, widened
from levada.errors import AccessError, ConfigError, DestinationError, FullError, UnavailableError
from levada.limits import Limits
from levada.mapping import FieldType, ValueLimits
from levada.model import Declaration

TITLE = "SQLite"
DOCS = "docs/reference/table-destinations.md"
BUSY_SECONDS = 30.0
"""How long to wait for another process that writes to the file."""
RECORDS_PER_BATCH = 50_000

GRAMMAR = Grammar(
    joins="in",
    same="IS",
    exact="{} = {} COLLATE BINARY",
    plain="{} COLLATE BINARY",
    name_bytes_max=1_000,
    unlimited="DECIMAL_TEXT",
    json="JSON_TEXT",
    uuid="UUID",
    marks_columns=(
        "sync TEXT NOT NULL, plan_id TEXT NOT NULL, batch INTEGER NOT NULL, first_row INTEGER NOT NULL,"
        " row_count INTEGER NOT NULL, detail TEXT, applied_at TEXT NOT NULL,"
        " PRIMARY KEY (plan_id, first_row, row_count)"
    ),
)


class SqliteOptions(Declaration):
    """A table of a SQLite file."""

    path: str
    """The database file; relative to the project's folder."""
    create_tables: bool = False
    """Make the file, tables and columns that are missing, and say so."""
    marks: bool = True
    """Keep the small table `_levada_marks` beside the tables, by which no batch is ever written twice."""


@dataclass(slots=True)
class SqliteSession:
    """One connection. Statements outside a transaction commit by themselves."""

    connection: sqlite3.Connection
    alive: bool = True
    _staged: dict[str, str] = field(default_factory=dict)

    def begin(self, *, reads: bool = False) -> None:
        self.run("BEGIN" if reads else "BEGIN IMMEDIATE")

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None:
        with _translated():
            self.connection.execute(statement, cast("Any", parameters))

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            return self.connection.execute(statement, cast("Any", parameters)).fetchall()

    def columns(self, statement: str) -> pa.Table:
        with _translated():
            cursor = self.connection.execute(statement)
            return columns_of(tuple(str(each[0]) for each in cursor.description), cursor.fetchall())

    def commit(self) -> None:
        # an error of COMMIT leaves the transaction open: surely not applied
        self.run("COMMIT")

    def rollback(self) -> None:
        self._staged.clear()
        with contextlib.suppress(sqlite3.Error):
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    def stage(self, name: str, table: pa.Table, types: Sequence[str]) -> None:
        stage = f"temp.{quoted(name)}"
        columns = ", ".join(f"{column} {kind}" for column, kind in zip(table.column_names, types, strict=True))
        if self._staged.get(name) != columns:
            self.run(f"DROP TABLE IF EXISTS {stage}")
            self.run(f"CREATE TEMP TABLE {quoted(name)} ({columns})")
            self._staged[name] = columns
        else:
            self.run(f"DELETE FROM {stage}")
        self._insert(stage, table)

    def append(self, target: TableName, table: pa.Table) -> None:
        self._insert(quoted_table(GRAMMAR, target), table)

    def _insert(self, target: str, table: pa.Table) -> None:
        columns = ", ".join(quoted(name, bytes_max=GRAMMAR.name_bytes_max) for name in table.column_names)
        places = ", ".join("?" * table.num_columns)
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        with _translated():
            self.connection.executemany(f"INSERT INTO {target} ({columns}) VALUES ({places})", rows)

    def close(self) -> None:
        self.alive = False
        self.connection.close()


@contextlib.contextmanager
def _translated() -> Any:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as error:
        raise _ours(error) from error
    except OverflowError as error:
        raise Refused(f"an integer does not fit 64 bits: {error}", "SQLITE_MISMATCH") from error
    except UnicodeEncodeError as error:
        raise Refused("text that is not valid Unicode", "SQLITE_MISMATCH") from error


def _ours(error: sqlite3.Error) -> Exception:
    code = str(getattr(error, "sqlite_errorname", "") or "")
    text = str(error)
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return UnavailableError(f"the file is in use by another process: {text}", hint="it is tried again later")
    if code.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return AccessError(f"SQLite: {text}", code="access.permission", hint="the file and its folder must be writable")
    if code.startswith("SQLITE_FULL"):
        return FullError(f"SQLite: {text}", hint="make room at the destination, and run again: nothing is lost")
    if code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_NOMEM")):
        return UnavailableError(f"SQLite: {text}", hint="see whether the disk and the folder are there")
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return DestinationError(f"SQLite: {text}", code="destination.corrupted", hint="restore the file from a backup")
    if code.startswith("SQLITE_SCHEMA"):
        return Transient(text)
    if code.startswith(("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG", "SQLITE_RANGE")) or isinstance(
        error, sqlite3.DataError | sqlite3.InterfaceError
    ):
        return Refused(text, code, duplicate=code in ("SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"))
    return DestinationError(f"SQLite: {text}", code="destination.statement")


@dataclass(frozen=True, slots=True)
class SqliteEngine:
    path: Path
    create: bool
    title: str = TITLE
    grammar: Grammar = GRAMMAR

    def connect(self) -> SqliteSession:
        if not self.create and not self.path.is_file():
            raise ConfigError(
                f"there is no file {self.path}", code="destination.missing_file", hint="or set create_tables: true"
            )
        self._placed()
        mode = "rwc" if self.create else "rw"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        with _translated():
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
            session = SqliteSession(connection)
        try:
            session.run("PRAGMA foreign_keys = ON")
            # as FULL, which forgets a commit if the power goes before the deleted journal's name has left the disk
            session.run("PRAGMA synchronous = EXTRA")
            session.fetch("SELECT count(*) FROM sqlite_master")
        except BaseException:
            session.close()
            raise
        return session

    def _placed(self) -> None:
        """A path that can be none is a mistake in a file, and no outage."""
        if not self.path.parent.is_dir():
            raise ConfigError(
                f"there is no folder {self.path.parent}", code="destination.missing_file", hint="make it, or mend path"
            )
        if self.path.is_dir():
            raise ConfigError(f"{self.path} is a folder", code="destination.missing_file", hint="name a file in it")

    def look(self) -> SqliteSession:
        self._placed()
        if self.create and not self.path.is_file():
            return SqliteSession(sqlite3.connect(":memory:", isolation_level=None))
        return self.connect()

    def facts(self, session: Any, name: TableName) -> TableFacts | None:
        schema = quoted(name.schema or "main")
        table = quoted(name.table, bytes_max=GRAMMAR.name_bytes_max)
        self._known_schema(session, name)
        found = session.fetch(f"PRAGMA {schema}.table_xinfo({table})")
        if not found:
            return None
        keys = [str(row[1]) for row in sorted(found, key=lambda row: int(row[5])) if row[5]]
        rowid = len(keys) == 1 and any(row[5] and str(row[2]).upper() == "INTEGER" for row in found)
        columns = tuple(
            TableColumn(
                str(row[1]),
                str(row[2]),
                nullable=not (row[3] or (rowid and row[5])),
                default=row[4] is not None or bool(rowid and row[5]),
                writable=not row[6],
            )
            for row in found
        )
        uniques = {frozenset(keys)} if keys else set()
        collations: dict[str, str] = {}
        for index in session.fetch(f"PRAGMA {schema}.index_list({table})"):
            if index[2] and not index[4]:
                parts = session.fetch(f"PRAGMA {schema}.index_xinfo({quoted(str(index[1]), bytes_max=2_000)})")
                parts = [part for part in parts if part[5]]
                collations |= {str(part[2]): str(part[4]) for part in parts if str(part[4]).upper() != "BINARY"}
                if all(part[2] is not None for part in parts):
                    uniques.add(frozenset(str(part[2]) for part in parts))
        # an index has the collation of its column, unless it says otherwise; the column's own is told nowhere
        columns = tuple(
            replace(column, seen=f"{{}} COLLATE {quoted(collations[column.name])}")
            if column.name in collations
            else replace(column, seen=GRAMMAR.plain if _collated(column.native) else "")
            for column in columns
        )
        return TableFacts(name, columns, tuple(uniques))

    def _known_schema(self, session: Any, name: TableName) -> None:
        known = [str(row[1]) for row in session.fetch("PRAGMA database_list")]
        if name.schema and name.schema.lower() not in known:
            raise ConfigError(
                f"{name}: a SQLite file has no schema {name.schema}",
                code="destination.missing_table",
                hint="name the table alone",
            )

    def tables(self, session: Any, schema: str) -> tuple[str, ...]:
        rows = session.fetch(
            f"SELECT name FROM {quoted(schema or 'main')}.sqlite_master WHERE type IN ('table', 'view')"
            " AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1"
        )
        return tuple(str(row[0]) for row in rows)

    def may_create(self, session: Any, schema: str) -> bool:
        return not session.fetch("PRAGMA query_only")[0][0]

    def native(self, kind: pa.DataType, matches: int) -> str | None:
        form = simple(kind)
        types = pa.types
        if form is None:
            return None
        if types.is_boolean(form):
            return "BOOLEAN"
        if types.is_integer(form):
            return "INTEGER"
        if types.is_floating(form):
            return "REAL"
        if types.is_decimal(form):
            decimal = cast("Any", form)
            return f"DECIMAL_TEXT({decimal.precision},{decimal.scale})"
        if types.is_binary(form):
            return "BLOB"
        if types.is_date(form):
            return "DATE"
        if types.is_time(form):
            return "TIME"
        if types.is_timestamp(form):
            return "TIMESTAMPTZ" if cast("Any", form).tz else "TIMESTAMP"
        return "JSON_TEXT" if is_nested(form) else "TEXT"

    def field(self, column: TableColumn, wanted: pa.DataType | None) -> tuple[FieldType, ValueLimits]:
        declared = column.native.upper()
        name, _, rest = declared.partition("(")
        name = name.strip()
        exact: dict[str, FieldType] = {
            "BOOLEAN": "boolean", "BOOL": "boolean", "DATE": "date", "TIME": "time", "TIMESTAMP": "timestamp",
            "DATETIME": "timestamp", "TIMESTAMPTZ": "timestamp_tz", "JSON_TEXT": "json", "UUID": "text",
        }  # fmt: skip
        if name in exact:
            return exact[name], ValueLimits(nul_character=True)
        if name == "DECIMAL_TEXT":
            if not rest:
                return "decimal", ValueLimits(decimal_unlimited=True)
            digits, _, scale = rest.rstrip(")").partition(",")
            return "decimal", ValueLimits(decimal_digits=int(digits), decimal_scale=int(scale))
        if "INT" in name:
            return "integer", ValueLimits(integer_bits=64)
        if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
            return "text", ValueLimits(nul_character=True)
        if "BLOB" in name:
            return "binary", ValueLimits()
        if any(part in name for part in ("REAL", "FLOA", "DOUB")):
            return "number", ValueLimits()
        if name in ("DECIMAL", "NUMERIC", "NUMBER"):
            # numeric affinity turns longer ones into floating point
            return "decimal", ValueLimits(decimal_digits=15)
        return "any", ValueLimits(nul_character=True)

    def staged(self, kind: pa.DataType, native: str) -> str:
        # no affinity: what is staged comes out as it went in
        return "BLOB"

    def value(self, expression: str, kind: pa.DataType, native: str) -> str:
        return expression

    def compared(self, expression: str, native: str) -> str:
        return expression

    def stored(self, expression: str, native: str) -> str:
        return expression

    def direct(self, kind: pa.DataType, native: str) -> bool:
        return True

    def shaped(self, table: pa.Table, natives: Sequence[str]) -> pa.Table:
        """Whatever SQLite has no kind for becomes text."""
        columns = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            columns.append(_shaped(simplified(column, name), name))
        return pa.table(columns, names=table.column_names)

    def lock(self, session: Any, target: TableName) -> None:
        """BEGIN IMMEDIATE has locked the file already."""

    def held(self, session: Any, target: TableName) -> str:
        """BEGIN IMMEDIATE has locked the file already."""
        return ""

    def place(self, name: TableName) -> str:
        return repr((place_of(self.path), (name.schema or "main").lower(), name.table.lower()))

    def identity(self, session: Any, name: TableName) -> str:
        """A table that was made before our marks stays before them, in every VACUUM; made anew it is behind them."""
        rows = session.fetch(
            f"SELECT (SELECT rowid FROM {quoted(name.schema or 'main')}.sqlite_master WHERE name = ? COLLATE NOCASE)"
            f" < (SELECT rowid FROM {quoted(name.schema or 'main')}.sqlite_master WHERE name = ?)",
            (name.table, MARKS_TABLE),
        )
        return "" if rows[0][0] is None else "before" if rows[0][0] else "behind"

    def like(self, session: Any, original: TableName, copy: TableName) -> None:
        """The columns alone: indexes and constraints are those of the original, into which the rows move."""
        facts = self.facts(session, original)
        assert facts is not None
        columns = ", ".join(f"{quoted(c.name, bytes_max=1_000)} {_bare(c.native)}" for c in facts.columns if c.writable)
        session.run(f"CREATE TABLE {quoted_table(GRAMMAR, copy)} ({columns})")

    def swap(self, session: Any, target: TableName, staging: TableName, retired: TableName) -> bool:
        """The rows change places in one transaction; indexes, triggers and views stay with the table."""
        swap_rows(self, session, target, staging)
        return False


def _collated(native: str) -> bool:
    """May a column of this declared type hold text, which its collation compares?"""
    return any(part in native.upper() for part in ("CHAR", "CLOB", "TEXT")) or not native


def _bare(native: str) -> str:
    """A declared type, in quotes: SQLite lets it be any text."""
    return quoted(native, bytes_max=1_000) if native else ""


def _shaped(column: pa.ChunkedArray[Any], name: str) -> pa.ChunkedArray[Any]:
    kind = column.type
    types = pa.types
    if is_nested(kind):
        return as_json(column, name)
    if types.is_boolean(kind):
        return column.cast(pa.int16())
    if types.is_decimal(kind):
        digits = [None if value is None else decimal_text(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(digits, pa.string())])
    if types.is_date(kind) or types.is_time(kind):
        return column.cast(pa.string())
    if types.is_timestamp(kind):
        texts = column.cast(pa.string())
        if cast("Any", kind).tz:
            import pyarrow.compute as pc

            return pc.replace_substring_regex(texts, "Z$", "+00:00")
        return texts
    if types.is_floating(kind):
        _no_nan(column, name)
    return widened(column)


def _no_nan(column: pa.ChunkedArray[Any], name: str) -> None:
    """SQLite would store NULL for NaN."""
    import pyarrow.compute as pc

    if pc.any(pc.is_nan(column)).as_py():
        raise Refused(f"{name}: SQLite cannot hold NaN", "SQLITE_MISMATCH")


def open_sqlite(name: str, options: SqliteOptions, surroundings: Surroundings) -> SqlDestination:
    path = surroundings.root / options.path
    spec = DestinationSpec("sqlite", TITLE, DOCS, Limits(records_per_request=RECORDS_PER_BATCH, concurrent_requests=1))
    engine = SqliteEngine(path, options.create_tables)
    return SqlDestination(name, engine, spec, options.create_tables, marks=options.marks)


TYPE = DestinationType("sqlite", TITLE, DOCS, SqliteOptions, open_sqlite)
