"""CSV files as a table: the header, and the types that all values of a column are written as.

A type is given to a column only if each of its values is written as that type writes it: `00123`, `+49`,
`1E5`, `1,5` and `01/02/2024` stay text, since no number or date gives them back. The rules depend on
nothing but the files' bytes. docs/reference/sources.md lists them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada.errors import SourceError
from levada.sources import record_counts
from levada.sources.encoding import opened, undecodable
from levada.sources.statements import identifier, literal
from levada.sources.table_files import TableFiles, clashing, file_list

if TYPE_CHECKING:
    import duckdb

COLUMNS_AT_ONCE = 256
"""So many columns are looked at in one pass over a file, however wide it is."""
SAMPLE_ROWS = 5_000
"""From so many first rows a column's type is guessed, to be proven or dropped by all the others."""
HEADER_CHARACTERS_MAX = 1_000_000
DELIMITERS = (",", ";", "\t", "|")

INTEGER = "0|-?[1-9][0-9]{0,37}"
#: how a value of each type is written, and the cast that must also succeed
_WRITTEN: dict[str, tuple[str, str | None]] = {
    "BOOLEAN": ("(?i)true|false", None),
    "BIGINT": ("0|-?[1-9][0-9]{0,17}", None),
    "DECIMAL(38,0)": (INTEGER, None),
    "DECIMAL": (r"0|-?[1-9][0-9]{0,37}|-?(0|[1-9][0-9]{0,37})\.[0-9]{1,37}", None),
    "DATE": ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "DATE"),
    "TIMESTAMP": (r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", "TIMESTAMP"),
    "TIMESTAMPTZ": (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}(:[0-9]{2})?)",
        "TIMESTAMPTZ",
    ),
    "TIME": (r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", "TIME"),
}


@dataclass(frozen=True, slots=True)
class _Shape:
    """What files must share to be read by one call."""

    delimiter: str
    header: tuple[str, ...]


def select(connection: duckdb.DuckDBPyConnection, table: TableFiles, text: set[str], readable: dict[Path, Path]) -> str:
    """The SELECT over the table's files with every column typed. `text`: columns that stay text, in lower case.

    `readable`: where the text of each path is in UTF-8. Raises SourceError for what is no CSV, and for rows that
    DuckDB passes over.
    """
    groups: dict[_Shape, list[Path]] = {}
    for path in table.paths:
        groups.setdefault(_shape(path, readable[path]), []).append(path)

    def read(shape: _Shape, paths: list[Path], types: dict[str, str]) -> str:
        files = file_list(readable[path] for path in paths)
        return f"SELECT * FROM read_csv({files}, {_options(shape, types)}, {table.partitions})"

    def statement(types: dict[str, str]) -> str:
        return " UNION ALL BY NAME ".join(read(shape, paths, types) for shape, paths in groups.items())

    columns = list(dict.fromkeys(name for shape in groups for name in shape.header))
    if clash := clashing(columns):
        raise SourceError(
            f"columns {clash[0]!r} and {clash[1]!r} of {table.paths[0].parent} differ in case only",
            code="source.duplicate_column",
            hint="give the column the same name in all files",
        )
    types = dict.fromkeys(columns, "VARCHAR")
    for shape, paths in groups.items():
        for path in paths:
            _count(connection, read(shape, [path], types), shape, readable[path])
    types |= _types(connection, statement(types), [name for name in columns if name.casefold() not in text])
    return statement(types)


def _count(connection: duckdb.DuckDBPyConnection, statement: str, shape: _Shape, path: Path) -> None:
    """Prove that a file's rows are all read."""
    import duckdb

    try:
        (found,) = connection.sql(f"SELECT count(*) FROM ({statement})").fetchall()[0]
    except duckdb.Error:
        record_counts.check_line_lengths(path)
        raise
    record_counts.check_csv(path, shape.delimiter, len(shape.header), found)


def _options(shape: _Shape, types: dict[str, str]) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(types[name])}" for name in shape.header)
    return (
        f"columns = {{{columns}}}, auto_detect = false, header = true, delim = {literal(shape.delimiter)}, "
        "quote = '\"', escape = '\"', nullstr = '', strict_mode = true"
    )


def _shape(path: Path, readable: Path) -> _Shape:
    """The delimiter and the names in a file's first record, which is its header."""
    try:
        with opened(readable, "utf-8-sig") as file:
            start = file.read(HEADER_CHARACTERS_MAX)
    except UnicodeError as error:
        raise undecodable(path, "utf-8", error) from error
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
    delimiter = "\t" if ".tsv" in path.name.lower() else _delimiter(start)
    record = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])
    if not record:
        raise SourceError(f"{path} has no header line", code="source.header", hint="the first line names the columns")
    if any("\0" in name for name in record):
        raise SourceError(
            f"the header of {path} holds NUL characters",
            code="source.encoding",
            hint="is it UTF-16? `encoding: utf-16` in the source reads it",
        )
    header = tuple(name or f"column_{number}" for number, name in enumerate(record, 1))
    if clash := clashing(header):
        raise SourceError(f"the header of {path} names the column {clash[1]!r} twice", code="source.duplicate_column")
    return _Shape(delimiter, header)


def _delimiter(start: str) -> str:
    """The candidate that parts the first record most often; a comma if none does."""
    counts = dict.fromkeys(DELIMITERS, 0)
    quoted = False
    for character in start:
        if character == '"':
            quoted = not quoted
        elif character in "\r\n" and not quoted:
            break
        elif character in counts and not quoted:
            counts[character] += 1
    return max(DELIMITERS, key=lambda candidate: counts[candidate])


def _types(connection: duckdb.DuckDBPyConnection, statement: str, columns: list[str]) -> dict[str, str]:
    """The type of each column: guessed from the first rows, then proven on all, else found from all."""
    if not columns:
        return {}
    sample = f"SELECT * FROM ({statement}) LIMIT {SAMPLE_ROWS}"
    guessed = _classify(connection, sample, dict.fromkeys(columns, tuple(_WRITTEN)))
    # a column that is text in its first rows is text; one without values may still be anything
    unproven = {name: (kind,) if kind else tuple(_WRITTEN) for name, kind in guessed.items() if kind != "VARCHAR"}
    proven = _classify(connection, statement, unproven)
    failed = {name: tuple(_WRITTEN) for name, kind in proven.items() if kind == "VARCHAR"}
    # only numbers have a wider kind than the one that the first rows showed
    failed = {name: kinds for name, kinds in failed.items() if guessed[name] in ("BIGINT", "DECIMAL(38,0)")}
    found = {**guessed, **proven, **_classify(connection, statement, failed)}
    return {name: kind or "VARCHAR" for name, kind in found.items() if kind not in ("DECIMAL",)} | _decimals(
        connection, statement, [name for name, kind in found.items() if kind == "DECIMAL"]
    )


def _classify(
    connection: duckdb.DuckDBPyConnection, statement: str, columns: dict[str, tuple[str, ...]]
) -> dict[str, str | None]:
    """The first of each column's kinds that all its values are written as, or VARCHAR; None without values."""
    found: dict[str, str | None] = {}
    for names, kinds in _alike(columns):
        tests = []
        for kind in kinds:
            pattern, cast = _WRITTEN[kind]
            test = f"regexp_full_match(v, {literal(pattern)})"
            if cast:
                test += f" AND (v IS NULL OR TRY_CAST(v AS {cast}) IS NOT NULL)"
            tests.append(f"coalesce(bool_and({test}), true)")
        for name, (values, *fits) in _of_each(connection, statement, names, ["count(v)", *tests]):
            fitting = [kind for kind, fit in zip(kinds, fits, strict=True) if fit]
            found[name] = None if not values else fitting[0] if fitting else "VARCHAR"
    return found


def _alike(columns: dict[str, tuple[str, ...]]) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """Columns to be looked at together: of the same kinds, and only so many."""
    for kinds in dict.fromkeys(columns.values()):
        names = [name for name, each in columns.items() if each == kinds]
        for start in range(0, len(names), COLUMNS_AT_ONCE):
            yield names[start : start + COLUMNS_AT_ONCE], kinds


def _of_each(
    connection: duckdb.DuckDBPyConnection, statement: str, names: Sequence[str], aggregates: Sequence[str]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Aggregates over the values `v` of each column. Written once for all columns, or the statement and its memory
    would grow with their number."""
    listed = ", ".join(identifier(name) for name in names)
    values = f"SELECT unnest([{listed}]) AS v, unnest(range({len(names)})) AS i FROM ({statement})"
    rows = connection.sql(f"SELECT i, {', '.join(aggregates)} FROM ({values}) GROUP BY i").fetchall()
    answers = {index: tuple(row) for index, *row in rows}
    for index, name in enumerate(names):
        # a table without rows has no values
        yield name, answers.get(index, (0,) + (True,) * (len(aggregates) - 1))


def _decimals(connection: duckdb.DuckDBPyConnection, statement: str, columns: list[str]) -> dict[str, str]:
    """DECIMAL with the digits that the values have; text if they have more than 38 together."""
    types = {}
    longest = ["max(length(ltrim(split_part(v, '.', 1), '-')))", "max(length(split_part(v, '.', 2)))"]
    for names, _ in _alike(dict.fromkeys(columns, ())):
        for name, (whole, scale) in _of_each(connection, statement, names, longest):
            digits = whole + scale
            types[name] = "VARCHAR" if digits > 38 else f"DECIMAL({18 if digits <= 18 else 38},{scale})"
    return types
