"""What a database must bring to be a destination: an `Engine` (its words and types) and a `Session` (a connection).

Errors that a session raises, and nothing else: `Refused` (the data is at fault), `Transient` (the database
rolled the transaction back by itself, to be tried again), UnavailableError, AccessError, ConfigError,
DestinationError, and from `commit` alone ConnectionError: the answer was lost, the end is unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import pyarrow as pa

from levada.destinations.tables.names import TableName
from levada.mapping import FieldType, ValueLimits


class Refused(Exception):
    """The database refused the data: a constraint, a value outside its column. `code` is its own error code."""

    def __init__(self, reason: str, code: str, *, duplicate: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        #: a unique index was violated
        self.duplicate = duplicate


class Transient(Exception):
    """A deadlock or a failed serialization: nothing was applied, and trying again may work."""


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column as the database describes it. `default`: it fills itself when left out."""

    name: str
    native: str
    nullable: bool = True
    default: bool = False
    writable: bool = True
    choices: tuple[str, ...] | None = None
    #: the type as statements name it, where `native` is not enough: below a domain, with a collation
    base: str = ""
    #: how the column's collation sees a text, as SQL around `{}`, where it may take two different ones for equal
    seen: str = ""


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table that exists. `uniques`: sets of columns that a unique index covers, whole rows and at once."""

    name: TableName
    columns: tuple[TableColumn, ...]
    uniques: tuple[frozenset[str], ...] = ()

    def column(self, name: str) -> TableColumn | None:
        return next((column for column in self.columns if column.name == name), None)

    def unique_on(self, names: Sequence[str]) -> bool:
        return frozenset(names) in self.uniques


@dataclass(frozen=True, slots=True)
class Grammar:
    """In what the dialects differ.

    `joins`: how a statement changes rows by another table. `same`: equality that takes NULL for a value.
    `placeholder`: `?`, `%s` or `$` (numbered from 1).
    """

    mark: str = '"'
    name_bytes_max: int = 63
    joins: Literal["from", "join", "in"] = "from"
    same: str = "IS NOT DISTINCT FROM"
    placeholder: str = "?"
    marks_columns: str = ""
    #: that two texts are the same, letter by letter, whatever a collation thinks of them
    exact: str = "{} = {}"
    #: a text without any collation
    plain: str = "{}"
    #: the column type for numbers of unlimited size, where there is one
    unlimited: str = ""
    #: the column types for JSON documents and for UUIDs
    json: str = "json"
    uuid: str = "uuid"
    #: what follows the columns in CREATE TABLE
    create_suffix: str = ""


class Session(Protocol):
    """A connection, and at most one transaction on it."""

    @property
    def alive(self) -> bool: ...

    def begin(self, *, reads: bool = False) -> None:
        """With `reads` for temporary tables and questions alone: it keeps nobody from writing."""
        ...

    def run(self, statement: str, parameters: Sequence[object] = ()) -> None: ...

    def fetch(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]: ...

    def columns(self, statement: str) -> pa.Table:
        """The answer to a question as columns, of the types that the driver gives them."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None:
        """Give the transaction up; never raises."""
        ...

    def stage(self, name: str, table: pa.Table, types: Sequence[str]) -> None:
        """Put rows into the temporary table `name`, which holds nothing else until the transaction ends."""
        ...

    def append(self, target: TableName, table: pa.Table) -> None:
        """Insert rows straight into a table whose columns take these Arrow types as they are."""
        ...

    def close(self) -> None: ...


class Engine(Protocol):
    """One kind of database, set up for one destination."""

    @property
    def title(self) -> str: ...

    @property
    def grammar(self) -> Grammar: ...

    def connect(self) -> Session: ...

    def look(self) -> Session:
        """A session for whoever only looks: it makes no file where `connect` would."""
        ...

    def facts(self, session: Session, name: TableName) -> TableFacts | None: ...

    def tables(self, session: Session, schema: str) -> tuple[str, ...]:
        """The names of the tables of a schema ("" for the default one)."""
        ...

    def may_create(self, session: Session, schema: str) -> bool:
        """May tables be made in the schema, as far as the database tells?"""
        ...

    def native(self, kind: pa.DataType, matches: int) -> str | None:
        """The column type to create for an Arrow type; None if there is none.

        `matches`: 0 for a plain field, else of how many match fields it is one (they need an index).
        """
        ...

    def field(self, column: TableColumn, wanted: pa.DataType | None) -> tuple[FieldType, ValueLimits]:
        """What a column takes."""
        ...

    def staged(self, kind: pa.DataType, native: str) -> str:
        """The temporary table's column type for values of an Arrow type that go to a column of type `native`."""
        ...

    def value(self, expression: str, kind: pa.DataType, native: str) -> str:
        """A staged value as an expression that the column takes without loss."""
        ...

    def compared(self, expression: str, native: str) -> str:
        """A value of a column's type as what two of them are compared by, where the type itself has no equality."""
        ...

    def stored(self, expression: str, native: str) -> str:
        """A column's value as it is read back: exact, in a type that the driver knows."""
        ...

    def direct(self, kind: pa.DataType, native: str) -> bool:
        """May `Session.append` put this Arrow type into a column of type `native`?"""
        ...

    def shaped(self, table: pa.Table, natives: Sequence[str]) -> pa.Table:
        """The columns in the forms that `stage` and `append` take. Raises Refused for values with no such form."""
        ...

    def lock(self, session: Session, target: TableName) -> None:
        """Inside a transaction: keep other writers of ours from adding rows, where no unique index does it."""
        ...

    def held(self, session: Session, target: TableName) -> str:
        """What follows a SELECT of rows of a table `t` so that nobody changes them before the transaction ends; empty
        where nobody can, or where the user may not."""
        ...

    def place(self, name: TableName) -> str:
        """Where a table is: the same text for every name and account that leads to it. Asks no one."""
        ...

    def identity(self, session: Session, name: TableName) -> str:
        """What changes when the table is made anew, and with nothing else that is done to it; empty if unknown."""
        ...

    def like(self, session: Session, original: TableName, copy: TableName) -> None:
        """Create an empty table with the same columns, defaults, checks and indexes. Committed on its own."""
        ...

    def swap(self, session: Session, target: TableName, staging: TableName, retired: TableName) -> bool:
        """Put the rows of `staging` in the place of those of `target`, in one step.

        Inside a transaction, or (True) in a statement that has committed by itself. Old rows may be left in
        `retired`, for the caller to drop.
        """
        ...
