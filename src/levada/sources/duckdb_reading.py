"""Reading in an embedded DuckDB, for the sources that it sees in place: a database file, and data files.

The connection is one of our own, in memory, with the source attached; afterwards it can open nothing else.
How the tables are attached is each source's own matter (`levada.source.Attachment`).
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from levada.errors import SourceError
from levada.nearest import nearest, nearest_hint
from levada.nesting import NESTING_MAX, deepest
from levada.source import (
    TYPE_KEY,
    Attachment,
    Column,
    Unfit,
    compute,
    cut_by_weight,
    instants,
    refused_in,
    with_unfit,
)
from levada.sources.running import Running
from levada.sources.statements import ONE_SELECT, check_text, identifier, literal, refused, wrapped
from levada.sql.connection import connect

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

READ_MEMORY = "384MB"
"""What one read may use before it spills to a temporary folder."""
READ_SPILL = "50GB"
VECTOR_ROWS = 2_048
"""So many rows DuckDB computes at a time; no more are put together, however heavy they are."""
TYPE_NESTING_MAX = 32

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNCHANGED = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "float",
    "double", "decimal", "varchar", "blob", "date", "time", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns",
    "timestamp with time zone",
}  # fmt: skip
_QUOTED = re.compile(r"""'[^']*'|string "[^"]*\"""")
_WRITING_NODE = re.compile(r'"type":"(INSERT|UPDATE|DELETE|MERGE\w*)_QUERY_NODE"')

State = tuple[tuple[Path, int, int, int], ...]


def state_of(paths: Iterable[Path]) -> State:
    """What tells a file from a later version of itself. A missing file has a state too."""
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except FileNotFoundError:
            found.append((path, -1, -1, -1))
        else:
            found.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return tuple(found)


def check_unchanged(before: State) -> None:
    """Raises SourceError if a file is not the one that the read began with."""
    for old, new in zip(before, state_of(entry[0] for entry in before), strict=True):
        if old != new:
            raise SourceError(
                f"{old[0]} was changed while it was read",
                code="source.changed",
                hint="nothing was taken from this read; run again when its writer has finished",
            )


@contextmanager
def connected(attachment: Attachment, running: Running) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees the attached tables in UTC and can reach nothing else. Errors are SourceErrors."""
    with tempfile.TemporaryDirectory(prefix="levada-read-") as spill:
        connection = connect(**settings(spill))
        try:
            with translated():
                # a query must not see this program's own variables as tables
                connection.execute("SET python_enable_replacements = false")
                for statement in attachment.statements:
                    connection.execute(statement)
                for statement in closing_statements(attachment):
                    connection.execute(statement)
            with running.on(connection.interrupt):
                yield connection
        finally:
            connection.interrupt()
            connection.close()


def settings(spill: str) -> dict[str, str]:
    return {
        "memory_limit": READ_MEMORY,
        "temp_directory": spill,
        "max_temp_directory_size": READ_SPILL,
    }


def closing_statements(attachment: Attachment) -> Iterator[str]:
    """What shuts a connection in: from here on it reads the attachment's paths, and its settings stay."""
    files = [literal(str(path)) for path in attachment.paths if not path.is_dir()]
    folders = [literal(f"{path}/") for path in attachment.paths if path.is_dir()]
    if files:
        yield f"SET allowed_paths = [{', '.join(files)}]"
    if folders:
        yield f"SET allowed_directories = [{', '.join(folders)}]"
    yield "SET enable_external_access = false"
    yield "SET lock_configuration = true"


def tables_of(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Tables and views of the catalog in use, as a query writes them."""
    rows = connection.sql(
        """
        SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database() AND NOT internal
        UNION ALL
        SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = current_database() AND NOT internal
        """
    ).fetchall()
    words = connection.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    reserved = {word for (word,) in words}

    def written(name: str) -> str:
        return name if _PLAIN_NAME.fullmatch(name) and name.lower() not in reserved else identifier(name)

    return tuple(sorted(written(t) if s == "main" else f"{written(s)}.{written(t)}" for s, t in rows))


def columns_of(
    attachment: Attachment, query: str, running: Running, tables: Iterable[str] | None = None
) -> tuple[Column, ...]:
    """See `Source.columns`. `tables`: those of the source, if the attachment holds only some."""
    with connected(attachment, running) as connection, translated(), _explained(connection, query, tables):
        relation = _checked(connection, query)
        schema = _typed_schema(connection, query)[1]
        natives = [str(native) for native in relation.types]
        return tuple(Column(f.name, f.type, name, in_place=name) for f, name in zip(schema, natives, strict=True))


@contextmanager
def reading(attachment: Attachment, query: str, running: Running) -> Iterator[Iterator[pa.RecordBatch]]:
    before = state_of(attachment.paths)
    with connected(attachment, running) as connection:
        with translated():
            statement, schema = _typed_schema(connection, query)
            reader = connection.sql(statement).to_arrow_reader(VECTOR_ROWS)
        try:
            yield _batches(reader, schema, before)
        finally:
            connection.interrupt()
            reader.close()


def _batches(reader: pa.RecordBatchReader, schema: pa.Schema, before: State) -> Iterator[pa.RecordBatch]:
    judges = [(index, judge) for index, field in enumerate(schema) if (judge := _judge(field.type)) is not None]
    rows = 0
    while True:
        with translated():
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                break
        columns = list(batch.columns)
        unfit: list[Unfit] = []
        for index, judge in judges:
            if found := judge(batch.column(index)):
                odd, reason = found
                columns[index] = compute().if_else(odd, pa.scalar(None, columns[index].type), columns[index])
                unfit.append(Unfit(schema.field(index).name, odd, f"{reason}, which cannot be kept exactly"))
        if batch.num_rows:
            rows += batch.num_rows
            yield from cut_by_weight(with_unfit(pa.RecordBatch.from_arrays(columns, schema=schema), unfit))
    check_unchanged(before)
    if not rows:
        yield with_unfit(pa.RecordBatch.from_pylist([], schema=schema), [])


def _checked(connection: duckdb.DuckDBPyConnection, query: str) -> duckdb.DuckDBPyRelation:
    """The query, bound and not run, proven by DuckDB's own parser to be one SELECT that writes nothing."""
    from duckdb import StatementType

    check_text(query)
    _check_nesting(query)
    statements = connection.extract_statements(query)
    if not statements:
        raise SourceError("the query is empty", code="source.query", hint=ONE_SELECT)
    if len(statements) > 1:
        raise refused("it holds more than one statement")
    try:
        kind = statements[0].type
    except ValueError:  # a statement that DuckDB's own Python face has no name for
        raise refused("it is no SELECT") from None
    if kind != StatementType.SELECT:
        raise refused(f"it is {kind.name}")
    ((tree,),) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchall()
    if found := _WRITING_NODE.search(tree):
        raise refused(f"it holds {found[1]}")
    # bound as a sub-query first: the engine itself refuses there what is more than a read
    connection.sql(wrapped(_text(statements[0].query)))
    return connection.sql(query)


def _check_nesting(query: str) -> None:
    """DuckDB's parser takes memory without end for brackets that are opened in one another."""
    import duckdb

    if deepest(query, (start for start, _ in duckdb.tokenize(query))) > NESTING_MAX:
        raise SourceError(
            f"the query nests brackets deeper than {NESTING_MAX} levels",
            code="source.query",
            hint="make it flatter, or make it a view in the warehouse and use `table:`",
        )


def _text(statement: str) -> str:
    """Without the closing semicolons and spaces."""
    return statement.rstrip().rstrip(";").rstrip()


def _typed_schema(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[str, pa.Schema]:
    """The statement that is run, in which each column has a type that Arrow holds exactly, and its schema."""
    relation = _checked(connection, query)
    names = relation.columns
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise SourceError(
                f"the query has two columns named {name!r}",
                code="source.duplicate_column",
                hint="give one another name",
            )
        seen[name.lower()] = name
    items = []
    for name, native in zip(names, relation.types, strict=True):
        target = _exact(native)
        quoted = identifier(name)
        if whole := instants(quoted, name, str(native)):
            items.append(f"{whole} AS {quoted}")
            continue
        items.append(quoted if target is None else f"CAST({quoted} AS {target}) AS {quoted}")
    text = _text(connection.extract_statements(query)[0].query)
    statement = f"SELECT {', '.join(items)} FROM (\n{text}\n) AS levada_model"
    empty = connection.sql(f"SELECT * FROM (\n{statement}\n) LIMIT 0").to_arrow_table().schema
    fields = [
        field.with_metadata({TYPE_KEY: mark}) if (mark := _mark(native)) else field.remove_metadata()
        for field, native in zip(empty, relation.types, strict=True)
    ]
    return statement, pa.schema(fields)


def _mark(native: DuckDBPyType) -> bytes | None:
    return {"JSON": b"json", "UUID": b"uuid", "BIGNUM": b"numeric_text"}.get(str(native))


def _exact(native: DuckDBPyType, depth: int = 0) -> str | None:
    """The type to cast to, as SQL, where Arrow has no equal of it: text, which loses nothing. None: as it is."""
    from duckdb.sqltypes import DuckDBPyType

    name, kind = str(native), native.id
    if kind in _UNCHANGED or name in ("JSON", "HUGEINT", "NULL", '"NULL"'):
        return None
    if depth > TYPE_NESTING_MAX or kind not in ("list", "array", "struct", "map"):
        return "VARCHAR"
    inners = [(field, part) for field, part in native.children if isinstance(part, DuckDBPyType)]
    if kind == "array":
        inner = _exact(inners[0][1], depth + 1)
        return inner and f"{inner}[{native.children[1][1]}]"
    parts = [(field, _exact(part, depth + 1), str(part)) for field, part in inners]
    if all(target is None for _, target, _ in parts):
        return None
    targets = [(field, target or own) for field, target, own in parts]
    match kind:
        case "list":
            return f"{targets[0][1]}[]"
        case "map":
            return f"MAP({targets[0][1]}, {targets[1][1]})"
    return f"STRUCT({', '.join(f'{identifier(field)} {target}' for field, target in targets)})"


Judge = Callable[["pa.Array[Any]"], "tuple[pa.Array[Any], str] | None"]
"""The values of a column that Arrow has no place for, and what they are; None if there are none."""


def _judge(kind: pa.DataType) -> Judge | None:
    """Finds values that DuckDB has and Arrow has not, whose bits would otherwise be read as another value."""
    if pa.types.is_timestamp(kind):
        return _infinite(pa.int64(), 2**63 - 1)
    if pa.types.is_date32(kind):
        return _infinite(pa.int32(), 2**31 - 1)
    if pa.types.is_decimal128(kind) and kind.precision == 38 and kind.scale == 0:
        return _beyond_38_digits
    return None


def _infinite(integer: pa.DataType, most: int) -> Judge:
    def judge(values: pa.Array[Any]) -> tuple[pa.Array[Any], str] | None:
        pc = compute()
        numbers = values.view(integer)
        odd = pc.fill_null(pc.is_in(numbers, value_set=pa.array([most, -most], integer)), False)
        return (odd, "infinity") if pc.any(odd).as_py() else None

    return judge


def _beyond_38_digits(values: pa.Array[Any]) -> tuple[pa.Array[Any], str] | None:
    pc = compute()
    wide = pc.cast(values, pa.decimal256(39, 0), safe=False)
    most = pa.scalar(Decimal(10**38 - 1), pa.decimal256(39, 0))
    odd = pc.fill_null(pc.or_(pc.greater(wide, most), pc.less(wide, pc.negate(most))), False)
    return (odd, "a number of more than 38 digits") if pc.any(odd).as_py() else None


@contextmanager
def translated() -> Iterator[None]:
    """DuckDB's and Arrow's errors as SourceErrors, in one line."""
    import duckdb

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError, RuntimeError, UnicodeError) as error:
        raise _source_error(error) from error


@contextmanager
def _explained(connection: duckdb.DuckDBPyConnection, query: str, tables: Iterable[str] | None) -> Iterator[None]:
    """What the engine says of a query that it refuses, with the place in it and the name that was probably meant."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        found = _source_error(error)
        if found.code == "source.query":
            ((text,),) = connection.execute("SELECT json_serialize_plan(?::VARCHAR)", [query]).fetchall()
            details = json.loads(text)
            if "position" in details:
                found.offset = len(query.encode()[: int(details["position"])].decode(errors="ignore"))
            known = str(details.get("candidates", "")).split(",")
            if details.get("type") == "Table":
                found.hint = nearest_hint(details["name"], tables_of(connection) if tables is None else tables)
            elif meant := nearest(str(details.get("name", "")), known):
                found.hint = f"did you mean {meant}?"
        raise found from error


def _csv_message(lines: list[str]) -> str:
    """Where and why, without the line's own text, which may be a person's data."""
    reasons = [line for line in lines[1:] if line.startswith(("Expected", "Error when", "Value", "Maximum", "Invalid"))]
    file = next((line.removeprefix("file = ") for line in lines if line.startswith("file = ")), "")
    return _QUOTED.sub("'…'", ": ".join(part for part in (file, lines[0].split(": ", 1)[1], *reasons[:1]) if part))


def _source_error(error: Exception) -> SourceError:
    if refused_read := refused_in(str(error)):
        return refused_read
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = (lines or [type(error).__name__])[0][:500]
    if "CSV Error" in message:
        message = _csv_message(lines)
    elif message.startswith("Conversion Error"):
        message = _QUOTED.sub("'…'", message)
    elif "JSON" in message:
        message = re.sub(r": Object \{.*\} has", ": an object has", message)
    # copies in UTF-8 lie below a folder of their own, as the originals do below /
    message = re.sub(r"[^\s\"']*/levada-text-[^/]+", "", message)
    suggestion = next((line for line in lines[1:] if line.startswith(("Did you mean", "Candidate bindings"))), None)
    if suggestion and re.search(r'"(?:duckdb|pg|sqlite)_\w+"|information_schema', suggestion):
        suggestion = None  # a table of the engine's own, which nobody meant
    if "Could not set lock" in message:
        held = re.search(r"\(PID (\d+)\)", message)
        by = f" (process {held[1]})" if held else ""
        return SourceError(
            f"the database is open in another process{by}, which may be writing",
            code="source.locked",
            hint="close it there, or let it open the file read-only",
        )
    if "disabled by configuration" in message or "Permission Error" in message:
        return SourceError(
            f"the query reads something outside of its source: {message}",
            code="source.outside",
            hint="a source reads its own tables only; data files can be a source of their own, `type: files`",
        )
    if message.startswith(("Catalog Error", "Binder Error", "Parser Error")):
        return SourceError(message, code="source.query", hint=suggestion)
    return SourceError(f"the read failed: {message}", code="source.read", hint=suggestion)
