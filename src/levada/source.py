"""The contract of a source: the warehouse side, where models are read.

A source reads and never writes. It does not compare, map or keep anything: the planner does.
Every failure is a `SourceError`, an `AccessError` for a refused credential, or a `ConfigError` that leads to the option
which is wrong (`missing`); a read either yields all rows of the query or raises, so "not in the result" may mean
"removed" only after a read has ended well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa
from pydantic import Field

from levada.addresses import OWN_MACHINE, AddressPolicy
from levada.errors import ConfigError, SourceError
from levada.model import Declaration

BATCH_ROWS_MAX = 65_536
"""The most rows that a source may put into one Arrow batch."""

BATCH_BYTES = 16 << 20
"""About the most bytes of one batch, however heavy or wide its rows are; a heavier row is a batch by itself."""

STATEMENT_SECONDS = 3_600.0
"""How long one statement of a source may take, unless the source says otherwise."""

TYPE_KEY = b"levada.type"
"""Field metadata of `Source.read` that says what a text column holds: `json`, `uuid` or `numeric_text`.

`numeric_text` is a number that no Arrow decimal holds for sure: digits with a sign and a point, or NaN,
Infinity, -Infinity, exactly as the warehouse writes it.
"""

UNFIT = "\x1funfit"
"""The name of a last column of `Source.read`, text: for each value of the row that the type of its column cannot hold,
and that is NULL therefore, a mark, the column's name, and why (see `unfit_column`). NULL if there is none."""
UNFIT_COLUMN, UNFIT_REASON = "\x1e", "\x1f"
"""What stands before the name of a column, and before the reason."""

_REFUSAL, _PART = "levada refuses: ", "\x1f"


def refusal(message: str, hint: str) -> str:
    """What a statement of an Attachment says by SQL's error() when a query asks for what cannot be read exactly."""
    return f"{_REFUSAL}{message}{_PART}{hint}"


def refused_in(text: str) -> SourceError | None:
    """The refusal in an error of the engine that ran such a statement; None if it is another error."""
    _, found, said = text.partition(_REFUSAL)
    message, _, hint = said.splitlines()[0].partition(_PART) if found else ("", "", "")
    return SourceError(message, code="source.value", hint=hint) if found else None


def missing(message: str, option: str, hint: str) -> ConfigError:
    """The error for an option of the source that names what is not there. Whoever knows the file adds the place."""
    error = ConfigError(message, code="source.missing", hint=hint)
    error.path = (option,)
    return error


def missing_file(path: Path, what: str = "file") -> ConfigError:
    """The same for `path:`."""
    return missing(f"there is no {what} {path}", "path", "`path:` counts from the project's folder")


def overdue(seconds: float) -> SourceError:
    """The error for a statement that was ended because it took too long."""
    return SourceError(
        f"the source computed for {seconds:g} s, which is its limit, and was ended",
        code="source.timeout",
        hint="raise `statement_timeout_seconds:` of the source, or make the query faster",
    )


def compute() -> Any:
    """Arrow's functions, loaded when they are needed; their stubs know no plain numbers and texts."""
    return import_module("pyarrow.compute")


@dataclass(frozen=True, slots=True)
class Unfit:
    """Values of one column of a batch that its type cannot hold: where `rows` is true, for this reason."""

    column: str
    rows: pa.Array[Any]
    reason: str


def unfit_column(rows: int, found: Sequence[Unfit]) -> pa.Array[Any]:
    """The column UNFIT of a batch."""
    pc = compute()
    if not found:
        return pa.nulls(rows, pa.string())
    texts = [pc.if_else(each.rows, f"{UNFIT_COLUMN}{each.column}{UNFIT_REASON}{each.reason}", "") for each in found]
    together = pc.binary_join_element_wise(*texts, "")
    column: pa.Array[Any] = pc.if_else(pc.equal(together, ""), pa.scalar(None, pa.string()), together)
    return column


def with_unfit(batch: pa.RecordBatch, found: Sequence[Unfit]) -> pa.RecordBatch:
    """A batch of a read, with its column UNFIT."""
    field = pa.field(UNFIT, pa.string())
    return pa.RecordBatch.from_arrays(
        [*batch.columns, unfit_column(batch.num_rows, found)], schema=batch.schema.append(field)
    )


def cut_by_weight(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in parts of at most BATCH_ROWS_MAX and BATCH_BYTES, halved until they are; a heavier row is one alone."""
    rows = batch.num_rows
    if rows > 1 and (rows > BATCH_ROWS_MAX or batch.nbytes > BATCH_BYTES):
        yield from cut_by_weight(batch.slice(0, rows // 2))
        yield from cut_by_weight(batch.slice(rows // 2))
    elif rows:
        yield batch


def without_unfit(batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, str]]:
    """A batch as a person is shown it, and for each column of which it lacks a value the first reason."""
    if UNFIT not in batch.schema.names:
        return batch, {}
    reasons: dict[str, str] = {}
    for text in batch.column(UNFIT).drop_null().unique().to_pylist():
        for part in str(text).split(UNFIT_COLUMN)[1:]:
            column, _, reason = part.partition(UNFIT_REASON)
            reasons.setdefault(column, reason)
    return batch.drop_columns([UNFIT]), reasons


ZONED, ZONED_NANOSECONDS = "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS"


def instants(column: str, name: str, kind: str) -> str | None:
    """SQL of DuckDB's for a column whose type holds instants in nanoseconds, at any depth: the same in microseconds.

    The statement refuses finer ones as it meets them. None: there are none in the type `kind`.
    """
    if ZONED_NANOSECONDS not in kind:
        return None
    whole = f"CAST({column} AS {kind.replace(ZONED_NANOSECONDS, ZONED)})"
    said = refusal(
        f"column {name!r} holds instants with digits below microseconds, which cannot be kept exactly",
        "column::TIMESTAMPTZ in the model rounds them",
    ).replace("'", "''")
    return f"CASE WHEN CAST({whole} AS {kind}) IS DISTINCT FROM {column} THEN error('{said}') ELSE {whole} END"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a query's result. `type` is the Arrow type; `native` the warehouse's own name of it."""

    name: str
    type: pa.DataType
    native: str = ""
    nullable: bool = True
    #: DuckDB's own name of the type, where the local planner reads the tables in place: Arrow lacks some of its types
    in_place: str = ""


@dataclass(frozen=True, slots=True)
class SourceAbilities:
    """What a source can do, as one value. `dialect` is sqlglot's name of its SQL."""

    dialect: str
    #: rows arrive while the query still runs, and memory does not grow with their number
    streams: bool = True
    #: the local planner's own DuckDB can read the tables where they are (see `Source.attachment`)
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Attachment:
    """How the local planner's DuckDB gets to see the tables of an in-place source.

    `statements` are run in order on a fresh connection, before external access is switched off.
    `paths` are the files and folders that may be read afterwards; their size and modification time are
    compared before and after a read, so that a file replaced half-way fails the read. A file whose name holds
    a character of patterns is listed a second time, escaped as the statements write it; no such file exists.
    """

    statements: tuple[str, ...]
    paths: tuple[Path, ...] = ()
    #: how long the planner may compute a model's query; None: without end
    timeout_seconds: float | None = None


@runtime_checkable
class Source(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def abilities(self) -> SourceAbilities: ...

    def check(self) -> None:
        """Prove that the source is there and can be reached with its credentials."""
        ...

    def tables(self) -> tuple[str, ...]:
        """The tables and views that can be read, as they are written in a query, sorted."""
        ...

    def columns(self, query: str) -> tuple[Column, ...]:
        """The columns of the query's result, without reading its rows."""
        ...

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        """All rows of the query, of one consistent snapshot, in batches of BATCH_ROWS_MAX or about BATCH_BYTES.

        Types are exact: decimals stay decimals, instants keep their zone (UTC), nothing is rounded. A value that the
        type of its column cannot hold is NULL, and its row says so in a column UNFIT at the end. An empty
        result is one batch without rows, so that its columns are known.
        Raises SourceError while iterating if the read breaks; leaving the context early stops the query.
        """
        ...

    def attachment(self, query: str | None = None) -> Attachment | None:
        """For in-place sources; None otherwise. With a query, only what it reads has to be there.

        The statements end by USEing a catalog of the source's own. Raises as `check` does.
        """
        ...

    def interrupt(self) -> None:
        """End whatever the source computes now, at the warehouse too. Called from another thread, also in vain.

        What is ended raises some SourceError; the next statement runs as ever.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class Cautious(Protocol):
    """A source whose account has rights of its own."""

    def cautions(self) -> tuple[str, ...]:
        """What the account may do that a reader need not, each as what follows "the account …"."""
        ...


class SourceDeclaration(Declaration):
    """What every source may declare."""

    statement_timeout_seconds: float = Field(default=STATEMENT_SECONDS, gt=0, allow_inf_nan=False)
    """A statement that takes longer is ended, at the warehouse too; of a streamed read, until its last row is there."""
    description: str = ""
    """For people."""


Options = type[SourceDeclaration]


@dataclass(frozen=True, slots=True)
class SourceType:
    """One kind of source: its name in `type:`, the pydantic class of its options, and how it is opened.

    `open(name, options, root, policy)`: `root` is the project's folder, against which relative paths are read; `policy`
    says where connections may go.
    """

    type: str
    title: str
    docs: str
    options: Options
    open: SourceOpener


class SourceOpener(Protocol):
    def __call__(self, name: str, options: Any, root: Path, policy: AddressPolicy = OWN_MACHINE) -> Source: ...
