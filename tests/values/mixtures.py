"""Columns in which two kinds of values meet, in one file or in two of one table, bare and inside of other values.

A column is written by a library that is not the engine's (pyarrow, Python's csv, json and sqlite3), and `same` says
whether what arrived is what the writer meant: numbers by value to the last digit, everything else by the letter.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import itertools
import json
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from values.kinds import days, decimals, doubles, instants, integers, moments

TEXTS = ("C0", "x,y", 'say "hi"', "é 😀", "00123", "n/a", " 1", "{", "[", "null ", "a\nb", "'", "-", "1_0", "+1", "1,5")
TEXTS_OF_JSON = (*TEXTS, "1", "true", "null", "", "2024-02-29", '"q"', "[1]", '{"a": 1}', "1.0")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A kind of value: its Arrow type, and how one is drawn for a format."""

    name: str
    arrow: pa.DataType
    draw: Callable[[Random, str], Any]


def _text(random: Random, form: str) -> str:
    return random.choice(TEXTS_OF_JSON if form in ("json", "parquet") else TEXTS)


def _whole(random: Random, form: str) -> int:
    return integers(-(2**63), 2**63 - 1)(random)  # type: ignore[no-any-return]


def _small(random: Random, form: str) -> float:
    """A fraction of few digits, as prices are."""
    return random.randint(-(10**6), 10**6) / random.choice((2, 4, 8, 10, 100))


def _moment(random: Random, form: str) -> dt.datetime:
    found: dt.datetime = moments()(random)
    return found


LEAVES = (
    Leaf("int", pa.int64(), _whole),
    Leaf("small", pa.int32(), lambda random, form: random.randint(-(2**31), 2**31 - 1)),
    Leaf("float", pa.float64(), lambda random, form: doubles(random) + 0.0),
    Leaf("price", pa.float64(), _small),
    Leaf("bool", pa.bool_(), lambda random, form: random.random() < 0.5),
    Leaf("text", pa.string(), _text),
    Leaf("null", pa.null(), lambda random, form: None),
    Leaf("date", pa.date32(), lambda random, form: days(random)),
    Leaf("moment", pa.timestamp("us"), _moment),
    Leaf("instant", pa.timestamp("us", "UTC"), lambda random, form: instants(random)),
    Leaf("nanos", pa.timestamp("ns", "UTC"), lambda random, form: instants(random).replace(year=2024)),
    Leaf("decimal", pa.decimal128(14, 4), lambda random, form: decimals(14, 4)(random)),
)


@dataclass(frozen=True, slots=True)
class Wrap:
    """What a leaf stands in."""

    name: str
    arrow: Callable[[pa.DataType], pa.DataType]
    around: Callable[[Any], Any]


def _struct(inner: pa.DataType) -> pa.DataType:
    return pa.struct([("m", inner)])


WRAPS = (
    Wrap("bare", lambda inner: inner, lambda value: value),
    Wrap("list", pa.list_, lambda value: [value, None, value]),
    Wrap("object", _struct, lambda value: {"m": value}),
    Wrap("list of lists", lambda inner: pa.list_(pa.list_(inner)), lambda value: [[value], []]),
    Wrap("list of objects", lambda inner: pa.list_(_struct(inner)), lambda value: [{"m": value}, {"m": None}]),
    Wrap("object of lists", lambda inner: _struct(pa.list_(inner)), lambda value: {"m": [value]}),
    Wrap("object of objects", lambda inner: _struct(_struct(inner)), lambda value: {"m": {"m": value}}),
)


@dataclass(frozen=True, slots=True)
class Mixture:
    """A column: the kind of its first values, and the kind of its last ones."""

    name: str
    first: tuple[Leaf, Wrap]
    last: tuple[Leaf, Wrap]

    @property
    def pure(self) -> bool:
        return self.first == self.last

    def __str__(self) -> str:
        return f"{self.name} ({self.first[0].name}, {self.first[1].name} + {self.last[0].name}, {self.last[1].name})"

    def values(self, random: Random, form: str, rows: int) -> list[Any]:
        """Half of the rows of each kind, one of each half NULL."""
        return [
            None if index % (rows // 2) == 1 else wrap.around(leaf.draw(random, form))
            for index in range(rows)
            for leaf, wrap in ((self.first, self.last)[index >= rows // 2],)
        ]


def mixtures() -> list[Mixture]:
    """Every pair of kinds in each wrap, and every kind bare beside a list, and beside an object, of its own."""
    found = [((one, wrap), (other, wrap)) for wrap in WRAPS for one, other in itertools.product(LEAVES, LEAVES)]
    found += [((leaf, WRAPS[0]), (leaf, wrap)) for leaf in LEAVES for wrap in WRAPS[1:]]
    found += [((leaf, WRAPS[1]), (leaf, WRAPS[2])) for leaf in LEAVES]
    return [Mixture(f"c{number}", first, last) for number, (first, last) in enumerate(found)]


# -- writing


Columns = dict[str, list[Any]]
Write = Callable[[Path, Sequence[Mixture], Columns], None]


@dataclass(frozen=True, slots=True)
class Form:
    """A way to write a table `t` below `data`. `draws`: for which kind of format values are drawn."""

    name: str
    draws: str
    write: Write
    source: str = "type: files\npath: data\n"
    holds: Callable[[Mixture], bool] = lambda mixture: True


def _halves(columns: Columns) -> Iterator[Columns]:
    half = len(next(iter(columns.values()))) // 2
    yield {name: values[:half] for name, values in columns.items()}
    yield {name: values[half:] for name, values in columns.items()}


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case dt.datetime():
            return value.isoformat(" ")
        case Decimal():
            return f"{value:f}"
        case list() | dict():
            return _json(value)
    return str(value)


def _json(value: Any) -> str:
    """JSON with every digit of a decimal, which Python's own writer has no way to write."""

    def plain(each: Any) -> str:
        return f"\x01{each:f}\x01" if isinstance(each, Decimal) else each.isoformat()

    return re.sub(r'"\\u0001(.*?)\\u0001"', r"\1", json.dumps(value, default=plain))


def _csv(path: Path, columns: Columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in zip(*columns.values(), strict=True))
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def _objects(path: Path, columns: Columns) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [_json(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    text = f"[{','.join(rows)}]" if path.name.endswith(".json") else "\n".join(rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def _parquet(folder: Path, mixtures: Sequence[Mixture], columns: Columns) -> None:
    (folder / "data/t").mkdir(parents=True)
    for number, half in enumerate(_halves(columns)):
        arrays: dict[str, Any] = {"id": pa.array(half["id"], pa.int64())}
        for each in mixtures:
            leaf, wrap = (each.first, each.last)[number]
            arrays[each.name] = pa.array(half[each.name], wrap.arrow(leaf.arrow))
        pq.write_table(pa.table(arrays), folder / f"data/t/{number}.parquet")


def _in_one(write: Callable[[Path, Columns], None], name: str) -> Write:
    return lambda folder, mixtures, columns: write(folder / "data" / name, columns)


def _in_two(write: Callable[[Path, Columns], None], first: str, last: str) -> Write:
    def both(folder: Path, mixtures: Sequence[Mixture], columns: Columns) -> None:
        for name, half in zip((first, last), _halves(columns), strict=True):
            write(folder / "data/t" / name, half)

    return both


def _sqlite(folder: Path, mixtures: Sequence[Mixture], columns: Columns) -> None:
    """Columns without a type, which hold anything."""
    connection = sqlite3.connect(folder / "data.db")
    connection.execute(f"CREATE TABLE t ({', '.join(columns)})")
    rows = zip(*columns.values(), strict=True)
    connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' * len(columns))})", rows)
    connection.commit()
    connection.close()


def _of_sqlite(mixture: Mixture) -> bool:
    held = {"int", "small", "float", "price", "text", "null"}
    return all(leaf.name in held and wrap is WRAPS[0] for leaf, wrap in (mixture.first, mixture.last))


FORMS = (
    Form("parquet, two files", "parquet", _parquet),
    Form("csv", "csv", _in_one(_csv, "t.csv")),
    Form("csv, two files", "csv", _in_two(_csv, "a.csv", "b.csv.gz")),
    Form("json lines", "json", _in_one(_objects, "t.jsonl")),
    Form("json array", "json", _in_one(_objects, "t.json")),
    Form("json, two files", "json", _in_two(_objects, "a.jsonl.gz", "b.json")),
    Form("sqlite", "sqlite", _sqlite, "type: sqlite\npath: data.db\n", _of_sqlite),
)


# -- what is the same


def same(wanted: Any, got: Any, form: str) -> bool:
    """Did what the writer meant arrive? In text, numbers and times may be written in any way that means the same."""
    if wanted is None or got is None:
        return wanted is None and got is None
    if form == "csv" and isinstance(got, str) and got == _cell(wanted):
        return True
    match wanted:
        case bool():
            return got is wanted or got == str(wanted).lower() or (type(got) is int and got == int(wanted))
        case int() | float() | Decimal():
            return same_number(wanted, got)
        case str():
            return type(got) is str and got == wanted
        case dt.datetime() | dt.date():
            return same_time(wanted, got)
    found = json.loads(got, parse_float=Decimal) if isinstance(got, str) else got
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and set(found) == set(wanted)
            and all(same(wanted[name], found[name], form) for name in wanted)
        )
    return (
        isinstance(found, list)
        and len(found) == len(wanted)
        and all(same(one, other, form) for one, other in zip(wanted, found, strict=True))
    )


def same_number(wanted: float | Decimal, got: Any) -> bool:
    """Equal to the last digit. A double is equal to any writing that stands for it and no other."""
    if isinstance(got, bool) or not isinstance(got, int | float | Decimal | str):
        return False
    if isinstance(got, str) and not re.fullmatch(r"-?\d+(\.\d+)?([eE][+-]?\d+)?", got):
        return False
    if isinstance(wanted, float):
        return float(got) == wanted and Decimal(repr(wanted)) == (
            Decimal(repr(got)) if isinstance(got, float) else Decimal(got)
        )
    return Decimal(repr(got)) == wanted if isinstance(got, float) else Decimal(got) == wanted


def same_time(wanted: dt.date, got: Any) -> bool:
    """The same day, or moment without a zone, or instant."""
    if isinstance(got, str):
        try:
            got = dt.datetime.fromisoformat(got) if len(got) > 10 else dt.date.fromisoformat(got)
        except ValueError:
            return False
    if isinstance(wanted, dt.datetime) and isinstance(got, dt.datetime):
        return (got.tzinfo is None) == (wanted.tzinfo is None) and got == wanted
    return type(got) is type(wanted) and bool(got == wanted)
