"""Parquet files as a table: which columns DuckDB reads exactly, told from the files' own schemas.

A column that DuckDB would round, rename, put into another type or read as another value is refused when a query
asks for it. Values are looked at only in columns of nanoseconds.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from levada.errors import SourceError
from levada.source import ZONED, ZONED_NANOSECONDS, refusal
from levada.sources.statements import identifier
from levada.sources.table_files import TableFiles, clashing, file_list, refusing

if TYPE_CHECKING:
    import duckdb

DIGITS_MAX = 38
NOTHING = '"NULL"'
_INTEGERS = {
    "TINYINT": (-(2**7), 2**7), "SMALLINT": (-(2**15), 2**15), "INTEGER": (-(2**31), 2**31),
    "BIGINT": (-(2**63), 2**63),
    "UTINYINT": (0, 2**8), "USMALLINT": (0, 2**16), "UINTEGER": (0, 2**32), "UBIGINT": (0, 2**64),
    "HUGEINT": (-(2**127), 2**127),
}  # fmt: skip
_OTHER_TYPE = "make it a table of its own, in another folder, and put them together in the model: SELECT … UNION ALL …"


@dataclass(frozen=True, slots=True)
class _Node:
    """One entry of a Parquet schema, which is a tree written in a row."""

    name: str
    type: str
    physical: str
    children: int
    precision: int


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a file. `problem`: why DuckDB does not read it exactly, and what to do."""

    name: str
    type: str
    problem: tuple[str, str] | None = None
    #: timestamps of 96 bits; they are nanoseconds, and DuckDB reads microseconds
    int96: bool = False
    #: said by the writer, where the file's own type does not tell it
    zoned: bool = False


@dataclass(frozen=True, slots=True)
class _Schema:
    """Files of one schema, by an example."""

    example: Path
    columns: tuple[_Column, ...]


def select(connection: duckdb.DuckDBPyConnection, table: TableFiles) -> str:
    """The SELECT over the table's files. Raises SourceError for columns of one name."""
    together = ", union_by_name = true" if len(table.paths) > 1 else ""
    statement = f"SELECT * FROM read_parquet({file_list(table.paths)}, {table.partitions}{together})"
    relation = connection.sql(statement)
    types = {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}
    schemas = _schemas(connection, table.paths)
    refused: dict[str, str] = {}
    others: dict[str, str] = {}
    for name, kind in types.items():
        held = [(each.example, column) for each in schemas for column in each.columns if _same(column.name, name)]
        if found := _problem(connection, statement, name, kind, held, table.paths):
            path, (why, hint) = found
            refused[name] = refusal(f"column {name!r} of {path} {why}", hint)
        elif ZONED_NANOSECONDS in kind:
            others[name] = f"CAST({identifier(name)} AS {kind.replace(ZONED_NANOSECONDS, ZONED)})"
        elif NOTHING in kind:
            # a list of nothing but NULLs has no type; text is one that every destination knows
            others[name] = f"CAST({identifier(name)} AS {kind.replace(NOTHING, 'VARCHAR')})"
        elif any(column.int96 and column.zoned for _, column in held):
            others[name] = f"CAST({identifier(name)} AS {ZONED})"
    return refusing(statement, refused, others)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _problem(
    connection: duckdb.DuckDBPyConnection,
    statement: str,
    name: str,
    kind: str,
    held: Sequence[tuple[Path, _Column]],
    paths: Sequence[Path],
) -> tuple[Path, tuple[str, str]] | None:
    """Why a column cannot be read exactly, with a file in which that is so; None if it can."""
    for path, column in held:
        if column.problem:
            return path, column.problem
    first, typed = held[0] if held else (paths[0], None)
    for path, column in held:
        if typed and not (_holds(kind, column.type) and column.zoned == typed.zoned):
            other, there = next(((p, c) for p, c in held if c.type != typed.type), (path, column))
            return other, (f"is {there.type}, and {typed.type} in {first}", _OTHER_TYPE)
    nanoseconds = ("holds digits below microseconds", "round it where the file is written, or leave the column out")
    if ZONED_NANOSECONDS in kind:
        column_sql = identifier(name)
        whole = f"CAST(CAST({column_sql} AS {kind.replace(ZONED_NANOSECONDS, ZONED)}) AS {kind})"
        finer = f"SELECT 1 FROM ({statement}) WHERE {whole} IS DISTINCT FROM {column_sql} LIMIT 1"
        if connection.sql(finer).fetchall():
            return first, nanoseconds
    if any(column.int96 for _, column in held):
        for path in paths:
            if _finer_than_microseconds(path, name):
                return path, nanoseconds
    return None


def _holds(wide: str, narrow: str) -> bool:
    """Is every value of one DuckDB type the same value in the other, and written the same way?"""
    if wide == narrow or narrow == NOTHING:
        return True
    if wide.endswith("[]") and narrow.endswith("[]"):
        return _holds(wide[:-2], narrow[:-2])
    if wide == "TIMESTAMP" and narrow in ("TIMESTAMP_S", "TIMESTAMP_MS"):
        return True
    if wide in _INTEGERS and narrow in _INTEGERS:
        return _INTEGERS[wide][0] <= _INTEGERS[narrow][0] and _INTEGERS[narrow][1] <= _INTEGERS[wide][1]
    room, needed = _digits(wide), _digits(narrow)
    if room is None or needed is None or wide in _INTEGERS:
        return False
    return room[0] >= needed[0] and room[1] >= needed[1]


def _digits(kind: str) -> tuple[int, int] | None:
    """Digits before and after the point that a type of exact numbers needs; None for other types."""
    if kind in _INTEGERS:
        return len(str(_INTEGERS[kind][1])), 0
    if found := re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", kind):
        return int(found[1]) - int(found[2]), int(found[2])
    return None


def _schemas(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> list[_Schema]:
    """Each schema among the files once. Raises SourceError for columns that differ in case at most."""
    files = file_list(paths)
    rows = connection.sql(
        f"""
        WITH schemas AS (
          SELECT file_name, list({{'name': name, 'type': duckdb_type, 'physical': type, 'children': num_children,
            'precision': precision}} ORDER BY column_id) AS nodes
          FROM parquet_schema({files}) GROUP BY file_name
        ), writers AS (
          SELECT file_name, max(value) AS arrow FROM parquet_kv_metadata({files}) WHERE key = 'ARROW:schema'::BLOB
          GROUP BY file_name
        )
        SELECT min(file_name), nodes, arrow FROM schemas LEFT JOIN writers USING (file_name) GROUP BY nodes, arrow
        ORDER BY 1
        """
    ).fetchall()
    found = []
    for name, entries, arrow in rows:
        nodes = [
            _Node(each["name"], str(each["type"]), str(each["physical"]), each["children"] or 0, each["precision"] or 0)
            for each in entries
        ]
        columns = tuple(_columns(nodes))
        if clash := clashing([column.name for column in columns]):
            raise SourceError(
                f"{name} has two columns named {clash[1]!r}",
                code="source.duplicate_column",
                hint="give one another name where the file is written; names know no case",
            )
        found.append(_Schema(Path(name), tuple(_as_written(columns, arrow))))
    return found


def _columns(nodes: list[_Node]) -> Iterator[_Column]:
    at = 1
    for _ in range(nodes[0].children):
        below = _below(nodes, at)
        node = nodes[at]
        problem = None
        for place in range(at, below):
            if nodes[place].precision > DIGITS_MAX:
                problem = (
                    f"holds decimals of {nodes[place].precision} digits; the most is {DIGITS_MAX}",
                    f"write it as a decimal of up to {DIGITS_MAX} digits or as text, or leave the column out",
                )
            if clash := clashing([nodes[child].name for child in _children(nodes, place)]):
                problem = (f"has two members named {clash[1]!r}", "give one another name where the file is written")
        yield _Column(node.name, node.type, problem, int96=any(n.physical == "INT96" for n in nodes[at:below]))
        at = below


def _below(nodes: Sequence[_Node], at: int) -> int:
    """The place after a node and all that is in it."""
    end = at + 1
    for _ in range(nodes[at].children):
        end = _below(nodes, end)
    return end


def _children(nodes: Sequence[_Node], at: int) -> Iterator[int]:
    place = at + 1
    for _ in range(nodes[at].children):
        yield place
        place = _below(nodes, place)


def _as_written(columns: Sequence[_Column], arrow: bytes | None) -> Iterator[_Column]:
    """The columns with what Arrow's writers note beside the schema, since Parquet has no type for it."""
    if arrow is None:
        yield from columns
        return
    noted = {field.name: field.type for field in pa.ipc.read_schema(pa.py_buffer(base64.b64decode(arrow)))}
    for column in columns:
        kind = noted.get(column.name)
        if kind is not None and column.problem is None and "duration" in str(kind):
            yield replace(
                column,
                problem=("holds durations, which Parquet keeps as numbers", "write it as a number, or leave it out"),
            )
        elif kind is not None and column.int96 and "tz=" in str(kind):
            inside = (
                "holds instants of 96 bits inside of other values",
                "write INT64, or leave the column out",
            )
            yield replace(column, zoned=True, problem=None if column.type == "TIMESTAMP" else inside)
        else:
            yield column


def _finer_than_microseconds(path: Path, name: str) -> bool:
    """Do timestamps of 96 bits hold digits that DuckDB cuts off?"""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def units(unit: Literal["us", "ns"]) -> Iterator[Any]:
        file = pq.ParquetFile(path, coerce_int96_timestamp_unit=unit)
        wanted = [each for each in file.schema_arrow.names if _same(each, name)]
        for batch in file.iter_batches(columns=wanted) if wanted else ():
            yield from _moments(batch.column(0))

    for whole, fine in zip(units("us"), units("ns"), strict=True):
        # outside of the years 1677 to 2262 nanoseconds overflow; nobody writes them there
        again = fine.cast(pa.timestamp("us"), safe=False)
        inside = pc.equal(again, whole.cast(pa.timestamp("us")))
        cut = pc.not_equal(pc.multiply(again.view(pa.int64()), 1_000), fine.view(pa.int64()))
        if pc.any(pc.and_(inside, cut)).as_py():
            return True
    return False


def _moments(values: Any) -> Iterator[Any]:
    """The timestamps in an array, at any depth, without their zone."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        yield values.cast(pa.timestamp(kind.unit))
    elif pa.types.is_map(kind):
        yield from _moments(values.keys)
        yield from _moments(values.items)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _moments(values.flatten())
    elif pa.types.is_struct(kind):
        for member in values.flatten():
            yield from _moments(member)
