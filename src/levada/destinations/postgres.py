"""PostgreSQL as a destination: COPY in binary form by the ADBC driver, everything in one transaction.

`postgres_swap` says how mode replace changes tables; types and errors are here. Not here: reading models
from PostgreSQL, which is `levada.sources.postgres`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy, look_up, unreached
from levada.database import DatabaseAddress, DatabaseOptions, database_address
from levada.destination import DestinationSpec, DestinationType, Surroundings
from levada.destinations.postgres_swap import swap_tables
from levada.destinations.tables.destination import SqlDestination
from levada.destinations.tables.engine import Grammar, Refused, TableColumn, TableFacts, Transient
from levada.destinations.tables.names import TableName, quoted
from levada.destinations.tables.statements import quoted_table
from levada.destinations.tables.values import as_json, is_nested, is_plain_list, simple, simplified, widened
from levada.errors import AccessError, ConfigError, DestinationError, FullError, LevadaError, UnavailableError
from levada.libpq import PARAMETERS, conninfo, not_agreed, without_environment
from levada.limits import Limits
from levada.mapping import FieldType, ValueLimits

TITLE = "PostgreSQL"
DOCS = "docs/reference/table-destinations.md"
RECORDS_PER_BATCH = 100_000
LOCK_SECONDS = 60
GRAMMAR = Grammar(
    exact='CAST({} AS text) COLLATE "C" = CAST({} AS text) COLLATE "C"',
    placeholder="$",
    unlimited="numeric",
    json="jsonb",
    marks_columns=(
        "sync text NOT NULL, plan_id text NOT NULL, batch bigint NOT NULL, first_row bigint NOT NULL,"
        " row_count bigint NOT NULL, detail text, applied_at timestamptz NOT NULL,"
        " PRIMARY KEY (plan_id, first_row, row_count)"
    ),
)

BINARY_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.date32(): "date",
    pa.time64("us"): "time without time zone",
    pa.timestamp("us"): "timestamp without time zone",
    pa.timestamp("us", "UTC"): "timestamp with time zone",
}
"""As what the driver writes each simple Arrow type; decimals are numeric, lists arrays of these."""

FIELD_TYPES: dict[str, tuple[FieldType, ValueLimits]] = {
    "boolean": ("boolean", ValueLimits()),
    "smallint": ("integer", ValueLimits(integer_bits=16)),
    "integer": ("integer", ValueLimits(integer_bits=32)),
    "bigint": ("integer", ValueLimits(integer_bits=64)),
    "real": ("number", ValueLimits(nonfinite=True)),
    "double precision": ("number", ValueLimits(nonfinite=True)),
    "numeric": ("decimal", ValueLimits(decimal_unlimited=True, nonfinite=True)),
    "bytea": ("binary", ValueLimits()),
    "date": ("date", ValueLimits()),
    "time without time zone": ("time", ValueLimits()),
    "timestamp without time zone": ("timestamp", ValueLimits()),
    "timestamp with time zone": ("timestamp_tz", ValueLimits()),
    "json": ("json", ValueLimits()),
    "jsonb": ("json", ValueLimits()),
    "uuid": ("uuid", ValueLimits()),
}
UNEQUAL_TYPES = ("json", "xml", "point", "line", "lseg", "box", "path", "polygon", "circle")
"""Types without an equality, or with one that means something else (the area of a box)."""
TEXT_TYPES = ("text", "character varying", "character")
MODIFIER = re.compile(r"\((\d+)(?:, ?(-?\d+))?\)")
CHANGES = re.compile(r"^(timestamp|time)\((\d)\)")


class PostgresOptions(DatabaseOptions):
    """Tables of a PostgreSQL database."""

    create_tables: bool = False
    """Make tables and columns that are missing, and say so."""
    schema_: str = Field(default="", alias="schema")
    """The schema of tables that are named without one."""
    marks: bool = True
    """Keep the small table `_levada_marks` beside the tables, by which no batch is ever written twice."""


@dataclass(slots=True)
class PostgresSession:
    """One connection of the ADBC driver. Statements outside a transaction commit by themselves."""

    connection: Any
    shown: str
    alive: bool = True
    _staged: tuple[str, ...] = ()
    _staged_here: bool = False
    _begun: bool = False

    def begin(self, *, reads: bool = False) -> None:
        with self._translated():
            self.connection.adbc_connection.set_autocommit(False)
        self._begun = True

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement, list(parameters) or None)

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement, list(parameters) or None)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

    def columns(self, statement: str) -> pa.Table:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.execute(statement)
            found: pa.Table = cursor.fetch_arrow_table()
            return found

    def commit(self) -> None:
        try:
            with self._translated():
                self.connection.adbc_connection.commit()
        except UnavailableError as error:
            raise ConnectionError("the answer to COMMIT was lost") from error
        self._staged_here = self._begun = False
        with self._translated():
            self.connection.adbc_connection.set_autocommit(True)

    def rollback(self) -> None:
        if self._staged_here:
            self._staged, self._staged_here = (), False
        if not self._begun:
            return
        self._begun = False
        try:
            with self._translated():
                self.connection.adbc_connection.rollback()
                self.connection.adbc_connection.set_autocommit(True)
        except (LevadaError, Refused, Transient):
            self.alive = False

    def stage(self, name: str, table: pa.Table, types: Sequence[str]) -> None:
        columns = ", ".join(f"{quoted(c)} {kind}" for c, kind in zip(table.column_names, types, strict=True))
        if self._staged == (columns,):
            self.run(f"TRUNCATE pg_temp.{quoted(name)}")
        else:
            self.run(f"DROP TABLE IF EXISTS pg_temp.{quoted(name)}")
            self.run(f"CREATE TEMP TABLE {quoted(name)} ({columns}) ON COMMIT DELETE ROWS")
            self._staged, self._staged_here = (columns,), True
        with self._translated(), self.connection.cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="append", temporary=True)

    def append(self, target: TableName, table: pa.Table) -> None:
        with self._translated(), self.connection.cursor() as cursor:
            cursor.adbc_ingest(target.table, table, mode="append", db_schema_name=target.schema or None)

    def close(self) -> None:
        self.alive = False
        with contextlib.suppress(Exception):
            self.connection.close()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's errors in our words."""
        import adbc_driver_manager

        try:
            yield
        except adbc_driver_manager.Error as error:
            ours = _ours(error, self.shown)
            if isinstance(ours, UnavailableError):
                self.alive = False
            raise ours from error
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeError) as error:
            raise Refused(str(error), "value") from error


def _ours(error: Any, shown: str) -> Exception:
    state = str(error.sqlstate or "")
    text = _said(str(error))
    if state in ("40001", "40P01", "55P03"):
        return Transient(text)
    if state.startswith(("22", "23", "21")) or state in ("P0001", "44000"):
        return Refused(text, state, duplicate=state in ("23505", "21000"))
    if state.startswith("28") or state in ("42501", "25006"):
        return AccessError(
            f"{TITLE} at {shown}: {text}", code="access.permission", hint="grant the user what the message names"
        )
    if state == "53100":
        return FullError(
            f"{TITLE} at {shown}: {text}", hint="make room at the destination, and run again: nothing is lost"
        )
    if state.startswith(("08", "53", "57")) or not state:
        return UnavailableError(f"{TITLE} at {shown}: {text}", hint="it is tried again later")
    if state in ("42P01", "42703", "3F000"):
        return ConfigError(f"{TITLE} at {shown}: {text}", code="destination.missing_table")
    return DestinationError(f"{TITLE} at {shown}: {text} ({state})", code="destination.statement")


def _said(text: str) -> str:
    """The database's own words: without the driver's, the statement, and rows quoted in full."""
    _, found, said = text.partition("ERROR:")
    if not found:
        _, found, said = text.partition("FATAL:")
    lines = (said if found else text).strip().split("\n")
    details = [line for line in lines[1:] if line.startswith("DETAIL:") and "Failing row" not in line]
    kept = [lines[0].strip(), *(line.removeprefix("DETAIL:").strip() for line in details)]
    return re.sub(r"\.? SQLSTATE: \w+$", "", "; ".join(kept)).strip()


def _refused_login(error: Any, address: DatabaseAddress) -> LevadaError:
    """Why there is no connection. Before a connection stands the driver tells no SQLSTATE, only words."""
    text = _said(str(error)) if "FATAL:" in str(error) else " ".join(str(error).split())
    where = f"{TITLE} at {address.shown}"
    words = text.lower()
    if any(word in words for word in ("authentication", "no pg_hba.conf", "role ", "permission denied", "password")):
        return AccessError(
            f"{where}: {text}", code="access.refused", hint="see user and password in the destination's file"
        )
    if "database " in words and "does not exist" in words:
        return ConfigError(f"{where}: {text}", code="destination.missing_database", hint="see the destination's file")
    if not_agreed(words):
        return AccessError(
            f"{where}: {text}",
            code="access.tls",
            hint="name the authority's file with ?sslrootcert=FILE, or choose another `sslmode` knowingly",
        )
    return _unreachable(text, address)


def _unreachable(error: OSError | str, address: DatabaseAddress) -> UnavailableError:
    return UnavailableError(
        f"{TITLE} at {address.shown}: {unreached(error)}",
        hint="is the server running, and does the destination's file name its host and port?",
    )


@dataclass(frozen=True, slots=True)
class PostgresEngine:
    address: DatabaseAddress
    policy: AddressPolicy = OWN_MACHINE
    title: str = TITLE
    grammar: Grammar = GRAMMAR

    def connect(self) -> PostgresSession:
        try:
            import adbc_driver_manager
            import adbc_driver_postgresql.dbapi as driver
        except ImportError as error:
            raise ConfigError(
                "the PostgreSQL driver is not installed",
                code="destination.driver",
                hint="pip install 'levada[postgres]', or in a clone make setup",
            ) from error
        try:
            told = conninfo(self.address, look_up(self.address.host, self.address.port, self.policy))
            with without_environment():
                connection = driver.connect(told, autocommit=True)
        except OSError as error:
            raise _unreachable(error, self.address) from error
        except adbc_driver_manager.Error as error:
            raise _refused_login(error, self.address) from error
        session = PostgresSession(connection, self.address.shown)
        try:
            session.run("SET TIME ZONE 'UTC'")
            session.run(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            session.run("SET client_min_messages = 'error'")
        except BaseException:
            session.close()
            raise
        return session

    def look(self) -> PostgresSession:
        return self.connect()

    def facts(self, session: Any, name: TableName) -> TableFacts | None:
        place = quoted_table(GRAMMAR, name)
        found = session.fetch(
            "SELECT c.oid::bigint, n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p', 'v', 'f', 'm')",
            (place,),
        )
        if not found:
            return None
        oid, schema = int(found[0][0]), str(found[0][1])
        columns = session.fetch(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod),"
            " format_type(CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE a.atttypid END,"
            " CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),"
            " a.attnotnull OR t.typnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,"
            " a.attgenerated = '' AND a.attidentity <> 'a',"
            " (SELECT json_agg(e.enumlabel ORDER BY e.enumsortorder)::text FROM pg_enum e WHERE e.enumtypid = t.oid),"
            # asked by way of JSON, since PostgreSQL 11 has no such column
            " (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.collname) FROM pg_collation c"
            " JOIN pg_namespace n ON n.oid = c.collnamespace"
            " WHERE c.oid = a.attcollation AND to_json(c) ->> 'collisdeterministic' = 'false')"
            " FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            f" WHERE a.attrelid = {oid} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        )
        uniques = session.fetch(
            "SELECT (SELECT json_agg(a.attname)::text FROM pg_attribute a"
            " WHERE a.attrelid = i.indrelid AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]))"
            f" FROM pg_index i WHERE i.indrelid = {oid} AND i.indisunique AND i.indisvalid AND i.indimmediate"
            " AND i.indpred IS NULL AND i.indexprs IS NULL"
        )
        return TableFacts(
            TableName(schema, name.table),
            tuple(_column(row) for row in columns),
            tuple(frozenset(_strings(row[0]) or ()) for row in uniques),
        )

    def tables(self, session: Any, schema: str) -> tuple[str, ...]:
        rows = session.fetch(
            "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p', 'v', 'f', 'm') AND n.nspname = coalesce(nullif($1, ''), current_schema())"
            " ORDER BY 1",
            (schema,),
        )
        return tuple(str(row[0]) for row in rows)

    def may_create(self, session: Any, schema: str) -> bool:
        rows = session.fetch(
            "SELECT has_schema_privilege(n.oid, 'CREATE') FROM pg_namespace n"
            " WHERE n.nspname = coalesce(nullif($1, ''), current_schema())",
            (schema,),
        )
        return bool(rows and rows[0][0])

    def native(self, kind: pa.DataType, matches: int) -> str | None:
        if getattr(kind, "extension_name", "") == "arrow.uuid":
            return "uuid"
        form = simple(kind)
        if form is None:
            return None
        if pa.types.is_decimal(form):
            decimal = cast("Any", form)
            return f"numeric({decimal.precision},{decimal.scale})"
        if is_plain_list(form):
            inner = BINARY_TYPES.get(cast("Any", form).value_type)
            return f"{inner}[]" if inner else "jsonb"
        return "jsonb" if is_nested(form) else BINARY_TYPES.get(form)

    def field(self, column: TableColumn, wanted: pa.DataType | None) -> tuple[FieldType, ValueLimits]:
        native = column.base or column.native
        if native.endswith("[]"):
            return "list", ValueLimits(nonfinite=True)
        plain, modifier = _plain(native), MODIFIER.search(native)
        if plain == "numeric" and modifier:
            return "decimal", ValueLimits(decimal_digits=int(modifier[1]), decimal_scale=int(modifier[2] or 0))
        if plain in ("character varying", "character") and modifier:
            limits = ValueLimits(text_characters=int(modifier[1]), trailing_spaces=plain != "character")
            return "text", limits
        return FIELD_TYPES.get(plain, ("text", ValueLimits()))

    def staged(self, kind: pa.DataType, native: str) -> str:
        form = simple(kind)
        assert form is not None
        if pa.types.is_decimal(form):
            return "numeric"
        if is_nested(form):
            inner = BINARY_TYPES.get(cast("Any", form).value_type) if _is_array(form, native) else None
            return f"{inner}[]" if inner else "text"
        if form == pa.float32() and _plain(native) == "double precision":
            return "double precision"
        return BINARY_TYPES[form]

    def value(self, expression: str, kind: pa.DataType, native: str) -> str:
        staged, plain = self.staged(kind, native), _plain(native)
        if staged == plain or (staged in TEXT_TYPES and plain in TEXT_TYPES):
            # the column's own length and scale are applied by the assignment, which refuses what is too long
            return expression
        return f"CAST({expression} AS {plain})"

    def compared(self, expression: str, native: str) -> str:
        return f"CAST({expression} AS text)" if _plain(native).removesuffix("[]") in UNEQUAL_TYPES else expression

    def stored(self, expression: str, native: str) -> str:
        plain = _plain(native)
        known = plain.removesuffix("[]") in BINARY_TYPES.values() or plain == "character varying"
        return expression if known else f"CAST({expression} AS text)"

    def direct(self, kind: pa.DataType, native: str) -> bool:
        staged, plain = self.staged(kind, native), _plain(native)
        return staged == plain or (staged == "text" and plain in ("character varying", "json"))

    def shaped(self, table: pa.Table, natives: Sequence[str]) -> pa.Table:
        columns: list[pa.ChunkedArray[Any]] = []
        for name, column, native in zip(table.column_names, table.columns, natives, strict=True):
            form = simplified(column, name)
            if is_nested(form.type) and self.staged(form.type, native) == "text":
                form = as_json(form, name)
            _no_lost_digits(form, name, native)
            columns.append(widened(form) if _plain(native) == "double precision" else form)
        return pa.table(columns, names=table.column_names)

    def lock(self, session: Any, target: TableName) -> None:
        session.run(f"LOCK TABLE {quoted_table(GRAMMAR, target)} IN SHARE ROW EXCLUSIVE MODE")

    def held(self, session: Any, target: TableName) -> str:
        rows = session.fetch(
            "SELECT 1 FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')"
            " AND has_any_column_privilege(c.oid, 'UPDATE')",
            (quoted_table(GRAMMAR, target),),
        )
        return " FOR UPDATE OF t" if rows else ""

    def place(self, name: TableName) -> str:
        return self.address.place(name.schema or "public", name.table)

    def identity(self, session: Any, name: TableName) -> str:
        rows = session.fetch(
            "SELECT c.oid::bigint FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind IN ('r', 'p')",
            (quoted_table(GRAMMAR, name),),
        )
        return str(rows[0][0]) if rows else ""

    def like(self, session: Any, original: TableName, copy: TableName) -> None:
        session.run(
            f"CREATE TABLE {quoted_table(GRAMMAR, copy)} (LIKE {quoted_table(GRAMMAR, original)} INCLUDING ALL)"
        )

    def swap(self, session: Any, target: TableName, staging: TableName, retired: TableName) -> bool:
        swap_tables(self, session, target, staging)
        return False


def _column(row: tuple[Any, ...]) -> TableColumn:
    name, native, base, not_null, default, writable, choices, collation = row
    return TableColumn(
        str(name),
        str(native),
        nullable=not not_null,
        default=bool(default),
        writable=bool(writable),
        choices=_strings(choices),
        base=str(base),
        seen=_seen(_plain(str(base)), collation),
    )


def _seen(plain: str, collation: str | None) -> str:
    """How a column of this type and collation that is not deterministic sees a text (TableColumn.seen)."""
    if plain in ("character", "citext"):
        return f"CAST({{}} AS {'bpchar' if plain == 'character' else 'citext'})"
    return f"{{}} COLLATE {collation}" if collation else ""


def _strings(text: str | None) -> tuple[str, ...] | None:
    import json

    return None if text is None else tuple(json.loads(text))


def _plain(native: str) -> str:
    """A type's name without length, precision and scale."""
    return MODIFIER.sub("", native)


def _is_array(form: pa.DataType, native: str) -> bool:
    return is_plain_list(form) and native.endswith("[]")


def _no_lost_digits(column: pa.ChunkedArray[Any], name: str, native: str) -> None:
    """A column timestamp(3) would round microseconds in silence."""
    declared = CHANGES.match(native)
    if not declared or not (pa.types.is_timestamp(column.type) or pa.types.is_time(column.type)):
        return
    import pyarrow.compute as pc

    step = 10 ** (6 - int(declared[2]))
    whole: Any = column.cast(pa.int64())
    compute = cast("Any", pc)
    if compute.any(compute.not_equal(compute.multiply(compute.divide(whole, step), step), whole)).as_py():
        raise Refused(f"{name}: the column {native} would round the time", "22008")


def open_postgres(name: str, options: PostgresOptions, surroundings: Surroundings) -> SqlDestination:
    root, policy = surroundings.root, surroundings.policy
    address = database_address(options, PARAMETERS, code="destination.url", root=root, policy=policy)
    spec = DestinationSpec(
        "postgres", TITLE, DOCS, Limits(records_per_request=RECORDS_PER_BATCH, concurrent_requests=1)
    )
    return SqlDestination(
        name, PostgresEngine(address, policy), spec, options.create_tables, schema=options.schema_, marks=options.marks
    )


TYPE = DestinationType("postgres", TITLE, DOCS, PostgresOptions, open_postgres)
