"""The kinds of values that a model can hold: how examples are drawn, and what counts as the same value.

`draw` gives values that every destination must hold; `odd` gives those that some cannot (NaN, U+0000, the year
10000, nanoseconds): they must arrive or be refused by their column's name. Nothing here is the engine's: what is
the same is decided from Python's own values and what an independent reader found.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from random import Random
from typing import Any
from uuid import UUID

import pyarrow as pa

UTC = dt.UTC
EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 -- the start of naive times
EXACT = Context(prec=100)

Draw = Callable[[Random], Any]
Same = Callable[[Any, Any], bool]


@dataclass(frozen=True, slots=True)
class Kind:
    """One column of the generated models. `duckdb`, `postgres`, `sqlite`: its declared type there; "" if it has none.

    `arrow` is None where Parquet has no such type. `texts`: may a CSV file hold it? `json`: a file of JSON lines?
    """

    name: str
    duckdb: str
    arrow: pa.DataType | None
    draw: Draw
    same: Same
    odd: Draw | None = None
    postgres: str = ""
    sqlite: str = ""
    csv: bool = False
    json: bool = False


# -- drawing


def choice(*values: Any) -> Draw:
    return lambda random: random.choice(values)


def either(*draws: Draw) -> Draw:
    return lambda random: random.choice(draws)(random)


def integers(low: int, high: int) -> Draw:
    """The ends, their neighbours, powers of two and ten, and anything between."""

    def draw(random: Random) -> int:
        found = random.choice(
            (
                low + random.randrange(3),
                high - random.randrange(3),
                random.choice((-1, 1)) * (2 ** random.randrange(1, 128) + random.randrange(-1, 2)),
                random.choice((-1, 1)) * 10 ** random.randrange(0, 38),
                random.randint(low, high),
                random.randrange(-5, 100),
            )
        )
        return found if low <= found <= high else random.randint(low, high)

    return draw


def decimals(digits: int, scale: int) -> Draw:
    whole = integers(-(10**digits - 1), 10**digits - 1)
    return lambda random: Decimal(whole(random)).scaleb(-scale, EXACT)


def doubles(random: Random) -> float:
    """Any finite bit pattern, numbers that only look round, the ends, subnormal ones, and −0.0."""
    match random.randrange(5):
        case 0:
            found: float = struct.unpack("<d", random.randbytes(8))[0]
            return found if math.isfinite(found) else 0.1 + 0.2
        case 1:
            return random.choice(
                (0.1 + 0.2, -0.0, 0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e23, 2.0**53 + 2)
            )
        case 2:
            return random.randint(-(10**9), 10**9) / 100
        case 3:
            return float(random.randint(-(2**60), 2**60))
        case _:
            return random.uniform(-1e6, 1e6)


def floats(random: Random) -> float:
    """Numbers of 32 bits."""
    found: float = struct.unpack("<f", random.randbytes(4))[0]
    # MySQL's float takes decimal digits, the smallest subnormal numbers included
    return found if math.isfinite(found) else 0.5


TRICKY = (
    "", " ", "  padded  ", "NULL", "null", "\\N", "\\", "''", '"', '""', "a,b;c|d\te", "1", "1.0", "true", "-1e5",
    "NaN", "\r\n", "a\rb", "a\nb", "\u2028\u2029", "\ufeffstart", "a\ufeffb", "\u200b",
    "\u202eevil", "\u2066x\u2069",
    "é", "e\u0301", "ﬁ", "\uff46\uff55\uff4c\uff4c", "ß", "ẞ", "İ", "\u0131", "Σς",
    "\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001f3f3\ufe0f\u200d\U0001f308", "\U0001d49c", "\U0010ffff", "\ufffd", "\ufffe", "\x01\x1f\x7f", "\x85\xa0",
    "=1+1", "+1", "-1", "@x", "\uff1d1", "{{a}}", "{id}", "%s %(x)s %%", "?1 :a $1 @a", "${HOME}",
    "'; DROP TABLE x; --", "\x1b[31m", "[1]", '{"a": 1}', "2024-02-29", "日本語テキスト", "العربية",
    "हिन्दी", "\u1100\u1161", "\uac00",
    "z" + "\u0300" * 40,
)  # fmt: skip
RANGES = (
    (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x6FF), (0x4E00, 0x9FFF), (0xE000, 0xF8FF),
    (0x1F300, 0x1FAFF), (0x20000, 0x2FFFF), (1, 0x1F), (0x2000, 0x206F), (0xFE00, 0xFFFF), (0x10FF00, 0x10FFFF),
)  # fmt: skip


def texts(random: Random) -> str:
    if random.randrange(3) == 0:
        return "".join(random.choice(TRICKY) for _ in range(random.randrange(1, 3)))
    low, high = random.choice(RANGES)
    return "".join(chr(random.randint(low, high)) for _ in range(random.randrange(40)))


def nul_texts(random: Random) -> str:
    return texts(random) + "\0" + texts(random)


def blobs(random: Random) -> bytes:
    return random.choice((b"", b"\0", b"\\x00", b"'\"\r\n", bytes(range(256)), random.randbytes(random.randrange(64))))


DAYS = (dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.date(1582, 10, 4), dt.date(1582, 10, 15), dt.date(1900, 2, 28))


def days(random: Random) -> dt.date:
    if random.randrange(3):
        return dt.date.fromordinal(random.randint(1, dt.date.max.toordinal()))
    return random.choice((*DAYS, dt.date(2024, 2, 29), dt.date(1969, 12, 31), dt.date(1752, 9, 3), dt.date(999, 1, 1)))


def clocks(random: Random) -> dt.time:
    return random.choice(
        (
            dt.time(0, 0),
            dt.time(23, 59, 59, 999_999),
            dt.time(random.randrange(24), random.randrange(60), random.randrange(60)),
            dt.time(random.randrange(24), random.randrange(60), random.randrange(60), random.randrange(1_000_000)),
        )
    )


def moments(step: int = 1, first: int = 1) -> Draw:
    """Naive times in whole multiples of `step` microseconds, from the year `first` to 9999."""

    def draw(random: Random) -> dt.datetime:
        day = days(random)
        day = day.replace(year=max(day.year, first), day=min(day.day, 28)) if day.year < first else day
        found = dt.datetime.combine(day, clocks(random))
        return found.replace(microsecond=found.microsecond // step * step)

    return draw


def instants(random: Random) -> dt.datetime:
    """Any moment of the years 2 to 9998, and those at which clocks are turned."""
    if random.randrange(4) == 0:
        turned = random.choice(
            ("2024-03-31T01:00:00", "2024-10-27T01:00:00", "2024-03-10T07:00:00", "2038-01-19T03:14:08")
        )
        return dt.datetime.fromisoformat(turned).replace(tzinfo=UTC) + dt.timedelta(
            microseconds=random.randrange(-1, 2)
        )
    naive: dt.datetime = moments(first=2)(random)
    return naive.replace(year=min(naive.year, 9998), day=min(naive.day, 28), tzinfo=UTC)


def nanos(random: Random) -> int:
    """Nanoseconds since 1970 within DuckDB's range, whole microseconds."""
    return random.randint(-(2**62), 2**62) // 1_000 * 1_000


def spans(random: Random) -> tuple[int, int, int]:
    """Months, days and microseconds."""
    return (
        random.choice((0, 1, -1, 14, random.randint(-1000, 1000))),
        random.choice((0, 31, random.randint(-9999, 9999))),
        random.choice((0, 1, -1, 4_500_000, 86_400_000_000, random.randint(-(10**12), 10**12))),
    )


def lists(inner: Draw) -> Draw:
    return lambda random: [None if random.randrange(6) == 0 else inner(random) for _ in range(random.randrange(4))]


def records(**members: Draw) -> Draw:
    def draw(random: Random) -> dict[str, Any]:
        return {name: None if random.randrange(6) == 0 else inner(random) for name, inner in members.items()}

    return draw


def maps(random: Random) -> list[tuple[str, int]]:
    keys = {texts(random) for _ in range(random.randrange(3))}
    return [(key, integers(-(2**63), 2**63 - 1)(random)) for key in sorted(keys)]


def documents(random: Random) -> str:
    """JSON as text, numbers of many digits among it."""

    def node(depth: int) -> Any:
        kind = random.randrange(8 if depth else 6)
        match kind:
            case 0:
                return random.choice((None, True, False))
            case 1:
                return integers(-(10**38), 10**38)(random)
            case 2:
                return random.choice((0.1, 1e-7, 12345678.25, -0.5))
            case 6:
                return [node(depth - 1) for _ in range(random.randrange(3))]
            case 7:
                return {texts(random): node(depth - 1) for _ in range(random.randrange(3))}
            case _:
                return texts(random)

    return json.dumps(node(3), ensure_ascii=random.random() < 0.3)


# -- what is the same


def same_bool(wanted: Any, got: Any) -> bool:
    return got is wanted or (type(got) is int and got in (0, 1) and bool(got) is wanted)


def number(got: Any) -> Decimal | None:
    """An exact number: an integer, a decimal, or the digits of one. Floating point is none."""
    if isinstance(got, bool) or not isinstance(got, int | str | Decimal):
        return None
    if isinstance(got, str) and not re.fullmatch(r"-?\d+(\.\d+)?", got):
        return None
    return Decimal(got)


def same_number(wanted: Any, got: Any) -> bool:
    found = number(got)
    return found is not None and (found == wanted or (Decimal(found).is_nan() and Decimal(wanted).is_nan()))


def same_double(wanted: float, got: Any) -> bool:
    """Equal to the last bit; NaN is NaN; −0.0 and 0 are one by declaration."""
    if isinstance(got, str) and got in ("NaN", "nan", "inf", "-inf", "Infinity", "-Infinity"):
        got = float(got)
    if isinstance(got, bool) or not isinstance(got, float | int | Decimal | str):
        return False
    try:
        found = float(got)
    except ValueError:
        return False
    return found == wanted or (math.isnan(found) and math.isnan(wanted))


def same_float(wanted: float, got: Any) -> bool:
    """Equal as numbers of 32 bits."""
    if isinstance(got, float | int | Decimal | str) and not isinstance(got, bool):
        try:
            return struct.unpack("<f", struct.pack("<f", float(got)))[0] == wanted or same_double(wanted, got)
        except (OverflowError, ValueError):
            return False
    return False


def same_text(wanted: str, got: Any) -> bool:
    return type(got) is str and got == wanted


def same_bytes(wanted: bytes, got: Any) -> bool:
    """Bytes, or their base64 where only text travels."""
    if isinstance(got, str):
        return base64.b64decode(got, validate=True) == wanted
    return isinstance(got, bytes | bytearray | memoryview) and bytes(got) == wanted


def same_day(wanted: dt.date, got: Any) -> bool:
    return type(got) is dt.date and got == wanted if not isinstance(got, str) else got == wanted.isoformat()


def same_clock(wanted: dt.time, got: Any) -> bool:
    if isinstance(got, dt.timedelta):
        return (EPOCH + got).time() == wanted and dt.timedelta(0) <= got < dt.timedelta(days=1)
    return (dt.time.fromisoformat(got) if isinstance(got, str) else got) == wanted


def naive(got: Any) -> dt.datetime | None:
    """A time without a zone; None for anything else."""
    if isinstance(got, str) and re.fullmatch(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6}(0{3})?)?", got):
        got = dt.datetime.fromisoformat(got)
    return got if isinstance(got, dt.datetime) and got.tzinfo is None else None


def same_moment(wanted: dt.datetime, got: Any) -> bool:
    return naive(got) == wanted


def same_instant(wanted: dt.datetime, got: Any) -> bool:
    if isinstance(got, str):
        got = dt.datetime.fromisoformat(got)
    return isinstance(got, dt.datetime) and got.tzinfo is not None and got == wanted


def same_nanos(wanted: int, got: Any) -> bool:
    """`got`: a time, or text with up to nine decimals."""
    if isinstance(got, int):
        return got == wanted
    if isinstance(got, str):
        whole, _, fraction = got.partition(".")
        seconds = (dt.datetime.fromisoformat(whole) - EPOCH) // dt.timedelta(seconds=1)
        return seconds * 10**9 + int(fraction.ljust(9, "0") or 0) == wanted
    moment = naive(got)
    return moment is not None and (moment - EPOCH) // dt.timedelta(microseconds=1) * 1_000 == wanted


def same_uuid(wanted: UUID, got: Any) -> bool:
    return str(got) == str(wanted)


def same_span(wanted: tuple[int, int, int], got: Any) -> bool:
    """DuckDB's text of an interval: `1 year 2 months 3 days 00:00:04.5`."""
    if not isinstance(got, str):
        return False
    parts = {unit: int(count) for count, unit in re.findall(r"(-?\d+) (year|month|day)s?", got)}
    months = parts.get("year", 0) * 12 + parts.get("month", 0)
    clock = re.search(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?$", got)
    micros = 0
    if clock:
        seconds = int(clock[2]) * 3600 + int(clock[3]) * 60 + int(clock[4])
        micros = seconds * 1_000_000 + int((clock[5] or "").ljust(6, "0"))
    return (months, parts.get("day", 0), -micros if clock and clock[1] else micros) == wanted


def parsed(got: Any) -> Any:
    """JSON text as Python's values, every number exact."""
    return json.loads(got, parse_float=Decimal) if isinstance(got, str) else got


def same_list(inner: Same) -> Same:
    def same(wanted: Sequence[Any], got: Any) -> bool:
        found = parsed(got)
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(
                (a is None) == (b is None) and (a is None or inner(a, b)) for a, b in zip(wanted, found, strict=True)
            )
        )

    return same


def same_record(**members: Same) -> Same:
    def same(wanted: dict[str, Any], got: Any) -> bool:
        found = parsed(got)
        return (
            isinstance(found, dict)
            and set(found) == set(wanted)
            and all(
                (wanted[name] is None) == (found[name] is None)
                and (wanted[name] is None or inner(wanted[name], found[name]))
                for name, inner in members.items()
            )
        )

    return same


def same_map(wanted: list[tuple[str, int]], got: Any) -> bool:
    found = parsed(got)
    pairs = list(found.items()) if isinstance(found, dict) else found
    return sorted((str(k), v) for k, v in pairs) == sorted(wanted)


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value that arrived as such, and not as text."""

    value: Any


def same_document(wanted: str, got: Any) -> bool:
    """Equal as JSON, to the last digit."""
    found = got.value if isinstance(got, Document) else json.loads(got, parse_float=Decimal)
    return bool(_told(json.loads(wanted, parse_float=Decimal)) == _told(found))


def _told(node: Any) -> Any:
    """A JSON value that equals only itself: to Python True is 1."""
    match node:
        case bool() | None:
            return repr(node)
        case int() | Decimal():
            return ("number", Decimal(node))
        case list():
            return ["list", *map(_told, node)]
        case dict():
            return {name: _told(value) for name, value in node.items()}
        case _:
            return ("text", node)


NONFINITE = choice(math.nan, math.inf, -math.inf)
INT64 = integers(-(2**63), 2**63 - 1)
MOODS = ("sad", "ok", "it's", "happy, 'so' \"so\"", "é", "")
ENUM = "ENUM(" + ", ".join("'" + mood.replace("'", "''") + "'" for mood in MOODS) + ")"
ADDRESS = pa.struct([("city", pa.string()), ("zip", pa.int64()), ("at", pa.list_(pa.float64()))])

KINDS: tuple[Kind, ...] = (
    Kind("flag", "BOOLEAN", pa.bool_(), choice(True, False), same_bool, None, "boolean", "BOOLEAN", True, True),
    Kind("tiny", "TINYINT", pa.int8(), integers(-128, 127), same_number),
    Kind("small", "SMALLINT", pa.int16(), integers(-(2**15), 2**15 - 1), same_number, None, "smallint"),
    Kind("int32", "INTEGER", pa.int32(), integers(-(2**31), 2**31 - 1), same_number, None, "integer"),
    Kind("int64", "BIGINT", pa.int64(), INT64, same_number, None, "bigint", "INTEGER", True, True),
    Kind("uint32", "UINTEGER", pa.uint32(), integers(0, 2**32 - 1), same_number),
    Kind("uint64", "UBIGINT", pa.uint64(), integers(0, 2**64 - 1), same_number),
    Kind("huge", "HUGEINT", None, integers(-(10**38) + 1, 10**38 - 1), same_number,
         choice(10**38, -(10**38), 2**127 - 1, -(2**127) + 1), json=True),
    Kind("whole", "DECIMAL(38,0)", pa.decimal128(38, 0), decimals(38, 0), same_number, None, "numeric(38,0)"),
    Kind("money", "DECIMAL(12,2)", pa.decimal128(12, 2), decimals(12, 2), same_number, None, "numeric(12,2)",
         "DECIMAL(12,2)", True),
    Kind("precise", "DECIMAL(38,18)", pa.decimal128(38, 18), decimals(38, 18), same_number, None, "numeric(38,18)"),
    Kind("tiny_part", "DECIMAL(30,30)", pa.decimal128(30, 30), decimals(30, 30), same_number),
    Kind("free", "", None, decimals(30, 12), same_number,
         choice(Decimal("NaN"), Decimal("Infinity"), Decimal(10) ** 60, Decimal(1).scaleb(-40)), "numeric"),
    Kind("real", "FLOAT", pa.float32(), floats, same_float, NONFINITE, "real"),
    Kind("double", "DOUBLE", pa.float64(), doubles, same_double, NONFINITE, "double precision", "REAL"),
    Kind("words", "VARCHAR", pa.string(), texts, same_text, nul_texts, "text", "TEXT", True, True),
    Kind("bytes", "BLOB", pa.binary(), blobs, same_bytes, None, "bytea", "BLOB"),
    Kind("day", "DATE", pa.date32(), days, same_day, None, "date", "DATE", True),
    Kind("clock", "TIME", pa.time64("us"), clocks, same_clock, None, "time", "TIME", True),
    Kind("moment", "TIMESTAMP", pa.timestamp("us"), moments(), same_moment, None, "timestamp", "TIMESTAMP", True),
    Kind("seconds", "TIMESTAMP_S", pa.timestamp("s"), moments(1_000_000), same_moment),
    Kind("millis", "TIMESTAMP_MS", pa.timestamp("ms"), moments(1_000), same_moment),
    Kind("nanos", "TIMESTAMP_NS", pa.timestamp("ns"), nanos, same_nanos, lambda random: nanos(random) + 1),
    Kind("instant", "TIMESTAMPTZ", pa.timestamp("us", "UTC"), instants, same_instant, None, "timestamptz",
         "TIMESTAMPTZ", True),
    Kind("code", "UUID", None, lambda random: UUID(int=random.getrandbits(128)), same_uuid, None, "uuid", "UUID"),
    Kind("mood", ENUM, pa.string(), choice(*MOODS), same_text),
    Kind("span", "INTERVAL", None, spans, same_span),
    Kind("document", "JSON", None, documents, same_document, lambda random: json.dumps([nul_texts(random)]), "jsonb"),
    Kind("ids", "BIGINT[]", pa.list_(pa.int64()), lists(INT64), same_list(same_number), None, "bigint[]", json=True),
    Kind("tags", "VARCHAR[]", pa.list_(pa.string()), lists(texts), same_list(same_text), lists(nul_texts), "text[]",
         json=True),
    Kind("prices", "DECIMAL(20,6)[]", pa.list_(pa.decimal128(20, 6)), lists(decimals(20, 6)), same_list(same_number)),
    Kind("stays", "TIMESTAMPTZ[]", pa.list_(pa.timestamp("us", "UTC")), lists(instants), same_list(same_instant)),
    Kind("address", "STRUCT(city VARCHAR, zip BIGINT, \"at\" DOUBLE[])", ADDRESS,
         records(city=texts, zip=INT64, at=lists(doubles)),
         same_record(city=same_text, zip=same_number, at=same_list(same_double)),
         records(city=nul_texts, zip=INT64, at=lists(NONFINITE))),
    Kind("counts", "MAP(VARCHAR, BIGINT)", pa.map_(pa.string(), pa.int64()), maps, same_map),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Row:
    """A generated row: its values by kind, and the one kind whose value is odd."""

    id: int
    values: dict[str, Any]
    odd: str | None = None


def rows_of(kinds: Sequence[Kind], count: int, seed: int, plain: Sequence[str] = ()) -> list[Row]:
    """Rows of the kinds: a tenth of the values NULL, and in every fourth one odd value, never of a kind in `plain`."""
    random = Random(seed)
    strange = [kind for kind in kinds if kind.odd is not None and kind.name not in plain]
    found = []
    for index in range(count):
        values = {kind.name: None if random.randrange(10) == 0 else kind.draw(random) for kind in kinds}
        odd = None
        if strange and index % 4 == 3:
            kind = strange[index // 4 % len(strange)]
            assert kind.odd is not None
            odd, values[kind.name] = kind.name, kind.odd(random)
        found.append(Row(index + 1, values, odd))
    return found
