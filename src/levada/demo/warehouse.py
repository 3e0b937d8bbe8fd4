"""The demo's warehouse: a shop in one DuckDB file, built from real order lines, and the days that pass in it.

Nothing here knows Levada, but for how DuckDB is opened: it is the part of the world in which the data already is.
Every step is deterministic, so that the demo can say beforehand what a run has to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada.sql.connection import connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOST_COUNTRY = "United Kingdom"
"""The country that the botched import empties: most of the shop's customers."""


@dataclass(frozen=True, slots=True)
class WarehouseFigures:
    """How many rows each table holds. `customers` counts rows, not people: some stand there twice."""

    customers: int
    products: int
    orders: int
    order_lines: int


def build_warehouse(path: Path) -> WarehouseFigures:
    """Make the shop's DuckDB file at `path`, in place of one that is there. Takes a few seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with _opened(path) as connection, as_file(files("levada.demo") / "data" / "online_retail.parquet") as lines:
        connection.read_parquet(str(lines)).create("order_lines")
        connection.execute(_sql("build"))
        connection.execute(_sql("customers"))
        return _figures(connection)


def change_warehouse(path: Path, day: int = 1) -> WarehouseFigures:
    """Let a day pass: customers buy again, a few are new, a few accounts are merged into others."""
    with _opened(path) as connection:
        connection.execute("set variable day = " + str(int(day)))
        connection.execute(_sql("next_day"))
        connection.execute(_sql("customers"))
        return _figures(connection)


def break_warehouse(path: Path) -> int:
    """A botched import: every customer of one country is gone. Returns how many rows were lost."""
    with _opened(path) as connection:
        lost = connection.execute("delete from customers where country = ?", [LOST_COUNTRY]).fetchone()
        return int(lost[0]) if lost else 0


def mend_warehouse(path: Path) -> WarehouseFigures:
    """Run the import again, rightly."""
    with _opened(path) as connection:
        connection.execute(_sql("customers"))
        return _figures(connection)


def query(path: Path, statement: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query over the warehouse, opened for reading only."""
    with connect(path, access_mode="read_only") as connection:
        return connection.execute(statement, parameters or []).fetchall()


def _opened(path: Path) -> DuckDBPyConnection:
    return connect(path)


def _sql(name: str) -> str:
    return (files("levada.demo") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def _figures(connection: DuckDBPyConnection) -> WarehouseFigures:
    counted = [
        connection.execute(f"select count(*) from {table}").fetchone()
        for table in ("customers", "products", "orders", "order_lines")
    ]
    return WarehouseFigures(*(int(row[0]) if row else 0 for row in counted))
