"""Real destinations, and independent readers of what arrived in each: drivers, pyarrow, and Python's own JSON.

A witness says what a destination holds as `{id: {column: value}}`; the values are as the reader gives them, every
number of JSON exact. Nothing here is the engine's.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import psycopg
import pyarrow.parquet as pq
import pymysql

from values.kinds import Document, Kind

Held = dict[int, dict[str, Any]]


@dataclass
class Tape:
    """What an HTTP server was sent: the bodies as they came, by path."""

    url: str = ""
    bodies: list[tuple[str, bytes]] = field(default_factory=list)


@contextmanager
def tape() -> Iterator[Tape]:
    """A server on a free port that accepts everything and keeps it."""
    found = Tape()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_PUT = do_POST  # noqa: N815 - the base class's names

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of a test are."""

    postgres: str
    mysql: str
    tape: Tape


@dataclass(frozen=True, slots=True)
class Witness:
    """A destination. `refuses`: the kinds that it takes no column of, which is said before anything is sent."""

    name: str
    declaration: str
    read: Callable[[Path, Addresses, str, Sequence[Kind]], Held]
    refuses: frozenset[str] = frozenset()
    mode: str = "mirror"

    def takes(self, kind: Kind) -> bool:
        return kind.name not in self.refuses


def _by_id(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Held:
    found: Held = {}
    for row in rows:
        values = dict(zip(names, row, strict=True))
        assert values["id"] not in found, f"{values['id']} is there twice"
        found[values["id"]] = values
    return found


def _names(kinds: Sequence[Kind]) -> list[str]:
    return ["id", *(kind.name for kind in kinds)]


def read_postgres(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    with psycopg.connect(addresses.postgres) as connection:
        types: dict[str, str] = dict(
            connection.execute(
                "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s", (table,)
            ).fetchall()
        )
        shown = [f'"{name}"::text' if types[name] in ("json", "jsonb") else f'"{name}"' for name in _names(kinds)]
        return _by_id(
            _names(kinds), connection.execute(f'SELECT {", ".join(shown)} FROM "{table}"'.encode()).fetchall()
        )


def mysql_connection(url: str) -> pymysql.Connection[Any]:
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "", port=parts.port or 0, user=parts.username or "", password=parts.password or "",
        database=parts.path.lstrip("/"), charset="utf8mb4", autocommit=True,
    )  # fmt: skip


def read_mysql(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    with mysql_connection(addresses.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = database() AND table_name = %s",
            (table,),
        )
        types = dict(cursor.fetchall())
        # the text protocol shows a float with six digits only
        shown = [f"CAST(`{name}` AS double)" if types[name] == "float" else f"`{name}`" for name in _names(kinds)]
        cursor.execute(f"SELECT {', '.join(shown)} FROM `{table}`")
        found = _by_id(_names(kinds), cursor.fetchall())
    for values in found.values():
        # a datetime has no zone: the page says that it holds the time in UTC
        if isinstance(values.get("instant"), dt.datetime):
            values["instant"] = values["instant"].replace(tzinfo=dt.UTC)
    return found


def read_sqlite(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    connection = sqlite3.connect(folder / "arrived.sqlite")
    try:
        names = ", ".join(f'"{name}"' for name in _names(kinds))
        return _by_id(_names(kinds), connection.execute(f'SELECT {names} FROM "{table}"').fetchall())
    finally:
        connection.close()


def read_duckdb(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    with duckdb.connect(str(folder / "arrived.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        # Python has no nanoseconds, and an instant of Python's needs a zone library
        casts = {"nanos": "::VARCHAR", "instant": "::VARCHAR", "stays": "::VARCHAR[]"}
        shown = [f'"{name}"{casts.get(name, "")}' for name in _names(kinds)]
        return _by_id(_names(kinds), connection.execute(f'SELECT {", ".join(shown)} FROM "{table}"').fetchall())


def read_parquet(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    found: Held = {}
    for file in sorted((folder / "out-parquet" / table).iterdir()):
        rows = pq.ParquetFile(file).read()
        if "nanos" in rows.column_names:
            place = rows.column_names.index("nanos")
            rows = rows.set_column(place, "nanos", rows.column("nanos").cast("int64"))
        found |= _by_id(rows.column_names, [tuple(row.values()) for row in rows.to_pylist()])
    return found


def read_csv(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    """By hand, since Python's csv does not tell "" from nothing."""
    found: Held = {}
    for file in sorted((folder / "out-csv" / table).iterdir()):
        head, *lines = cells(file.read_bytes().decode())
        found |= _by_id([str(name) for name in head], [_typed(head, line) for line in lines])
    return found


def cells(text: str) -> list[list[str | None]]:
    """RFC 4180, with nothing for an empty cell and "" for empty text."""
    rows: list[list[str | None]] = [[]]
    at = 0
    while at < len(text):
        if text[at] == '"':
            end = at + 1
            while text[end] != '"' or text[end : end + 2] == '""':
                end += 2 if text[end] == '"' else 1
            rows[-1].append(text[at + 1 : end].replace('""', '"'))
            at = end + 1
        else:
            end = at
            while text[end] not in ",\n":
                end += 1
            rows[-1].append(text[at:end] or None)
            at = end
        if text[at] == "\n" and at + 1 < len(text):
            rows.append([])
        at += 1
    return rows


def _typed(head: Sequence[str | None], line: Sequence[str | None]) -> list[Any]:
    """A cell is text; id, bytes aside, only booleans have a word of their own."""
    found: list[Any] = []
    for name, cell in zip(head, line, strict=True):
        if name == "id":
            found.append(int(cell or ""))
        elif name == "flag" and cell in ("true", "false"):
            found.append(cell == "true")
        else:
            found.append(cell)
    return found


def _exact(body: bytes) -> Any:
    def no_constant(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs), "a member twice"
        return dict(pairs)

    return json.loads(body.decode(), parse_float=Decimal, parse_constant=no_constant, object_pairs_hook=once)


def read_jsonl(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    found: Held = {}
    for file in sorted((folder / "out-jsonl" / table).iterdir()):
        lines = [_exact(line) for line in file.read_bytes().split(b"\n")[:-1]]
        found |= _by_id(_names(kinds), [[line[name] for name in _names(kinds)] for line in lines])
    return found


def read_http(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    records = [record for path, body in addresses.tape.bodies if path == f"/{table}" for record in _exact(body)]
    return _by_id(_names(kinds), [_cells(record, kinds) for record in records])


def _cells(record: dict[str, Any], kinds: Sequence[Kind]) -> list[Any]:
    """A record's values. A document is JSON among JSON: it is written out again, to be told from text."""
    found = {name: record[name] for name in _names(kinds)}
    if found.get("document") is not None:
        found["document"] = Document(found["document"])
    return list(found.values())


def read_webhook(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    records = [
        event["data"]
        for path, body in addresses.tape.bodies
        if path == "/events"
        for event in _exact(body)
        if event["type"] == f"{table}.added"
    ]
    return _by_id(_names(kinds), [_cells(record, kinds) for record in records])


def declared_http(tables: Sequence[str]) -> str:
    objects = "".join(f"  {table}:\n    upsert: POST /{table}\n    delete: POST /{table}/delete\n" for table in tables)
    return "type: http\nbase_url: {tape}\nlimits: {{records_per_request: 500}}\nobjects:\n" + objects


def read_lines(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    bodies = [body for path, body in addresses.tape.bodies if path == "/lines"]
    records = [_exact(line) for body in bodies for line in body.split(b"\n") if line]
    return _by_id(_names(kinds), [_cells(record, kinds) for record in records])


def read_objects(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    records = [_exact(body) for path, body in addresses.tape.bodies if path.startswith("/objects/")]
    return _by_id(_names(kinds), [_cells(record, kinds) for record in records])


def read_function(folder: Path, addresses: Addresses, table: str, kinds: Sequence[Kind]) -> Held:
    """A document is text to a function."""
    lines = (folder / "records.jsonl").read_bytes().split(b"\n")[:-1]
    records = [record for line in lines for record in _exact(line)]
    return _by_id(_names(kinds), [[record[name] for name in _names(kinds)] for record in records])


OBJECTS = """type: http
base_url: {{tape}}
auth: none
limits: {{{{records_per_request: 500}}}}
objects:
  {table}: {{{{match: id, upsert: {request}}}}}
"""
FUNCTION = """from pathlib import Path
from levada import destination
from levada.template import json_bytes

@destination(records_per_request=500, verbs=("upsert",))
def keep(batch):
    with (Path(__file__).parent / "records.jsonl").open("ab") as file:
        file.write(json_bytes(batch.records) + b"\\n")
"""
NOT_IN_JSON_FILES = frozenset({"bytes"})
WITNESSES: dict[str, Witness] = {
    each.name: each
    for each in (
        Witness("postgres", "type: postgres\nurl: {postgres}\ncreate_tables: true\n", read_postgres),
        Witness("mysql", "type: mysql\nurl: {mysql}\ncreate_tables: true\n", read_mysql),
        Witness("sqlite", "type: sqlite\npath: arrived.sqlite\ncreate_tables: true\n", read_sqlite),
        Witness("duckdb", "type: duckdb\npath: arrived.duckdb\ncreate_tables: true\n", read_duckdb),
        Witness("csv", "type: files\npath: out-csv\nformat: csv\nescape_formulas: false\n", read_csv,
                NOT_IN_JSON_FILES, "append"),
        Witness("jsonl", "type: files\npath: out-jsonl\nformat: jsonl\n", read_jsonl, NOT_IN_JSON_FILES, "append"),
        Witness("parquet", "type: files\npath: out-parquet\nformat: parquet\n", read_parquet, mode="append"),
        Witness("http", "", read_http),
        Witness("webhook", "type: webhook\nurl: {tape}/events\nsecret: s3cret\nbatch: 500\n", read_webhook),
    )
}  # fmt: skip
MORE_WITNESSES: dict[str, Witness] = {
    each.name: each
    for each in (
        Witness(
            "lines",
            OBJECTS.format(table="from_duckdb", request="{{send: POST /lines, encoding: json_lines}}"),
            read_lines,
            mode="upsert",
        ),
        Witness(
            "object", OBJECTS.format(table="from_duckdb", request='"PUT /objects/{{id}}"'), read_objects, mode="upsert"
        ),
        Witness("function", "type: python\nfunction: functions.py:keep\n", read_function, mode="upsert"),
    )
}
"""The other encodings of HTTP, and functions: the same forms as `http`, of the model in DuckDB."""
