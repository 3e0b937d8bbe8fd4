"""Real sources with generated rows in them: each writes the rows with its own driver, without the engine.

Every warehouse is a class with a `source` declaration (YAML) and `fill`, which makes the table `model` of rows.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from values.kinds import KINDS, Kind, Row, rows_of

Fill = Callable[[Path, Sequence[Kind], Sequence[Row]], None]


@dataclass(frozen=True, slots=True)
class Warehouse:
    """`kinds`: the columns that it can hold. `plain`: of which it holds no odd value."""

    name: str
    declaration: str
    kinds: tuple[Kind, ...]
    fill: Fill
    plain: tuple[str, ...] = ()

    def rows(self, count: int, seed: int) -> list[Row]:
        found = rows_of(self.kinds, count, seed, self.plain)
        if self.name == "csv":
            # an empty field is NULL, in quotes or not
            for row in found:
                row.values["words"] = row.values["words"] or None
        return found


def _kinds(held: Callable[[Kind], object]) -> tuple[Kind, ...]:
    return tuple(kind for kind in KINDS if held(kind))


def _columns(kinds: Sequence[Kind], rows: Sequence[Row]) -> Iterator[tuple[Kind, list[Any]]]:
    for kind in kinds:
        yield kind, [row.values[kind.name] for row in rows]


def arrow_array(kind: Kind, values: Sequence[Any]) -> Any:
    """A column as Arrow; kinds that Arrow lacks as text, to be cast."""
    if kind.arrow is not None:
        return pa.array(values, kind.arrow)
    return pa.array([None if value is None else _told(value) for value in values], pa.string())


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        months, days, micros = value
        return f"{months} months {days} days {micros} microseconds"
    return str(value)


def fill_duckdb(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    columns = {"id": pa.array([row.id for row in rows], pa.int64())}
    columns |= {kind.name: arrow_array(kind, values) for kind, values in _columns(kinds, rows)}
    shown = ", ".join(f'CAST("{kind.name}" AS {kind.duckdb}) AS "{kind.name}"' for kind in kinds)
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("rows", pa.table(columns))
        connection.execute(f"CREATE OR REPLACE TABLE model AS SELECT id, {shown} FROM rows")


def fill_parquet(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    columns = {"id": pa.array([row.id for row in rows], pa.int64())}
    columns |= {kind.name: arrow_array(kind, values) for kind, values in _columns(kinds, rows)}
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / "data/model.parquet", row_group_size=1_000)


def fill_postgres(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    names = ", ".join(f'"{kind.name}" {kind.postgres}' for kind in kinds)
    url = (folder / "postgres.url").read_text()
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(f"DROP TABLE IF EXISTS model; CREATE TABLE model (id bigint, {names})".encode())
        with cursor.copy("COPY model FROM STDIN") as copy:
            for row in rows:
                copy.write_row((row.id, *(row.values[kind.name] for kind in kinds)))


def fill_sqlite(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    names = ", ".join(f'"{kind.name}" {_sqlite_type(kind)}' for kind in kinds)
    connection = sqlite3.connect(folder / "warehouse.sqlite")
    try:
        connection.execute("DROP TABLE IF EXISTS model")
        connection.execute(f"CREATE TABLE model (id INTEGER PRIMARY KEY, {names})")
        places = ", ".join("?" * (len(kinds) + 1))
        connection.executemany(
            f"INSERT INTO model VALUES ({places})",
            [(row.id, *(_stored(row.values[kind.name]) for kind in kinds)) for row in rows],
        )
        connection.commit()
    finally:
        connection.close()


def _sqlite_type(kind: Kind) -> str:
    return kind.sqlite


def _stored(value: Any) -> Any:
    match value:
        case bool():
            return int(value)
        case dt.datetime():
            return value.isoformat(" ")
        case dt.date() | dt.time():
            return value.isoformat()
        case Decimal() | UUID():
            return str(value)
        case _:
            return value


def fill_csv(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    """As RFC 4180 has it: text in quotes, so that "" is empty text and nothing at all is NULL."""
    (folder / "data").mkdir(exist_ok=True)
    with (folder / "data/model.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(["id", *(kind.name for kind in kinds)]) + "\r\n")
        for row in rows:
            file.write(",".join([str(row.id), *(_written(row.values[kind.name]) for kind in kinds)]) + "\r\n")


def _written(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case str():
            return '"' + value.replace('"', '""') + '"'
        case dt.datetime():
            return value.isoformat(" ")
        case Decimal():
            return f"{value:f}"
        case _:
            return str(value)


def fill_json(folder: Path, kinds: Sequence[Kind], rows: Sequence[Row]) -> None:
    (folder / "data").mkdir(exist_ok=True)
    with (folder / "data/model.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            record = {"id": row.id, **{kind.name: row.values[kind.name] for kind in kinds}}
            file.write(json.dumps(record, ensure_ascii=row.id % 2 == 0) + "\n")


FILES = "type: files\npath: data\n"
WAREHOUSES: dict[str, Warehouse] = {
    each.name: each
    for each in (
        Warehouse("duckdb", "type: duckdb\npath: warehouse.duckdb\n", _kinds(lambda k: k.duckdb), fill_duckdb),
        Warehouse("parquet", FILES, _kinds(lambda k: k.arrow is not None and k.name != "mood"), fill_parquet),
        Warehouse(
            "postgres",
            "type: postgres\nurl: {postgres}\n",
            _kinds(lambda k: k.postgres),
            fill_postgres,
            ("words", "tags", "document"),
        ),
        Warehouse(
            "sqlite", "type: sqlite\npath: warehouse.sqlite\n", _kinds(lambda k: k.sqlite), fill_sqlite, ("double",)
        ),
        Warehouse("csv", FILES, _kinds(lambda k: k.csv), fill_csv),
        Warehouse("json", FILES, _kinds(lambda k: k.json), fill_json, ("huge",)),
    )
}
