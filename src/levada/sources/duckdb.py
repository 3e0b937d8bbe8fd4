"""A DuckDB database file as a source. It is opened read-only and never created.

The local planner attaches the file to its own engine, so that a model's rows need not be moved to be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.errors import SourceError
from levada.source import Attachment, Column, SourceAbilities, SourceDeclaration, SourceType, missing_file
from levada.sources import duckdb_reading
from levada.sources.running import Running
from levada.sources.statements import identifier, literal
from levada.sql.connection import connect

_RESERVED = {"main", "temp", "system", "memory", "pg_catalog", "information_schema"}


class DuckDBOptions(SourceDeclaration):
    type: Literal["duckdb"] = "duckdb"
    """A DuckDB database file."""
    path: str = Field(min_length=1)
    """The file, absolute or from the project's folder. It must exist; it is opened read-only."""


@dataclass(slots=True)
class DuckDBSource:
    """Each read opens the file anew and closes it, so that its writers are kept out no longer than needed."""

    name: str
    path: Path
    abilities: SourceAbilities = field(default=SourceAbilities(dialect="duckdb", in_place=True), init=False)
    _running: Running = field(default_factory=Running, init=False, repr=False)

    def check(self) -> None:
        self.attachment()

    def tables(self) -> tuple[str, ...]:
        with duckdb_reading.connected(self.attachment(), self._running) as connection, duckdb_reading.translated():
            return duckdb_reading.tables_of(connection)

    def columns(self, query: str) -> tuple[Column, ...]:
        return duckdb_reading.columns_of(self.attachment(), query, self._running)

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        return duckdb_reading.reading(self.attachment(), query, self._running)

    def attachment(self, query: str | None = None) -> Attachment:
        """The file under a catalog name that no schema of it has, since such a name would be ambiguous in a query."""
        schemas = self._schemas()
        alias = self.name
        while alias.lower() in _RESERVED | schemas:
            alias = f"{alias}_source"
        return Attachment((self._attach(alias), f"USE {identifier(alias)}"), (self.path,))

    def interrupt(self) -> None:
        self._running.interrupt()

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _attach(self, alias: str) -> str:
        return f"ATTACH {literal(str(self.path))} AS {identifier(alias)} (READ_ONLY, TYPE duckdb)"

    def _schemas(self) -> set[str]:
        """Open the file once, and say clearly why it cannot be."""
        import duckdb

        if not self.path.exists():
            raise missing_file(self.path)
        connection = connect()
        try:
            with duckdb_reading.translated():
                try:
                    connection.execute(self._attach("source"))
                except duckdb.Error as error:
                    raise self._unopened(error) from error
                rows = connection.sql("SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'source'")
                return {name.lower() for (name,) in rows.fetchall()}
        finally:
            connection.close()

    def _unopened(self, error: Exception) -> Exception:
        message = str(error).strip().splitlines()[0]
        if "version number" in message or "storage version" in message:
            return SourceError(
                f"{self.path} was written by another version of DuckDB, which this one cannot read",
                code="source.newer_format",
                hint="install that version of the package duckdb, or export the database and import it again",
            )
        if "not a valid DuckDB" in message or "Is a directory" in message or "Corrupt database" in message:
            return SourceError(
                f"{self.path} is not a DuckDB database, or is damaged: {message}",
                code="source.not_a_database",
                hint="Parquet, CSV and JSON files are a source of `type: files`",
            )
        return error


def _open(name: str, options: DuckDBOptions, root: Path, policy: AddressPolicy = OWN_MACHINE) -> DuckDBSource:
    return DuckDBSource(name, (root / Path(options.path).expanduser()).absolute())


TYPE = SourceType(
    type="duckdb",
    title="DuckDB",
    docs="A DuckDB database file, read where it is.",
    options=DuckDBOptions,
    open=_open,
)
