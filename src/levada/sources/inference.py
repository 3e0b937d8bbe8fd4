"""What the columns of CSV and JSON-lines files are, found from all their values, by rules that never lose one.

A type is given to a column only if each of its values is written as that type writes it: `00123`, `+49`,
`1E5`, `1,5` and `01/02/2024` stay text, since no number or date gives them back. The rules depend on
nothing but the files' bytes. docs/reference/sources.md lists them.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from levada.errors import SourceError
from levada.sources.statements import identifier, literal
from levada.sql.connection import connect

if TYPE_CHECKING:
    import duckdb

Format = Literal["parquet", "csv", "json"]
Encoding = Literal["utf-8", "utf-16", "latin-1"]

SAMPLE_ROWS = 5_000
"""From so many first rows a column's type is guessed, to be proven or dropped by all the others."""
HEADER_CHARACTERS_MAX = 1_000_000
DELIMITERS = (",", ";", "\t", "|")
INFERENCE_MEMORY = "384MB"

#: how a value of each type is written, and the cast that must also succeed
_WRITTEN: dict[str, tuple[str, str | None]] = {
    "BOOLEAN": ("(?i)true|false", None),
    "BIGINT": ("0|-?[1-9][0-9]{0,17}", None),
    "DECIMAL(38,0)": ("0|-?[1-9][0-9]{0,37}", None),
    "DECIMAL": (r"0|-?[1-9][0-9]{0,37}|-?(0|[1-9][0-9]{0,37})\.[0-9]{1,37}", None),
    "DATE": ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "DATE"),
    "TIMESTAMP": (r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", "TIMESTAMP"),
    "TIMESTAMPTZ": (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}(:[0-9]{2})?)",
        "TIMESTAMPTZ",
    ),
    "TIME": (r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?", "TIME"),
}
_DOUBLE_DIGITS = 17
"""A number of so many significant digits may be a double, written out; one of more would be rounded here."""
_LOST = [rf"0\.0*[1-9][0-9]{{{_DOUBLE_DIGITS}}}", rf"[1-9][0-9]{{{_DOUBLE_DIGITS},}}\.[0-9]"] + [
    rf"[1-9][0-9]{{{whole - 1}}}\.[0-9]{{{_DOUBLE_DIGITS + 1 - whole}}}" for whole in range(1, _DOUBLE_DIGITS + 1)
]
_JSON_NUMBER_LOST = (
    rf"[-:,\[\s]({'|'.join(_LOST)})|[0-9.][eE][+-]?0*([3-9][0-9]{{2}}|[1-9][0-9]{{3,}})"  # or nearly infinite, or zero
)


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table, sorted. `partitioned`: folders named `column=value` are columns."""

    format: Format
    paths: tuple[Path, ...]
    partitioned: bool = False


def select(table: TableFiles, text: Iterable[str], encoding: Encoding) -> str:
    """The SELECT that reads the table with every column typed. Raises SourceError or DuckDB's own errors."""
    connection = connect(memory_limit=INFERENCE_MEMORY)
    try:
        match table.format:
            case "parquet":
                return _parquet(connection, table)
            case "csv":
                return _csv(connection, table, {column.casefold() for column in text}, encoding)
            case "json":
                return _json(connection, table)
    finally:
        connection.close()


def file_list(paths: Iterable[Path]) -> str:
    """Paths as a list of SQL texts."""
    return f"[{', '.join(literal(escaped(path)) for path in paths)}]"


def escaped(path: Path) -> str:
    """A path as DuckDB reads it literally: it would take some characters of a name for a pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def _partitions(table: TableFiles) -> str:
    if table.partitioned:
        return "hive_partitioning = true, hive_types_autocast = false"
    return "hive_partitioning = false"


def _parquet(connection: duckdb.DuckDBPyConnection, table: TableFiles) -> str:
    together = ", union_by_name = true" if len(table.paths) > 1 else ""
    statement = f"SELECT * FROM read_parquet({file_list(table.paths)}, {_partitions(table)}{together})"
    connection.sql(statement)
    return statement


# CSV


@dataclass(frozen=True, slots=True)
class _Shape:
    """What files must share to be read by one call."""

    delimiter: str
    header: tuple[str, ...]


def _csv(connection: duckdb.DuckDBPyConnection, table: TableFiles, text: set[str], encoding: Encoding) -> str:
    groups: dict[_Shape, list[Path]] = {}
    for path in table.paths:
        groups.setdefault(_shape(path, encoding), []).append(path)

    def statement(types: dict[str, str]) -> str:
        return " UNION ALL BY NAME ".join(
            f"SELECT * FROM read_csv({file_list(paths)}, {_csv_options(shape, types, encoding)}, {_partitions(table)})"
            for shape, paths in groups.items()
        )

    columns = list(dict.fromkeys(name for shape in groups for name in shape.header))
    if clash := _clashing(columns):
        raise SourceError(
            f"columns {clash[0]!r} and {clash[1]!r} of {table.paths[0].parent} differ in case only",
            code="source.duplicate_column",
            hint="give the column the same name in all files",
        )
    types = dict.fromkeys(columns, "VARCHAR")
    open_columns = [name for name in columns if name.casefold() not in text]
    types |= _types(connection, statement(types), open_columns)
    return statement(types)


def _csv_options(shape: _Shape, types: dict[str, str], encoding: Encoding) -> str:
    columns = ", ".join(f"{literal(name)}: {literal(types[name])}" for name in shape.header)
    return (
        f"columns = {{{columns}}}, auto_detect = false, header = true, delim = {literal(shape.delimiter)}, "
        f"quote = '\"', escape = '\"', nullstr = '', strict_mode = true, encoding = {literal(encoding)}"
    )


def _opened(path: Path, encoding: Encoding) -> IO[str]:
    named = "utf-8-sig" if encoding == "utf-8" else encoding
    if path.name.lower().endswith(".gz"):
        return io.TextIOWrapper(gzip.open(path), encoding=named, newline="")
    return path.open(encoding=named, newline="")


def _shape(path: Path, encoding: Encoding) -> _Shape:
    """The delimiter and the names in a file's first record, which is its header."""
    try:
        with _opened(path, encoding) as file:
            start = file.read(HEADER_CHARACTERS_MAX)
    except UnicodeError as error:
        raise SourceError(
            f"{path} is not {encoding}: {error}", code="source.encoding", hint="say `encoding: latin-1` in the source"
        ) from error
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
    delimiter = "\t" if ".tsv" in path.name.lower() else _delimiter(start)
    record = next(csv.reader(io.StringIO(start, newline=""), delimiter=delimiter), [])
    if not record:
        raise SourceError(f"{path} has no header line", code="source.header", hint="the first line names the columns")
    header = tuple(name or f"column_{number}" for number, name in enumerate(record, 1))
    if clash := _clashing(header):
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


def _clashing(names: Sequence[str]) -> tuple[str, str] | None:
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            return seen[name.casefold()], name
        seen[name.casefold()] = name
    return None


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
    if not columns:
        return {}
    items = []
    for name, kinds in columns.items():
        column = identifier(name)
        items.append(f"count({column})")
        for kind in kinds:
            pattern, cast = _WRITTEN[kind]
            test = f"regexp_full_match({column}, {literal(pattern)})"
            if cast:
                test += f" AND ({column} IS NULL OR TRY_CAST({column} AS {cast}) IS NOT NULL)"
            items.append(f"coalesce(bool_and({test}), true)")
    (row,) = connection.sql(f"SELECT {', '.join(items)} FROM ({statement})").fetchall()
    answers = iter(row)
    found: dict[str, str | None] = {}
    for name, kinds in columns.items():
        values = next(answers)
        fits = [kind for kind in kinds if next(answers)]
        found[name] = None if not values else fits[0] if fits else "VARCHAR"
    return found


def _decimals(connection: duckdb.DuckDBPyConnection, statement: str, columns: list[str]) -> dict[str, str]:
    """DECIMAL with the digits that the values have; text if they have more than 38 together."""
    if not columns:
        return {}
    items = []
    for name in columns:
        column = identifier(name)
        items.append(f"max(length(ltrim(split_part({column}, '.', 1), '-')))")
        items.append(f"max(length(split_part({column}, '.', 2)))")
    (row,) = connection.sql(f"SELECT {', '.join(items)} FROM ({statement})").fetchall()
    types = {}
    for name, whole, scale in zip(columns, row[::2], row[1::2], strict=True):
        digits = whole + scale
        types[name] = "VARCHAR" if digits > 38 else f"DECIMAL({18 if digits <= 18 else 38},{scale})"
    return types


# JSON lines


def _json(connection: duckdb.DuckDBPyConnection, table: TableFiles) -> str:
    groups: dict[str, list[Path]] = {}
    for path in table.paths:
        groups.setdefault(_json_format(path), []).append(path)

    def options(form: str) -> str:
        return f"format = {literal(form)}, {_partitions(table)}"

    untyped = " UNION ALL BY NAME ".join(
        f"SELECT * FROM read_json({file_list(paths)}, {options(form)}, sample_size = -1, maximum_depth = 1, "
        "map_inference_threshold = -1, field_appearance_threshold = 0, union_by_name = true)"
        for form, paths in groups.items()
    )
    _refuse_lost_digits(connection, groups)
    relation = connection.sql(untyped)
    partitions = {name for name, kind in zip(relation.columns, relation.types, strict=True) if str(kind) != "JSON"}
    names = [name for name in relation.columns if name not in partitions]
    if not names:
        raise SourceError(f"{table.paths[0]} holds no objects", code="source.header", hint="one JSON object a line")
    _refuse_clashing_keys(connection, groups, names)
    types = _json_types(connection, untyped, names)
    columns = ", ".join(f"{literal(name)}: {literal(types[name])}" for name in names)
    return " UNION ALL BY NAME ".join(
        f"SELECT * FROM read_json({file_list(paths)}, {options(form)}, auto_detect = false, columns = {{{columns}}})"
        for form, paths in groups.items()
    )


def _refuse_clashing_keys(
    connection: duckdb.DuckDBPyConnection, groups: dict[str, list[Path]], names: Sequence[str]
) -> None:
    """Keys that differ in case only: DuckDB would rename the second and find nothing under its new name."""
    known = {name.casefold() for name in names}
    for name in names:
        base = re.sub(r"_\d+$", "", name)
        if base == name or base.casefold() not in known:
            continue
        objects = " UNION ALL ".join(
            f"SELECT json FROM read_json_objects({file_list(paths)}, format = {literal(form)})"
            for form, paths in groups.items()
        )
        found = f"SELECT 1 FROM ({objects}) WHERE list_contains(json_keys(json), {literal(name)}) LIMIT 1"
        if not connection.sql(found).fetchall():
            raise SourceError(
                f"objects in {groups.popitem()[1][0]} have keys that differ from {base!r} in case only",
                code="source.duplicate_column",
                hint="give the key the same name everywhere",
            )


def _json_format(path: Path) -> str:
    with _opened(path, "utf-8") as file:
        start = file.read(10_000).lstrip()
    return "array" if start.startswith("[") else "newline_delimited"


def _json_types(connection: duckdb.DuckDBPyConnection, statement: str, names: list[str]) -> dict[str, str]:
    items = []
    for name in names:
        column = identifier(name)
        items.append(f"list_sort(list(DISTINCT json_type({column})))")
        integer, _ = _WRITTEN["DECIMAL(38,0)"]
        items.append(
            f"bool_and(regexp_full_match({column}::VARCHAR, {literal(integer)})), max(length({column}::VARCHAR))"
        )
    (row,) = connection.sql(f"SELECT {', '.join(items)} FROM ({statement})").fetchall()
    types = {}
    for index, name in enumerate(names):
        kinds, integers, length = row[3 * index : 3 * index + 3]
        types[name] = _json_type(set(kinds or ()) - {"NULL", None}, bool(integers), length or 0)
    return types


def _json_type(kinds: set[str], integers: bool, length: int) -> str:
    numbers = {"BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"}
    if not kinds or kinds == {"VARCHAR"}:
        return "VARCHAR"
    if kinds == {"BOOLEAN"}:
        return "BOOLEAN"
    if kinds <= numbers:
        if not integers:
            return "DOUBLE"
        return "BIGINT" if length <= 18 else "DECIMAL(38,0)"
    return "JSON"


def _refuse_lost_digits(connection: duckdb.DuckDBPyConnection, groups: dict[str, list[Path]]) -> None:
    """A JSON number with a fraction is binary floating point here; one that this would round is refused."""
    for form, paths in groups.items():
        bare = "regexp_replace(json::VARCHAR, '\"([^\"\\\\]|\\\\.)*\"', '\"\"', 'g')"
        objects = f"read_json_objects({file_list(paths)}, format = {literal(form)})"
        lost = f"regexp_matches({bare}, {literal(_JSON_NUMBER_LOST)})"
        if connection.sql(f"SELECT 1 FROM {objects} WHERE {lost} LIMIT 1").fetchall():
            raise SourceError(
                f"a number in {paths[0]} is beyond what binary floating point keeps",
                code="source.value",
                hint="write it as a text, in quotes",
            )
