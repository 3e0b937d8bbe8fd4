"""The page about tables says what the code does."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from levada.database import DatabaseAddress
from levada.destinations.duckdb import DuckdbEngine
from levada.destinations.mysql import PARAMETERS as MYSQL
from levada.destinations.mysql import MysqlEngine
from levada.destinations.postgres import PostgresEngine
from levada.destinations.sqlite import SqliteEngine
from levada.destinations.tables.engine import Engine
from levada.libpq import PARAMETERS

PAGE = Path(__file__).parents[2] / "docs/reference/table-destinations.md"
URL = DatabaseAddress("127.0.0.1", 1, "shop", "levada")
ENGINES: dict[str, Engine] = {
    "PostgreSQL": PostgresEngine(URL),
    "MySQL": MysqlEngine(URL),
    "SQLite": SqliteEngine(Path("shop.db"), create=False),
    "DuckDB": DuckdbEngine(Path("shop.duckdb"), create=False),
}
KINDS: tuple[pa.DataType, ...] = (
    pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.uint64(), pa.decimal128(12, 2), pa.float32(), pa.float64(),
    pa.string(), pa.binary(), pa.date32(), pa.time64("us"), pa.timestamp("us"), pa.timestamp("us", "UTC"),
    pa.list_(pa.int64()), pa.struct([("city", pa.string())]),
)  # fmt: skip


def rows(heading: str) -> list[list[str]]:
    """The table below a heading of the page, without its head."""
    section = PAGE.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_of_types_is_what_is_created() -> None:
    """Every documented type, in every database, in the page's order."""
    head, _, *body = rows("Created columns")
    wanted = [[str(kind), *(str(ENGINES[name].native(kind, 0)) for name in head[1:])] for kind in KINDS]
    assert body == wanted


@pytest.mark.parametrize(("kind", "settings"), [("postgres", PARAMETERS.known), ("mysql", MYSQL.known)])
def test_every_setting_of_a_url_is_documented(kind: str, settings: frozenset[str]) -> None:
    """What a URL may say stands on the page."""
    row = next(cells for cells in rows("Connections") if cells[0] == f"`{kind}`")
    assert {name for name in settings if f"`{name}`" not in row[1]} <= {
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
    }
