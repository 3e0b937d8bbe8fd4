"""DuckDB as a destination: a database file on this machine, written by this process alone.

Arrow goes in as it is; a batch is registered and never copied. Not here: reading models from DuckDB, which is
`levada.sources.duckdb`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from levada.destination import DestinationSpec, DestinationType, Surroundings
from levada.destinations.tables.destination import SqlDestination, swap_rows
from levada.destinations.tables.engine import Grammar, Refused, TableColumn, TableFacts, Transient
from levada.destinations.tables.names import TableName, place_of, quoted
from levada.destinations.tables.statements import quoted_table
from levada.destinations.tables.values import as_json, is_nested, simple, simplified, widened
from levada.durable import FULL, sync_path
from levada.errors import AccessError, ConfigError, DestinationError, FullError, UnavailableError
from levada.limits import Limits
from levada.mapping import FieldType, ValueLimits
from levada.model import Declaration
from levada.sql.connection import bare, connect

TITLE = "DuckDB"
DOCS = "docs/reference/table-destinations.md"
RECORDS_PER_BATCH = 100_000
MEMORY = "512MB"
DECIMAL_DIGITS_MAX = 38
SETTINGS = {"enable_external_access": "false", "memory_limit": MEMORY}
"""Of every connection to the file: no statement reaches other files or the network."""

GRAMMAR = Grammar(
    exact="encode(CAST({} AS VARCHAR)) = encode(CAST({} AS VARCHAR))",
    plain="encode({})",
    name_bytes_max=1_000,
    json="JSON",
    uuid="UUID",
    marks_columns=(
        "sync VARCHAR NOT NULL, plan_id VARCHAR NOT NULL, batch BIGINT NOT NULL, first_row BIGINT NOT NULL,"
        " row_count BIGINT NOT NULL, detail VARCHAR, applied_at TIMESTAMP NOT NULL,"
        " PRIMARY KEY (plan_id, first_row, row_count)"
    ),
)

FIELD_TYPES: dict[str, tuple[FieldType, ValueLimits]] = {
    "BOOLEAN": ("boolean", ValueLimits()),
    "TINYINT": ("integer", ValueLimits(integer_bits=8)),
    "SMALLINT": ("integer", ValueLimits(integer_bits=16)),
    "INTEGER": ("integer", ValueLimits(integer_bits=32)),
    "BIGINT": ("integer", ValueLimits(integer_bits=64)),
    "HUGEINT": ("integer", ValueLimits(integer_bits=128)),
    "UTINYINT": ("integer", ValueLimits(integer_bits=9)),
    "USMALLINT": ("integer", ValueLimits(integer_bits=17)),
    "UINTEGER": ("integer", ValueLimits(integer_bits=33)),
    "UBIGINT": ("integer", ValueLimits(integer_bits=65)),
    "FLOAT": ("number", ValueLimits(nonfinite=True)),
    "DOUBLE": ("number", ValueLimits(nonfinite=True)),
    "VARCHAR": ("text", ValueLimits(nul_character=True)),
    "BLOB": ("binary", ValueLimits()),
    "DATE": ("date", ValueLimits()),
    "TIME": ("time", ValueLimits()),
    "TIMESTAMP": ("timestamp", ValueLimits()),
    "TIMESTAMP_NS": ("timestamp", ValueLimits()),
    "TIMESTAMP WITH TIME ZONE": ("timestamp_tz", ValueLimits()),
    "UUID": ("uuid", ValueLimits()),
    "JSON": ("json", ValueLimits()),
}
DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
FULL_HINT = "make room at the destination, and run again: nothing is lost"
COARSE = {"TIMESTAMP_S": 1_000_000, "TIMESTAMP_MS": 1_000}


class DuckdbOptions(Declaration):
    """Tables of a DuckDB file."""

    path: str
    """The database file; relative to the project's folder. No other process may have it open while a run writes."""
    create_tables: bool = False
    """Make the file, tables and columns that are missing, and say so."""
    marks: bool = True
    """Keep the small table `_levada_marks` beside the tables, by which no batch is ever written twice."""


@dataclass(slots=True)
class DuckdbSession:
    """One connection. Statements outside a transaction commit by themselves. `folder`: where the file lies."""

    connection: Any
    folder: Path | None = None
    alive: bool = True

    def begin(self, *, reads: bool = False) -> None:
        self.run("BEGIN TRANSACTION")

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None:
        with _translated():
            self.connection.execute(statement, list(parameters))

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _translated():
            rows: list[tuple[Any, ...]] = self.connection.execute(statement, list(parameters)).fetchall()
            return rows

    def columns(self, statement: str) -> pa.Table:
        with _translated():
            found: pa.Table = self.connection.sql(statement).to_arrow_table()
            return found

    def commit(self) -> None:
        # an error of COMMIT rolls back: surely not applied
        self.run("COMMIT")
        if self.folder is not None:
            # the commit is in a log beside the file, which may be new: DuckDB makes sure of its content alone
            try:
                sync_path(self.folder)
            except OSError as error:
                self.alive = False
                raise ConnectionError(f"{TITLE}: {error}") from error

    def rollback(self) -> None:
        with contextlib.suppress(Exception):
            self.connection.execute("ROLLBACK")

    def stage(self, name: str, table: pa.Table, types: Sequence[str]) -> None:
        with _translated():
            self.connection.register(name, table)

    def append(self, target: TableName, table: pa.Table) -> None:
        columns = ", ".join(quoted(name, bytes_max=GRAMMAR.name_bytes_max) for name in table.column_names)
        self.stage("_levada_rows", table, ())
        self.run(f"INSERT INTO {quoted_table(GRAMMAR, target)} ({columns}) SELECT {columns} FROM _levada_rows")

    def close(self) -> None:
        self.alive = False
        self.connection.close()


def _make(path: Path) -> None:
    """An empty database, whole or not there: DuckDB writes a new file piece by piece, and opens no half of one.

    Only a kill leaves the file that it is made as, beside it and hidden. Where a file cannot get a second name, DuckDB
    makes it after all.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        connect(fresh, **SETTINGS).close()
        # not a rename: another process may have made the file meanwhile, and filled it
        with contextlib.suppress(OSError):
            path.hardlink_to(fresh)
    finally:
        fresh.unlink(missing_ok=True)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """DuckDB's errors, and those of the disk, in our words."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise _ours(error) from error
    except OSError as error:
        text = f"{TITLE}: {error.filename}: {error.strerror}"
        if error.errno in FULL:
            raise FullError(text, hint=FULL_HINT) from error
        raise UnavailableError(
            text, hint="the file must lie on a healthy disk, in a folder that can be written"
        ) from error


def _ours(error: Exception) -> Exception:
    import duckdb

    kind, text = type(error).__name__, " ".join(str(error).split())
    if isinstance(error, duckdb.ConstraintException):
        words = text.lower()
        twice = any(word in words for word in ("duplicate key", "primary key", "unique constraint", "second time"))
        return Refused(text, kind, duplicate=twice)
    if "second time" in text or "more than once" in text:
        return Refused(text, kind, duplicate=True)
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException | duckdb.InvalidInputException):
        return Refused(text, kind)
    if isinstance(error, duckdb.TransactionException):
        return Transient(text)
    if isinstance(error, duckdb.PermissionException) or "read-only" in text:
        return AccessError(
            f"{TITLE}: {text}", code="access.permission", hint="the file and its folder must be writable"
        )
    if "No space left" in text:
        return FullError(f"{TITLE}: {text}", hint=FULL_HINT)
    if isinstance(error, duckdb.OutOfMemoryException):
        return UnavailableError(f"{TITLE}: {text}", hint=f"a batch must be written with {MEMORY} of memory")
    if "not a valid DuckDB database" in text:
        return DestinationError(
            f"{TITLE}: {text}", code="destination.statement", hint="name a DuckDB database in `path:`, or a new file"
        )
    if isinstance(error, duckdb.IOException):
        elsewhere = "Could not set lock" in text
        hint = "close the other process, and run again" if elsewhere else "is it a DuckDB database, and undamaged?"
        return UnavailableError(f"{TITLE}: {text}", hint=hint)
    return DestinationError(f"{TITLE}: {text}", code="destination.statement")


@dataclass(frozen=True, slots=True)
class DuckdbEngine:
    path: Path
    create: bool
    title: str = TITLE
    grammar: Grammar = GRAMMAR

    def connect(self) -> DuckdbSession:
        if not self.create and not self.path.is_file():
            raise ConfigError(
                f"there is no file {self.path}", code="destination.missing_file", hint="or set create_tables: true"
            )
        self._placed()
        with _translated():
            if not self.path.exists():
                _make(self.path)
            connection = connect(self.path, **SETTINGS)
        session = DuckdbSession(connection, self.path.parent)
        try:
            with _translated():
                # what a process that was killed had committed is told as written: it stays, too
                sync_path(self.path.parent)
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

    def look(self) -> DuckdbSession:
        self._placed()
        if self.create and not self.path.is_file():
            return DuckdbSession(connect(**SETTINGS))
        return self.connect()

    def facts(self, session: Any, name: TableName) -> TableFacts | None:
        schema = name.schema or str(session.fetch("SELECT current_schema()")[0][0])
        found = session.fetch(
            "SELECT column_name, data_type, is_nullable, column_default FROM duckdb_columns()"
            " WHERE database_name = current_database() AND schema_name = ? AND table_name = ? ORDER BY column_index",
            (schema, name.table),
        )
        if not found:
            return None
        # a column's collation is told by the table's statement alone
        made = session.fetch(
            "SELECT sql FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ?"
            " AND table_name = ?",
            (schema, name.table),
        )
        collated = bool(made) and "COLLATE" in str(made[0][0]).upper()
        columns = tuple(
            TableColumn(
                str(n),
                str(t),
                nullable=bool(empty),
                default=default is not None,
                choices=_choices(str(t)),
                seen="{}" if collated and t == "VARCHAR" else "",
            )
            for n, t, empty, default in found
        )
        keys = session.fetch(
            "SELECT constraint_column_names FROM duckdb_constraints() WHERE database_name = current_database()"
            " AND schema_name = ? AND table_name = ? AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
            (schema, name.table),
        )
        indexes = session.fetch(
            "SELECT expressions FROM duckdb_indexes() WHERE database_name = current_database()"
            " AND schema_name = ? AND table_name = ? AND is_unique AND NOT is_primary",
            (schema, name.table),
        )
        known = {column.name for column in columns}
        uniques = [frozenset(str(part) for part in row[0]) for row in keys]
        uniques += [names for row in indexes if (names := _index_columns(row[0])) <= known and names]
        return TableFacts(name, columns, tuple(uniques))

    def tables(self, session: Any, schema: str) -> tuple[str, ...]:
        rows = session.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_catalog = current_database()"
            " AND table_schema = coalesce(nullif(?, ''), current_schema()) ORDER BY 1",
            (schema,),
        )
        return tuple(str(row[0]) for row in rows)

    def may_create(self, session: Any, schema: str) -> bool:
        return True

    def native(self, kind: pa.DataType, matches: int) -> str | None:
        return "UUID" if getattr(kind, "extension_name", "") == "arrow.uuid" else _native(_form(kind))

    def field(self, column: TableColumn, wanted: pa.DataType | None) -> tuple[FieldType, ValueLimits]:
        native = column.native
        decimal = DECIMAL.fullmatch(native)
        if decimal:
            return "decimal", ValueLimits(decimal_digits=int(decimal[1]), decimal_scale=int(decimal[2]))
        if native.endswith("]"):
            return "list", ValueLimits(nonfinite=True, any_date=True, nul_character=True)
        if native.startswith(("STRUCT(", "MAP(")):
            return "object", ValueLimits(nonfinite=True, any_date=True, nul_character=True)
        if native in COARSE:
            return "timestamp", ValueLimits()
        return FIELD_TYPES.get(native, ("text", ValueLimits(nul_character=True)))

    def staged(self, kind: pa.DataType, native: str) -> str:
        return ""

    def value(self, expression: str, kind: pa.DataType, native: str) -> str:
        return expression if not native else f"CAST({expression} AS {native})"

    def compared(self, expression: str, native: str) -> str:
        return expression

    def stored(self, expression: str, native: str) -> str:
        return expression

    def direct(self, kind: pa.DataType, native: str) -> bool:
        return True

    def shaped(self, table: pa.Table, natives: Sequence[str]) -> pa.Table:
        columns: list[pa.ChunkedArray[Any]] = []
        for name, column, native in zip(table.column_names, table.columns, natives, strict=True):
            form = column if _form(column.type) == column.type else simplified(column, name)
            if is_nested(form.type) and native in ("JSON", "VARCHAR"):
                form = as_json(form, name)
            _no_lost_digits(form, name, native)
            columns.append(widened(form) if native == "DOUBLE" else form)
        return pa.table(columns, names=table.column_names)

    def lock(self, session: Any, target: TableName) -> None:
        """No other process can have the file open."""

    def held(self, session: Any, target: TableName) -> str:
        return ""

    def place(self, name: TableName) -> str:
        return repr((place_of(self.path), (name.schema or "main").lower(), name.table.lower()))

    def identity(self, session: Any, name: TableName) -> str:
        return ""

    def like(self, session: Any, original: TableName, copy: TableName) -> None:
        """The columns alone: constraints are those of the original, into which the rows move."""
        session.run(
            f"CREATE TABLE {quoted_table(GRAMMAR, copy)} AS SELECT * FROM {quoted_table(GRAMMAR, original)} LIMIT 0"
        )

    def swap(self, session: Any, target: TableName, staging: TableName, retired: TableName) -> bool:
        """The rows change places in one transaction; indexes and views stay with the table."""
        swap_rows(self, session, target, staging)
        return False


def _form(kind: pa.DataType) -> pa.DataType | None:
    """As `simple`, but DuckDB holds nanoseconds where there is no zone, and unsigned integers."""
    if pa.types.is_unsigned_integer(kind) or kind == pa.timestamp("ns"):
        return kind
    form = simple(kind)
    if form is not None and pa.types.is_decimal(form) and cast("Any", form).precision > DECIMAL_DIGITS_MAX:
        return None
    return form


@lru_cache(maxsize=1_000)
def _native(form: pa.DataType | None) -> str | None:
    """The type that DuckDB itself gives to an Arrow type."""
    import duckdb

    if form is None:
        return None
    connection = bare()
    try:
        connection.register("one", pa.table({"x": pa.array([], form)}))
        return str(connection.execute("DESCRIBE one").fetchall()[0][1])
    except duckdb.Error:
        return None
    finally:
        connection.close()


def _choices(native: str) -> tuple[str, ...] | None:
    if not native.startswith("ENUM("):
        return None
    return tuple(found.replace("''", "'") for found in re.findall(r"'((?:[^']|'')*)'", native))


def _index_columns(expressions: object) -> frozenset[str]:
    """The columns of an index, as DuckDB prints them (`[id, '"odd name"']`); what is no plain column stays as text."""
    parts = re.findall(r"'((?:[^']|'')*)'|([^,\[\]\s][^,\[\]]*)", str(expressions))
    names = (first.replace("''", "'") or second.strip() for first, second in parts)
    return frozenset(name[1:-1].replace('""', '"') if name.startswith('"') else name for name in names)


def _no_lost_digits(column: pa.ChunkedArray[Any], name: str, native: str) -> None:
    """A column of seconds or milliseconds would round a finer time in silence."""
    step = COARSE.get(native)
    if step is None or column.type != pa.timestamp("us"):
        return
    import pyarrow.compute as pc

    whole: Any = column.cast(pa.int64())
    compute = cast("Any", pc)
    if compute.any(compute.not_equal(compute.multiply(compute.divide(whole, step), step), whole)).as_py():
        raise Refused(f"{name}: the column {native} would round the time", "ConversionException")


def open_duckdb(name: str, options: DuckdbOptions, surroundings: Surroundings) -> SqlDestination:
    path = surroundings.root / options.path
    spec = DestinationSpec("duckdb", TITLE, DOCS, Limits(records_per_request=RECORDS_PER_BATCH, concurrent_requests=1))
    return SqlDestination(
        name, DuckdbEngine(path, options.create_tables), spec, options.create_tables, marks=options.marks
    )


TYPE = DestinationType("duckdb", TITLE, DOCS, DuckdbOptions, open_duckdb)
