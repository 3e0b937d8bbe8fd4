"""PostgreSQL as a source: rows stream from the server by COPY, in one read-only snapshot.

Each read is a connection of its own with one transaction, REPEATABLE READ and READ ONLY. The query is run
as a sub-query, in which the server's grammar takes nothing that writes. How values arrive as Arrow is
`levada.sources.postgres_types`.

How the server is reached, and what of the process's own surroundings is not used, is `levada.libpq`; which functions
a query may call is `levada.sources.postgres_functions`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy, look_up, unreached
from levada.database import DatabaseAddress, DatabaseOptions, database_address
from levada.errors import AccessError, ConfigError, LevadaError, SourceError, UnreachableError
from levada.libpq import PARAMETERS, conninfo, not_agreed, without_environment
from levada.redaction import Redactor
from levada.source import Attachment, Column, SourceAbilities, SourceDeclaration, SourceType, cut_by_weight, missing
from levada.sources import postgres_functions, postgres_types
from levada.sources.postgres_functions import check_calls
from levada.sources.postgres_types import Reading
from levada.sources.running import Running
from levada.sources.statements import identifier, one_select, refused, wrapped

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor


BATCH_HINT = "adbc.postgresql.batch_size_hint_bytes"
READ_BYTES = 4 << 20
"""About so many bytes the driver puts into a batch. Each is held several times until it is planned."""
SESSION = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "client_encoding": "UTF8",
    "standard_conforming_strings": "on",
}
_TABLES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN quote_ident(c.relname)
            ELSE quote_ident(n.nspname) || '.' || quote_ident(c.relname) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'v', 'm', 'f', 'p') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_(toast|temp)'
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
"""


class PostgresOptions(SourceDeclaration, DatabaseOptions):
    type: Literal["postgres"] = "postgres"
    """A PostgreSQL database, or one that speaks its protocol and COPY."""
    schema_: str | None = Field(default=None, alias="schema", min_length=1)
    """The schema in which names without one are looked up first; then `public`."""


@dataclass(slots=True)
class PostgresSource:
    name: str
    address: DatabaseAddress
    schema: str | None = None
    statement_timeout_seconds: float | None = None
    policy: AddressPolicy = OWN_MACHINE
    #: the option that names the database
    option: str = "url"
    abilities: SourceAbilities = field(default=SourceAbilities(dialect="postgres"), init=False)
    _running: Running = field(default_factory=Running, init=False, repr=False)

    def check(self) -> None:
        with self._transaction() as cursor:
            if self.schema is None:
                return
            with self._translated():
                cursor.execute("SELECT current_schemas(false)::text[]")
                ((found,),) = cursor.fetchall()
            if self.schema not in found:
                raise missing(
                    f"there is no schema {self.schema!r}, or it may not be used",
                    "schema",
                    "check `schema:` and the rights of the account: GRANT USAGE ON SCHEMA",
                )

    def cautions(self) -> tuple[str, ...]:
        """See `levada.source.Cautious`."""
        with self._transaction() as cursor, self._translated():
            return postgres_functions.cautions(_rows(cursor, postgres_functions.CAUTIONS))

    def tables(self) -> tuple[str, ...]:
        with self._transaction() as cursor, self._translated():
            cursor.execute(_TABLES)
            return tuple(sorted(name for (name,) in cursor.fetchall()))

    def columns(self, query: str) -> tuple[Column, ...]:
        text = one_select(query, "postgres")
        with self._transaction() as cursor:
            return self._described(cursor, text).columns

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
        text = one_select(query, "postgres")
        with self._transaction() as cursor:
            plan = self._described(cursor, text)
            with self._translated():
                cursor.adbc_statement.set_options(**{BATCH_HINT: str(READ_BYTES)})
                cursor.execute(plan.statement)
                reader = cursor.fetch_record_batch()
            try:
                yield self._batches(reader, plan)
            finally:
                # whoever leaves early must not wait for rows that nobody reads
                with contextlib.suppress(Exception):
                    cursor.adbc_cancel()
                with contextlib.suppress(Exception):
                    reader.close()

    def _batches(self, reader: pa.RecordBatchReader, plan: Reading) -> Iterator[pa.RecordBatch]:
        rows = 0
        while True:
            with self._translated():
                try:
                    raw = reader.read_next_batch()
                except StopIteration:
                    break
            batch = plan.convert(raw)
            rows += batch.num_rows
            yield from cut_by_weight(batch)
        if not rows:
            yield plan.empty()

    def _described(self, cursor: Cursor, text: str) -> Reading:
        """What the query's columns are, from the server's own description of it; no row is computed."""
        with self._translated():
            check_calls(text, partial(_rows, cursor), refused)
            with self._translated(text):
                schema = cursor.adbc_execute_schema(wrapped(text))
            return postgres_types.reading(schema, text, self._type_names(cursor, schema))

    @staticmethod
    def _type_names(cursor: Cursor, schema: pa.Schema) -> dict[str, str]:
        """Names of the types for which the driver has only a number."""
        numbers = {m[1] for f in schema if (m := re.fullmatch(r"unnamed<oid:(\d+)>", postgres_types.type_of(f)))}
        if not numbers:
            return {}
        cursor.execute(
            f"SELECT oid::int8, format_type(oid, NULL) FROM pg_type WHERE oid IN ({', '.join(sorted(numbers))})"
        )
        return {f"unnamed<oid:{number}>": name for number, name in cursor.fetchall()}

    @contextmanager
    def _transaction(self) -> Iterator[Cursor]:
        """A cursor in a snapshot that cannot write. Errors of the block are its own."""
        connection = self._connect()
        try:
            with contextlib.closing(connection.cursor()) as cursor:
                with self._translated():
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                    # the first query takes the snapshot; from then on the transaction cannot be made to write again
                    cursor.execute(self._session())
                    cursor.fetchall()
                with self._running.on(cursor.adbc_cancel):
                    yield cursor
        finally:
            with contextlib.suppress(Exception):
                connection.close()

    def _session(self) -> str:
        settings = dict(SESSION)
        if self.schema is not None:
            settings["search_path"] = f"{identifier(self.schema)}, public"
        if self.statement_timeout_seconds is not None:
            settings["statement_timeout"] = str(max(1, round(self.statement_timeout_seconds * 1000)))
        calls = (
            f"set_config('{name}', '{value.replace(chr(39), chr(39) * 2)}', true)" for name, value in settings.items()
        )
        return f"SELECT {', '.join(calls)}"

    def _connect(self) -> Connection:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise ConfigError(
                "the driver of PostgreSQL is not installed",
                code="source.driver",
                hint="pip install 'levada[postgres]', or in a clone make setup",
            ) from error
        try:
            told = conninfo(self.address, look_up(self.address.host, self.address.port, self.policy))
            with without_environment():
                connection: Connection = dbapi.connect(told)
        except OSError as error:
            raise _unreachable(unreached(error, self.address.server)) from None
        except dbapi.Error as error:
            raise self._failed(error, connecting=True) from None
        return connection

    @contextmanager
    def _translated(self, query: str | None = None) -> Iterator[None]:
        """The driver's errors as Levada's; `query` is the one that is run, wrapped, and nothing else."""
        from adbc_driver_manager import Error

        try:
            yield
        except (Error, pa.ArrowException, OSError) as error:
            found = self._failed(error)
            if query is not None and isinstance(found, SourceError):
                found.offset = _offset(error, query)
            raise found from None

    def _failed(self, error: Exception, *, connecting: bool = False) -> LevadaError:
        """The error in Levada's words, without the password and without the rows' values."""
        message, hint = said(str(error))
        if connecting:
            message = unreached(message, self.address.server)
        message = Redactor(self.address.secrets).clean(message)
        state = str(getattr(error, "sqlstate", None) or "")
        return explained(message, hint, state, connecting, self.option)


def _rows(cursor: Cursor, statement: str) -> list[tuple[object, ...]]:
    cursor.execute(statement)
    return cursor.fetchall()


def _offset(error: Exception, query: str) -> int | None:
    """See `SourceError.offset`: the server counts the characters of the whole statement, from 1."""
    told = (value for name, value in getattr(error, "details", ()) if name == b"PG_DIAG_STATEMENT_POSITION")
    position = next(told, None)
    return None if position is None else int(position) - 1 - wrapped(query).index(query)


def said(text: str) -> tuple[str, str | None]:
    """What the server said, as one line, and its hint. Details are left out: they quote rows."""
    text = text.split("\n\nQuery was:")[0]
    start = max(text.find(level) for level in ("ERROR:  ", "FATAL:  "))
    if start >= 0:
        lines = text[start + len("ERROR:  ") :].splitlines()
    else:
        lines = re.sub(r"^[A-Z_]+: ", "", text).replace("[libpq] ", "").splitlines()
    lines = [line.strip() for line in lines if line.strip()] or ["no reason was given"]
    hint = next((line.removeprefix("HINT:").strip() for line in lines if line.startswith("HINT:")), None)
    return lines[0].rstrip(". ")[:500], hint


def explained(message: str, hint: str | None, state: str, connecting: bool, option: str) -> LevadaError:
    """Which error of Levada's a message of the server's is, by its SQLSTATE where there is one. `option`: see
    `PostgresSource`."""
    text = message.lower()
    if state.startswith("28") or re.search(
        r"authentication failed|no password supplied|no pg_hba.conf entry|role .* (does not exist|is not permitted)",
        text,
    ):
        return AccessError(
            f"PostgreSQL refuses the credential: {message}",
            code="access.source",
            hint="check user and password in the source's file",
        )
    if state == "42501" or "permission denied" in text:
        return AccessError(
            message, code="access.source", hint="the account needs USAGE on the schema and SELECT on the table"
        )
    if re.fullmatch(r'.*database "[^"]*" does not exist', text):
        return missing(message, option, "check the database's name in the source's file")
    if connecting and (not_agreed(text) or re.search(r"\binvalid (sslmode|uri|port|conn|integer|\w+ value)", text)):
        return ConfigError(
            f"PostgreSQL cannot be asked: {message}",
            code="source.url",
            hint="check the settings in the source's file, sslmode and sslrootcert among them",
        )
    if connecting:
        return _unreachable(message)
    if state == "25006" or "read-only transaction" in text or "data-modifying statement" in text:
        return refused(message)
    if "statement timeout" in text:
        return SourceError(
            "the read took longer than statement_timeout_seconds, or the server's own limit, allows",
            code="source.timeout",
            hint="raise `statement_timeout_seconds:` of the source, or make the query faster",
        )
    if state.startswith(("42", "3F")):
        return SourceError(message, code="source.query", hint=hint)
    if state.startswith("22") or "invalid input" in text:
        message = re.sub(r'"[^"]*"', '"…"', message)
    return SourceError(
        f"the read broke off: {message}", code="source.read", hint=hint or "nothing was taken from it; run again"
    )


def _unreachable(why: str) -> UnreachableError:
    hint = "see that the server runs and that host and port in the source's file lead to it; the next run tries again"
    return UnreachableError(f"PostgreSQL cannot be reached: {why}", hint=hint)


def _open(name: str, options: PostgresOptions, root: Path, policy: AddressPolicy = OWN_MACHINE) -> PostgresSource:
    # the server's own limit holds beside the default, and not beside what was declared
    declared = "statement_timeout_seconds" in options.model_fields_set
    seconds = options.statement_timeout_seconds if declared else None
    address = database_address(options, PARAMETERS, code="source.url", root=root, policy=policy)
    return PostgresSource(name, address, options.schema_, seconds, policy, "url" if options.url else "database")


TYPE = SourceType(
    type="postgres",
    title="PostgreSQL",
    docs="A PostgreSQL database, read in one consistent snapshot.",
    options=PostgresOptions,
    open=_open,
)
