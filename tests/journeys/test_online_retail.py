"""The whole Online Retail set, junk and all, from a file to PostgreSQL and over HTTP: every figure as SQL counts it."""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
import pytest

from levada_process import levada, write
from servers.records import Records, records_server

RETAIL = str(files("levada.demo") / "data/online_retail.parquet")
COLUMNS = "invoice_no, stock_code, description, quantity, invoice_at, unit_price, customer_id, country"
LINES_TOTAL = 541_909

MODELS = {
    "lines": ("line", f"SELECT row_number() OVER () AS line, {COLUMNS} FROM online_retail"),
    "invoice_products": (
        "[invoice_no, stock_code]",
        """
        SELECT invoice_no, stock_code, min(description) AS description, sum(quantity)::bigint AS quantity,
               sum(quantity * unit_price)::decimal(18, 3) AS amount, count(*) AS lines
        FROM online_retail GROUP BY ALL
        """,
    ),
    "customers": (
        "customer_id",
        """
        SELECT customer_id, min(country) AS country, count(DISTINCT invoice_no) AS invoices,
               max(invoice_at) AS last_order_at, sum(quantity * unit_price)::decimal(18, 3) AS amount
        FROM online_retail GROUP BY customer_id
        """,
    ),
}
FIGURES = {
    "whole": "SELECT count(*), count(DISTINCT invoice_no), count(DISTINCT stock_code), count(DISTINCT customer_id),"
    " count(description), sum(quantity), sum(quantity * unit_price), count(*) FILTER (quantity < 0) FROM {lines}",
    "per country": "SELECT country, count(*), sum(quantity), sum(quantity * unit_price)"
    " FROM {lines} GROUP BY country ORDER BY country COLLATE \"C\"",
    "per month": "SELECT extract(year FROM invoice_at)::int, extract(month FROM invoice_at)::int, count(*),"
    " sum(quantity * unit_price) FROM {lines} GROUP BY 1, 2 ORDER BY 1, 2",
    "texts": "SELECT description, count(*) FROM {lines} GROUP BY 1 ORDER BY description COLLATE \"C\" NULLS FIRST",
}  # fmt: skip


def _project(folder: Path, destination: str, syncs: dict[str, str]) -> Path:
    texts = {
        "levada.yml": "name: retail\n",
        "sources/shop.yml": f"type: files\npath: {RETAIL}\n",
        "destinations/there.yml": destination,
    }
    for name, (key, query) in MODELS.items():
        texts[f"models/{name}.sql"] = f"/*\nsource: shop\nkey: {key}\n*/\n{query}\n"
    for name, text in syncs.items():
        texts[f"syncs/{name}.yml"] = f"model: {name}\nto: there.{name}\nmode: mirror\nfields: all\n{text}"
    return write(folder, texts)


def _of_the_file(statement: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE VIEW online_retail AS FROM '{RETAIL}'")
        plain = statement.replace(' COLLATE "C"', "").replace("FILTER (quantity", "FILTER (WHERE quantity")
        return connection.sql(plain).fetchall()


def _in_postgres(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.replace("FILTER (quantity", "FILTER (WHERE quantity").encode()).fetchall()


@pytest.mark.needs("postgres")
def test_the_whole_set_arrives_in_postgresql(tmp_path: Path, postgres_url: str) -> None:
    """Lines by their number, products of invoices by a key of two columns and customers: the figures are the file's."""
    project = _project(
        tmp_path, f"type: postgres\nurl: {postgres_url}\ncreate_tables: true\n", dict.fromkeys(MODELS, "")
    )
    done = levada(project, "run", "--json")
    results = {line["sync"]: line for line in done.lines}
    assert done.code == 3, done.talk  # one customer of the file has no number
    assert results["lines"]["delivered"] == {"added": LINES_TOTAL, "changed": 0, "removed": 0}
    assert (results["customers"]["status"], results["customers"]["invalid"]) == ("partial", 1)
    for statement in FIGURES.values():
        assert _in_postgres(postgres_url, statement.format(lines="lines")) == _of_the_file(
            statement.format(lines="online_retail")
        )
    for name, (_, query) in MODELS.items():
        if name == "lines":
            continue
        model = f"FROM ({query}) AS model WHERE {'customer_id IS NOT NULL' if name == 'customers' else 'true'}"
        figures = "SELECT count(*), sum(amount) "
        assert _in_postgres(postgres_url, f"{figures} FROM {name}") == _of_the_file(figures + model)
    again = levada(project, "run", "--json")
    assert [(line["counts"]["unchanged"], line["requests"]) for line in again.lines if line["sync"] == "lines"] == [
        (LINES_TOTAL, 0)
    ]


def _arrived(server: Records) -> pa.Table:
    """What the HTTP server holds, as the table it was."""
    held = list(server.held.values())
    prices = [Decimal(str(record["unit_price"])) for record in held]
    table = pa.Table.from_pylist([{**record, "unit_price": None} for record in held])
    times = table["invoice_at"].cast(pa.timestamp("us"))
    return (
        table.drop_columns(["unit_price", "invoice_at"])
        .append_column("unit_price", pa.array(prices, pa.decimal128(10, 3)))
        .append_column("invoice_at", times)
    )


def test_the_whole_set_arrives_over_http(tmp_path: Path) -> None:
    """Every line is one record of the tool, sent once, with the values of the file."""
    fields = "".join(f"  {name}: {name}\n" for name in COLUMNS.split(", "))
    with records_server() as server:
        destination = (
            f"type: http\nbase_url: {server.url}\nlimits: {{records_per_request: 5000, concurrent_requests: 2}}\n"
            "objects:\n  lines:\n    upsert: POST /records\n    delete: POST /records/delete\n"
        )
        project = _project(tmp_path, destination, {})
        sync = f"model: lines\nto: there.lines\nmode: mirror\nmatch: {{id: line}}\nfields:\n{fields}"
        write(project, {"syncs/lines.yml": sync})
        done = levada(project, "run", "lines", "--json")
        assert done.code == 0, done.talk
        assert done.document["requests"] == server.requests == -(-LINES_TOTAL // 5_000)
        assert len(server.log) == len(server.held) == LINES_TOTAL
        with duckdb.connect() as connection:
            connection.register("arrived", _arrived(server))
            for statement in FIGURES.values():
                here = statement.replace(' COLLATE "C"', "").replace("FILTER (quantity", "FILTER (WHERE quantity")
                assert connection.sql(here.format(lines="arrived")).fetchall() == _of_the_file(
                    statement.format(lines="online_retail")
                )
