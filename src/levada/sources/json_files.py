"""Files of JSON lines, or of one JSON array of objects, as a table: what each key's values are.

A column is text, true and false, whole numbers, numbers, or JSON, and always what all its values are. Texts
beside numbers are text. Texts beside objects or arrays are neither text nor JSON for sure, and are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from levada.errors import SourceError
from levada.source import refusal
from levada.sources import record_counts
from levada.sources.encoding import opened
from levada.sources.statements import identifier, literal
from levada.sources.table_files import TableFiles, file_list, refusing

if TYPE_CHECKING:
    import duckdb

DOUBLE_DIGITS = 15
"""Any number of so many significant digits is what floating point of 64 bits gives back."""
OBJECT_BYTES, OBJECT_BYTES_MAX = 1 << 20, 16 << 20
"""What an object of JSON may weigh: at first, and at most."""
HEAVY_BYTES = 16 << 10
"""From such a line on a file is looked at in one thread: each holds several copies of 2,048 lines."""
_TEXTS = r"\"(?:[^\"\\]|\\.)*\""
_NUMBER = r"-?[0-9]+(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?"
_LONG = rf"[0-9.]{{{DOUBLE_DIGITS + 1},}}|[0-9][eE][+-]?[0-9]{{3}}"
_TEXT, _BOOLEAN, _NESTED, _NUMERIC = 1, 2, 4, 8
_BITS = {"VARCHAR": _TEXT, "BOOLEAN": _BOOLEAN, "OBJECT": _NESTED, "ARRAY": _NESTED} | dict.fromkeys(
    ("BIGINT", "UBIGINT", "HUGEINT", "DOUBLE"), _NUMERIC
)
"""Kinds of JSON values, to be put together; NULL is none."""
_DIGITS_MAX = 38
_PIN = (
    "say in the source `json: [column]` to send each as JSON, texts in quotes, or `text: [column]` to send the texts"
    " as they are and the others as JSON in a text"
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """Columns whose kind is said by the source's declaration, in lower case."""

    text: frozenset[str]
    json: frozenset[str]


_Counts: TypeAlias = "tuple[int, int, int, int]"


@dataclass(frozen=True, slots=True)
class _Files:
    """Files of one form, by DuckDB's name of it, and the most bytes that an object in them has.

    DuckDB reads twice so many bytes at a time, in each thread: what is said too large costs memory.
    """

    form: str
    paths: tuple[Path, ...]
    object_bytes: int

    def with_(self, more: _Files) -> _Files:
        return replace(self, paths=(*self.paths, *more.paths), object_bytes=max(self.object_bytes, more.object_bytes))

    @property
    def sql(self) -> str:
        """The first arguments of DuckDB's readers."""
        return f"{file_list(self.paths)}, format = {literal(self.form)}, maximum_object_size = {self.object_bytes}"

    @property
    def objects(self) -> str:
        """A relation of the objects: `json`, and `bare`, which is the same without what its texts hold."""
        bare = f"regexp_replace(json::VARCHAR, {literal(_TEXTS)}, '\"\"', 'g')"
        return f"(SELECT json, {bare} AS bare FROM read_json_objects({self.sql}))"


def select(connection: duckdb.DuckDBPyConnection, table: TableFiles, pinned: Pinned, readable: dict[Path, Path]) -> str:
    """The SELECT over the table's files with every column typed. `readable`: where each path's text is in UTF-8.

    Raises SourceError for what is no object, for objects that DuckDB passes over and for numbers that would be rounded.
    """
    groups: dict[str, _Files] = {}
    for path in table.paths:
        if found := _check(connection, path, readable[path]):
            groups[found.form] = groups[found.form].with_(found) if found.form in groups else found
    if not groups:
        raise SourceError(f"{table.paths[0]} holds no objects", code="source.header", hint="one JSON object a line")

    def read(options: str) -> str:
        return " UNION ALL BY NAME ".join(
            f"SELECT * FROM read_json({files.sql}, {table.partitions}, {options})" for files in groups.values()
        )

    untyped = read(
        "records = 'true', sample_size = -1, maximum_depth = 1, map_inference_threshold = -1, "
        "field_appearance_threshold = 0, union_by_name = true"
    )
    relation = connection.sql(untyped)
    partitions = {name for name, kind in zip(relation.columns, relation.types, strict=True) if str(kind) != "JSON"}
    names = [name for name in relation.columns if name not in partitions]
    _refuse_clashing_keys(connection, groups, names)
    types = _types(connection, untyped, names, pinned)
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, (kind, _) in types.items())
    typed = read(f"records = 'true', auto_detect = false, columns = {{{columns}}}")
    where = table.paths[0] if len(table.paths) == 1 else f"the files beside {table.paths[0]}"
    return refusing(
        typed,
        {name: refusal(f"column {name!r} of {where} {why[0]}", why[1]) for name, (_, why) in types.items() if why},
    )


def _check(connection: duckdb.DuckDBPyConnection, path: Path, readable: Path) -> _Files | None:
    """How DuckDB reads a file, after every object was counted and every number looked at. None: it is empty."""
    try:
        with opened(readable, "utf-8") as file:
            is_array = file.read(10_000).lstrip().startswith("[")
    except UnicodeError:
        is_array = False  # DuckDB says where
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
    if is_array:
        files, counts = _array(connection, readable)
    else:
        lines, longest = record_counts.json_lines(readable)
        files = _Files("newline_delimited", (readable,), max(OBJECT_BYTES, min(longest + 1_024, OBJECT_BYTES_MAX)))
        if longest > HEAVY_BYTES:
            connection.execute("SET threads = 1")
        counts = _counts(connection, files)
    found, named, strange, long = counts
    if strange:
        raise SourceError(
            f"{path} holds {strange:,} values that are no objects", code="source.read", hint="one JSON object a line"
        )
    if is_array:
        record_counts.check_array_ends(readable)
    else:
        record_counts.check_json_lines(readable, lines, found)
    if found and not named:
        raise SourceError(f"{path} holds objects without a key", code="source.header")
    if long:
        _refuse_lost_digits(connection, path, files)
    return files if found else None


def _array(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[_Files, _Counts]:
    """A file of one array: its objects are small, or some of them are not."""
    import duckdb

    small = _Files("array", (path,), OBJECT_BYTES)
    try:
        return small, _counts(connection, small)
    except duckdb.Error as error:
        if "maximum_object_size" not in str(error):
            raise
    connection.execute("SET threads = 1")
    large = replace(small, object_bytes=OBJECT_BYTES_MAX)
    return large, _counts(connection, large)


def _counts(connection: duckdb.DuckDBPyConnection, files: _Files) -> _Counts:
    """How many objects there are, how many with keys, how many that are none, how many with long numbers."""
    looked = (
        f"SELECT len(json_keys(json)) > 0 AS named, json_type(json) IS DISTINCT FROM 'OBJECT' AS strange, "
        f"regexp_matches(bare, {literal(_LONG)}) AS long FROM {files.objects}"
    )
    # the objects are let go before they are counted: a FILTER beside them would keep a copy for each
    counted = f"SELECT count(*), count_if(named), count_if(strange), count_if(long) FROM ({looked})"
    (found,) = connection.sql(counted).fetchall()
    return found


def _refuse_lost_digits(connection: duckdb.DuckDBPyConnection, path: Path, files: _Files) -> None:
    """A number with a fraction or an exponent is floating point here; one that this would change is refused.

    The double must be written by the same digits, be it the shortest that tell it or all 17.
    """

    def digits(text: str) -> str:
        return f"trim(regexp_replace(regexp_replace({text}, '[eE].*', ''), '[-.]', '', 'g'), '0')"

    tokens = (
        f"SELECT json, unnest(regexp_extract_all(bare, {literal(_NUMBER)})) AS token FROM {files.objects} "
        f"WHERE regexp_matches(bare, {literal(_LONG)})"
    )
    as_double = f"SELECT *, TRY_CAST(token AS DOUBLE) AS number FROM ({tokens}) WHERE regexp_matches(token, '[.eE]')"
    written = (digits("number::VARCHAR"), digits("printf('%.17g', number)"))
    same = f"{digits('token')} IN ({written[0]}, {written[1]})"
    kept = f"coalesce(isfinite(number) AND {same}, false)"
    lost = connection.sql(f"SELECT json::VARCHAR, token FROM ({as_double}) WHERE NOT {kept} LIMIT 1").fetchall()
    if lost:
        ((text, token),) = lost
        raise SourceError(
            f"a number in column {_holder(text, token)!r} of {path} is beyond what binary floating point keeps",
            code="source.value",
            hint="write it as a text, in quotes",
        )


def _holder(text: str, token: str) -> str:
    """The key of an object in whose value a number stands."""

    def held(value: object) -> bool:
        match value:
            case dict():
                return any(held(each) for each in value.values())
            case list():
                return any(held(each) for each in value)
        return isinstance(value, _Number) and value.token == token

    members = json.loads(text, parse_float=_Number)
    return next((key for key, value in members.items() if held(value)), "?")


@dataclass(frozen=True, slots=True)
class _Number:
    token: str


def _refuse_clashing_keys(
    connection: duckdb.DuckDBPyConnection, groups: dict[str, _Files], names: Sequence[str]
) -> None:
    """Keys that differ in case only: DuckDB would rename the second and find nothing under its new name."""
    known = {name.casefold() for name in names}
    for name in names:
        base = re.sub(r"_\d+$", "", name)
        if base == name or base.casefold() not in known:
            continue
        objects = " UNION ALL ".join(f"SELECT json FROM read_json_objects({files.sql})" for files in groups.values())
        found = f"SELECT 1 FROM ({objects}) WHERE list_contains(json_keys(json), {literal(name)}) LIMIT 1"
        if not connection.sql(found).fetchall():
            raise SourceError(
                f"objects in {groups.popitem()[1].paths[0]} have keys that differ from {base!r} in case only",
                code="source.duplicate_column",
                hint="give the key the same name everywhere",
            )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What all values of a column are: kinds of JSON, and how its numbers are written, 0 where there is none."""

    kinds: int
    #: digits of the longest whole number
    whole: int
    #: digits before and after the point, and digits that count, of numbers with a fraction
    before: int
    after: int
    significant: int
    exponents: bool

    @property
    def fractions(self) -> bool:
        return self.exponents or self.significant > 0


def _types(
    connection: duckdb.DuckDBPyConnection, statement: str, names: list[str], pinned: Pinned
) -> dict[str, tuple[str, tuple[str, str] | None]]:
    """The type of each column; with it, if the column cannot be read exactly, why and what to do."""
    types: dict[str, tuple[str, tuple[str, str] | None]] = {}
    for name, facts in zip(names, _facts(connection, statement, names), strict=True):
        if name.casefold() in pinned.text | pinned.json:
            types[name] = ("VARCHAR" if name.casefold() in pinned.text else "JSON", None)
        else:
            types[name] = _type(facts)
    return types


def _facts(connection: duckdb.DuckDBPyConnection, statement: str, names: list[str]) -> list[_Facts]:
    """One pass over all columns. In steps, and without FILTER, of which each keeps a copy of all columns."""
    bits = " ".join(f"WHEN {literal(kind)} THEN {bit}" for kind, bit in _BITS.items())
    looked, split, items = [], [], []
    for index, name in enumerate(names):
        column = identifier(name)
        looked.append(f"CASE json_type({column}) {bits} ELSE 0 END AS k{index}")
        looked.append(f"ltrim({column}::VARCHAR, '-') AS t{index}")
        split.append(f"k{index}, CASE WHEN k{index} = {_NUMERIC} THEN t{index} END AS n{index}")
        split.append(f"strpos(n{index}, '.') AS p{index}, contains(n{index}, 'e') AS e{index}")
        pointed = f"CASE WHEN p{index} > 0 AND NOT e{index}"
        items += [
            f"bit_or(k{index})",
            f"max(CASE WHEN p{index} = 0 AND NOT e{index} THEN length(n{index}) END)",
            f"max({pointed} THEN p{index} - 1 END)",
            f"max({pointed} THEN length(n{index}) - p{index} END)",
            f"max({pointed} THEN length(replace(ltrim(n{index}, '0.'), '.', '')) END)",
            f"bool_or(e{index})",
        ]
    stages = f"SELECT {', '.join(split)} FROM (SELECT {', '.join(looked)} FROM ({statement}))"
    (row,) = connection.sql(f"SELECT {', '.join(items)} FROM ({stages})").fetchall()
    found = []
    for at in range(0, len(row), 6):
        kinds, whole, before, after, significant = (value or 0 for value in row[at : at + 5])
        found.append(_Facts(kinds, whole, before, after, significant, bool(row[at + 5])))
    return found


def _type(facts: _Facts) -> tuple[str, tuple[str, str] | None]:
    kinds = facts.kinds
    if not kinds or (kinds & _TEXT and not kinds & _NESTED):
        # numbers, and true and false, as they are written
        return "VARCHAR", None
    if kinds == _BOOLEAN:
        return "BOOLEAN", None
    if kinds == _NUMERIC:
        return _number(facts)
    if kinds & _TEXT:
        return "JSON", ("holds texts beside objects or arrays", _PIN)
    return "JSON", None


def _number(facts: _Facts) -> tuple[str, tuple[str, str] | None]:
    """Whole numbers exactly; fractions as floating point, unless that would round the whole numbers beside them."""
    if facts.whole <= _DIGITS_MAX and not facts.fractions:
        return ("BIGINT" if facts.whole <= 18 else f"DECIMAL({_DIGITS_MAX},0)"), None
    if facts.whole <= DOUBLE_DIGITS:
        return "DOUBLE", None
    digits = max(facts.whole, facts.before) + facts.after
    if digits <= _DIGITS_MAX and facts.significant <= DOUBLE_DIGITS and not facts.exponents:
        return f"DECIMAL({_DIGITS_MAX},{facts.after})", None
    return "DOUBLE", (
        f"holds whole numbers of {facts.whole} digits" + (" beside fractions" if facts.fractions else ""),
        "say in the source `text: [column]`, or write the numbers as texts, in quotes",
    )
