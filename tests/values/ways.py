"""Every way in which values leave, and what arrived by it: the same small model, sent by one `levada run`.

A `Way` is a sync and an independent reader of what came of it, as text and JSON say it: `{column: value}`, where
numbers are exact and times are the text that arrived. Nothing here is the engine's.
"""

from __future__ import annotations

import base64
import csv
import datetime as dt
import io
import json
import re
import sqlite3
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb
import psycopg

from levada_process import write
from values.witnesses import Addresses, cells, mysql_connection

Told = dict[str, Any]

PLAIN: dict[str, tuple[str, Any]] = {
    "seen": ("timestamptz '2024-03-01 07:02:23+00'", "2024-03-01T07:02:23Z"),
    "half": ("timestamptz '2024-03-10 08:30:00.5+01:30'", "2024-03-10T07:00:00.5Z"),
    "naive": ("timestamp '2024-03-31 02:30:00'", "2024-03-31T02:30:00"),
    "second": ("'2024-10-27 01:30:00'::timestamp_s", "2024-10-27T01:30:00"),
    "milli": ("'2024-10-27 01:30:00.25'::timestamp_ms", "2024-10-27T01:30:00.25"),
    "day": ("date '2024-02-29'", "2024-02-29"),
    "clock": ("time '10:20:30.5'", "10:20:30.5"),
    "real": ("0.1::float", Decimal("0.1")),
    "height": ("11.4::float", Decimal("11.4")),
    "vast": ("3.4e38::float", Decimal("3.4e38")),
    "ratio": ("0.30000000000000004::double", Decimal("0.30000000000000004")),
    "money": ("1.50::decimal(12,2)", Decimal("1.50")),
    "precise": ("12345678901234567.000000000000000000001::decimal(38,21)",
                Decimal("12345678901234567.000000000000000000001")),
    "huge": ("12345678901234567890123456789012345678::hugeint", Decimal("12345678901234567890123456789012345678")),
    "long": ("9007199254740993::bigint", Decimal("9007199254740993")),
    "code": ("uuid '00000000-0000-0000-0000-00000000000a'", "00000000-0000-0000-0000-00000000000a"),
    "mood": ("'it''s'::enum('it''s', 'sad')", "it's"),
    "span": ("interval '14 months 3 days'", "1 year 2 months 3 days"),
    "zoned": ("timetz '12:00:00+02'", "12:00:00+02"),
}  # fmt: skip
"""Values alone: SQL of DuckDB, and what is to arrive: text, or a number with just these digits."""
SHAPES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "l": ("[{}, NULL]", lambda value: [value, None]),
    "d": ("[[{{'m': [{}]}}]]", lambda value: [[{"m": [value]}]]),
    "k": ("map {{'k': {{'m': {}}}}}", lambda value: {"k": {"m": value}}),
}
"""What a value is put into: a list, a list of lists of structs of lists, a struct in a map."""
TIMES = ("seen", "half", "naive", "milli", "day", "clock")
REALS = ("real", "height", "vast")
WANTED: Told = {name: value for name, (_, value) in PLAIN.items()} | {
    f"{shape}_{name}": around(value) for shape, (_, around) in SHAPES.items() for name, (_, value) in PLAIN.items()
}
WANTED["by_seen"] = {"2024-03-01T07:02:23Z": Decimal(1)}


@dataclass(frozen=True, slots=True)
class Way:
    """`read`: what arrived, in a project's folder or at a server. `mapped`: where the fields come from, as YAML around
    a column's name. `holds`: the shapes that it has a form for; "" is a value alone. `typed`: does it keep times and
    reals in columns of its own, whose text is not ours?"""

    name: str
    to: str
    read: Callable[[Path, Addresses], Told]
    mode: str = "upsert"
    mapped: str = "{0}"
    holds: tuple[str, ...] = ("", *SHAPES)
    typed: bool = False

    def columns(self, values: Sequence[str]) -> list[str]:
        """The columns of the model that it sends, for these values of PLAIN."""
        names = [f"{shape}_{name}" if shape else name for shape in self.holds for name in values]
        return [*names, *(["by_seen"] if "seen" in values and "k" in self.holds else [])]


def same(way: Way, column: str, told: Any) -> bool:
    """Is it what was meant? Numbers by their digits; where columns are typed, times and reals by their value."""
    return _same(WANTED[column], told, way.typed, column.split("_")[-1] in REALS)


def _same(wanted: Any, told: Any, typed: bool, real: bool) -> bool:
    match wanted:
        case dict():
            return (
                isinstance(told, dict)
                and set(told) == set(wanted)
                and all(_same(value, told[name], typed, real) for name, value in wanted.items())
            )
        case list():
            return (
                isinstance(told, list)
                and len(told) == len(wanted)
                and all(_same(value, each, typed, real) for value, each in zip(wanted, told, strict=True))
            )
        case Decimal():
            try:
                found = Decimal(told)
            except (ArithmeticError, TypeError, ValueError):
                return False
            return found == wanted or (typed and real and _bits(found) == _bits(wanted))
        case str() if typed and isinstance(told, str) and re.match(r"\d{4}-|\d\d:", wanted):
            # MySQL's datetime has no zone: it holds UTC
            iso = re.sub(r"(\.\d*?)0+(?=Z?$)", r"\1", told.replace(" ", "T").replace("+00:00", "Z")).replace(".Z", "Z")
            return iso.rstrip(".") in (wanted, wanted.removesuffix("Z"))
        case _:
            return bool(told == wanted) and type(told) is type(wanted)


def _bits(number: Decimal) -> bytes:
    return struct.pack("<f", float(number))


def fill(folder: Path, values: Sequence[str]) -> None:
    """The model, in a DuckDB file; and a table of texts."""
    parts = [f"{PLAIN[name][0]} AS {name}" for name in values]
    parts += [
        f"{around.format(PLAIN[name][0])} AS {shape}_{name}" for shape, (around, _) in SHAPES.items() for name in values
    ]
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        parts.append("map {timestamptz '2024-03-01 07:02:23+00': 1::decimal(2,0)} AS by_seen")
        connection.execute(f"CREATE OR REPLACE TABLE model AS SELECT 1 AS id, 1 AS n, {', '.join(parts)}")
    with sqlite3.connect(folder / "texts.sqlite") as texts:
        columns = ", ".join(f"{name} TEXT" for name in ["n", *WAYS["text-fields"].columns(values)])
        texts.execute(f"CREATE TABLE texts (id INTEGER PRIMARY KEY, {columns})")


def touch(folder: Path) -> None:
    """Change the row, but for the values that are looked at."""
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("UPDATE model SET n = 2")


PYTHON = """
import json
from levada import destination
from levada.template import json_bytes

@destination(records_per_request=10, verbs=("upsert",))
def records(batch):
    open("records.json", "wb").write(json_bytes(batch.records))

@destination(records_per_request=10, verbs=("upsert",))
def table(batch):
    open("table.csv", "wb").write(batch.as_csv())
"""
OBJECTS = """type: http
base_url: {tape}
auth: none
limits: {{records_per_request: 10}}
objects:
  array: {{upsert: POST /array}}
  object: {{match: id, upsert: "PUT /object/{{id}}"}}
  lines: {{upsert: {{send: POST /lines, encoding: json_lines}}}}
  csv: {{upsert: {{send: POST /csv, encoding: csv}}}}
  form: {{upsert: {{send: POST /form, encoding: form}}}}
  address: {{match: id, upsert: {{send: "PUT /address/{{{first}}}/{{l_{first}}}", query: {{{query}}}}}}}
  text: {{upsert: {{send: POST /text, record: {{{text}}}}}}}
  before: {{upsert: {{send: POST /before, record: {{now: "{{fields_all}}", was: "{{before}}"}}}}}}
  template: {{upsert: POST /template}}
  transform: {{upsert: POST /transform}}
  expression: {{upsert: POST /expression}}
  inside: {{upsert: POST /inside}}
"""
TEMPLATE = '{{template: "{{{{ {0} }}}}"}}'
TEMPLATE_INSIDE = '{{template: "{{{{ {0}[0][0].m[0] }}}}"}}'


def lay_out(folder: Path, addresses: Addresses, values: Sequence[str]) -> None:
    """A project with a sync for each way."""
    query = ", ".join(f'{name}: "{{{name}}}"' for name in WAYS["http-address"].columns(values))
    text = ", ".join(f'{name}: "<{{{name}}}>"' for name in ["id", "n", *WAYS["http-text"].columns(values)])
    places = {"postgres": addresses.postgres, "mysql": addresses.mysql, "tape": addresses.tape.url}
    made = "create_tables: true\n"
    files = {
        "levada.yml": "name: ways\n",
        "sources/warehouse.yml": "type: duckdb\npath: warehouse.duckdb\n",
        "models/values.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from model\n",
        "connectors/functions.py": PYTHON,
        "destinations/http.yml": OBJECTS.format(query=query, text=text, first=values[0], **places),
        "destinations/hook.yml": "type: webhook\nurl: {tape}/hook\nsecret: s3cret\n".format(**places),
        "destinations/pg.yml": "type: postgres\nurl: {postgres}\n".format(**places) + made,
        "destinations/my.yml": "type: mysql\nurl: {mysql}\n".format(**places) + made,
        "destinations/lite.yml": "type: sqlite\npath: arrived.sqlite\n" + made,
        "destinations/texts.yml": "type: sqlite\npath: texts.sqlite\n",
        "destinations/duck.yml": "type: duckdb\npath: arrived.duckdb\n" + made,
    }
    for form in ("csv", "jsonl", "parquet"):
        files[f"destinations/{form}.yml"] = f"type: files\npath: out\nformat: {form}\n"
    for name in ("records", "table"):
        files[f"destinations/{name}.yml"] = f"type: python\nfunction: connectors/functions.py:{name}\n"
    for way in WAYS.values():
        mapped = "".join(f"  {name}: {way.mapped.format(name)}\n" for name in way.columns(values))
        files[f"syncs/{way.name}.yml"] = (
            f"model: values\nto: {way.to}\nmode: {way.mode}\nfields:\n  id: id\n  n: n\n{mapped}"
        )
    write(folder, files)
    fill(folder, values)


# -- readers


def exact(text: str | bytes) -> Any:
    """JSON with every number exact."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def body(addresses: Addresses, path: str) -> tuple[str, bytes]:
    """The last request whose path begins so."""
    return next(each for each in reversed(addresses.tape.bodies) if each[0].startswith(path))


def _json(path: str) -> Callable[[Path, Addresses], Told]:
    def read(folder: Path, addresses: Addresses) -> Told:
        found = exact(body(addresses, path)[1])
        return dict(found[0] if isinstance(found, list) else found)

    return read


def _hook(folder: Path, addresses: Addresses) -> Told:
    found = exact(body(addresses, "/hook")[1])
    return dict((found[0] if isinstance(found, list) else found)["data"])


def _address(folder: Path, addresses: Addresses) -> Told:
    address = urlsplit(body(addresses, "/address/")[0])
    found = dict(parse_qsl(address.query, keep_blank_values=True))
    first = next(iter(found))
    _, _, *path = (unquote(part) for part in address.path.split("/"))
    assert path == [found[first], found[f"l_{first}"]]
    return {name: exact(text) if name.startswith("l_") else text for name, text in found.items()}


def _text(folder: Path, addresses: Addresses) -> Told:
    found = {name: text[1:-1] for name, text in exact(body(addresses, "/text")[1])[0].items()}
    return {name: text if name in PLAIN else exact(text) for name, text in found.items()}


def _of_csv(text: str) -> Told:
    """A CSV of one record. Members of structs are columns of their own (`a.b`), or JSON."""
    (head, row), found = list(csv.reader(io.StringIO(text))), dict[str, Any]()
    for name, cell in zip(head, row, strict=True):
        *path, last = name.split(".")
        place = found
        for step in path:
            place = place.setdefault(step, {})
        place[last] = exact(cell) if cell[:1] in ("[", "{") else cell
    return found


def _form(folder: Path, addresses: Addresses) -> Told:
    found: Told = {}
    for name, text in parse_qsl(body(addresses, "/form")[1].decode(), keep_blank_values=True):
        steps = re.findall(r"^[^\[]+|\[([^\]]*)\]", name)
        path = [name.split("[")[0], *steps[1:]]
        place: Any = found
        for step, following in zip(path, [*path[1:], None], strict=True):
            key: Any = int(step) if isinstance(place, list) else step
            if isinstance(place, list) and key == len(place):
                place.append(None)
            if following is None:
                place[key] = text or None
            else:
                made: Any = [] if following.isdigit() else {}
                held = place[key] if isinstance(place, list) else place.get(key)
                place[key] = made if held is None else held
                place = place[key]
    return found


def _inside(folder: Path, addresses: Addresses) -> Told:
    """A template that takes the value out of its lists and structs: it is put back, to be compared."""
    found = exact(body(addresses, "/inside")[1])[0]
    return {name: SHAPES["d"][1](value) if name.startswith("d_") else value for name, value in found.items()}


def _only(folder: Path, form: str) -> Path:
    (file,) = (folder / "out" / form).iterdir()
    return file


def _csv_file(folder: Path, addresses: Addresses) -> Told:
    head, row = cells(_only(folder, "csv").read_text(encoding="utf-8"))
    pairs = zip(head, row, strict=True)
    return {str(name): exact(cell) if cell and cell[0] in "[{" else cell for name, cell in pairs}


def _jsonl_file(folder: Path, addresses: Addresses) -> Told:
    return dict(exact(_only(folder, "jsonl").read_text(encoding="utf-8")))


def _parquet_file(folder: Path, addresses: Addresses) -> Told:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return _of_duckdb(connection, f"read_parquet('{_only(folder, 'parquet')}')")


def _duckdb(folder: Path, addresses: Addresses) -> Told:
    with duckdb.connect(str(folder / "arrived.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        return _of_duckdb(connection, '"values"')


def _of_duckdb(connection: duckdb.DuckDBPyConnection, table: str) -> Told:
    (row,) = connection.sql(f"SELECT * FROM {table}").to_arrow_table().to_pylist()
    return {name: plain(value) for name, value in row.items()}


def _postgres(folder: Path, addresses: Addresses) -> Told:
    with psycopg.connect(addresses.postgres) as connection:
        names: dict[str, str] = dict(
            connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'values'"
            ).fetchall()
        )
        shown = ", ".join(f'"{name}"::text' if kind == "jsonb" else f'"{name}"' for name, kind in names.items())
        (row,) = connection.execute(f'SELECT {shown} FROM "values"'.encode()).fetchall()
    return {name: plain(value) for name, value in zip(names, row, strict=True)}


def _mysql(folder: Path, addresses: Addresses) -> Told:
    with mysql_connection(addresses.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM `values`")
        assert cursor.description is not None
        (row,) = cursor.fetchall()
        names = [column[0] for column in cursor.description]
    return {name: plain(value) for name, value in zip(names, row, strict=True)}


def _sqlite(file: str, table: str) -> Callable[[Path, Addresses], Told]:
    def read(folder: Path, addresses: Addresses) -> Told:
        connection = sqlite3.connect(folder / file)
        connection.row_factory = sqlite3.Row
        try:
            row = connection.execute(f'SELECT * FROM "{table}"').fetchone()
            return {name: plain(row[name]) for name in row.keys()}  # noqa: SIM118 - a Row's own
        finally:
            connection.close()

    return read


def plain(value: Any) -> Any:
    """A value of a driver as JSON has it: times in ISO 8601, numbers by their digits, JSON read."""
    match value:
        case bool() | None:
            return value
        case dt.datetime():
            zone = "" if value.tzinfo is None else "Z"
            naive = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
            return _trimmed(naive.isoformat()) + zone
        case dt.time():
            return _trimmed(value.isoformat())
        case dt.timedelta():
            return _trimmed((dt.datetime(2000, 1, 1) + value).time().isoformat())  # noqa: DTZ001 - a clock
        case dt.date():
            return value.isoformat()
        case float():
            return Decimal(repr(value))
        case int():
            return Decimal(value)
        case bytes():
            return base64.b64encode(value).decode()
        case str() if value[:1] in ("[", "{"):
            return exact(value)
        case list() if value and isinstance(value[0], tuple):
            return {plain(key): plain(each) for key, each in value}
        case list():
            return [plain(each) for each in value]
        case dict():
            return {plain(key): plain(each) for key, each in value.items()}
        case Decimal() | str():
            return value
        case _:
            return str(value)


def _trimmed(text: str) -> str:
    return text.rstrip("0") if "." in text else text


WAYS: dict[str, Way] = {
    way.name: way
    for way in (
        Way("postgres", "pg.values", _postgres, typed=True),
        Way("mysql", "my.values", _mysql, typed=True),
        Way("sqlite", "lite.values", _sqlite("arrived.sqlite", "values"), typed=True),
        Way("duckdb", "duck.values", _duckdb, typed=True),
        Way("csv", "csv.csv", _csv_file, "append", typed=True),
        Way("jsonl", "jsonl.jsonl", _jsonl_file, "append"),
        Way("parquet", "parquet.parquet", _parquet_file, "append", typed=True),
        Way("http-array", "http.array", _json("/array")),
        Way("http-object", "http.object", _json("/object/")),
        Way("http-json-lines", "http.lines", _json("/lines")),
        Way("http-csv", "http.csv", lambda _, a: _of_csv(body(a, "/csv")[1].decode())),
        Way("http-form", "http.form", _form),
        Way("http-address", "http.address", _address, holds=("", "l")),
        Way("http-text", "http.text", _text),
        Way("http-before", "http.before", lambda _, a: dict(exact(body(a, "/before")[1])[0]["was"])),
        Way("webhook", "hook.values", _hook),
        Way("python-records", "records.values", lambda f, _: dict(exact((f / "records.json").read_bytes())[0])),
        Way("python-csv", "table.values", lambda f, _: _of_csv((f / "table.csv").read_text("utf-8")), typed=True),
        Way("text-fields", "texts.texts", _sqlite("texts.sqlite", "texts")),
        Way("template", "http.template", _json("/template"), mapped=TEMPLATE, holds=("",)),
        Way("template-inside", "http.inside", _inside, mapped=TEMPLATE_INSIDE, holds=("d",)),
        Way("transform", "http.transform", _json("/transform"), mapped="{{column: {0}, apply: [trim]}}", holds=("",)),
        Way("expression", "http.expression", _json("/expression"), mapped='{{sql: "coalesce({0}, {0})"}}'),
    )
}
"""Every way, by its name on the page of guarantees."""
