"""Numbers of unlimited size: PostgreSQL's `numeric` arrives with all its digits wherever a destination holds them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from levada import Project
from levada_process import write
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer, fresh_database
from values.matrix import GUARD
from values.witnesses import Addresses, Tape, cells, mysql_connection, tape

NUMBERS = (
    "123.45", "0.1234567890123456789012345", "12345678901234567890123456789012345678901234567890.5", "1.50", "0",
    "-7.000", "100", "-0.000000000000000000000000000001",
)  # fmt: skip
NAN = len(NUMBERS) + 1
WAYS = ("postgres", "mysql", "sqlite", "duckdb", "http", "csv", "jsonl", "parquet")
LACKING: dict[str, set[int]] = {"mysql": {3}, "duckdb": {2, 3, 8}, "parquet": {2, 3, 8}}
"""By id, what a destination cannot hold: 65 digits with 30 places in MySQL, 38 with 20 in DuckDB and Parquet."""


@pytest.fixture(scope="module")
def addresses(postgres_server: PostgresServer, mariadb_server: MariadbServer) -> Iterator[Addresses]:
    with (
        fresh_database(postgres_server) as postgres,
        fresh_mariadb(mariadb_server) as mysql,
        tape() as received,
    ):
        yield Addresses(postgres, mysql, received)


def project(folder: Path, addresses: Addresses, source: str) -> Path:
    made = "create_tables: true\n"
    files = {
        "levada.yml": "name: digits\n",
        "sources/warehouse.yml": f"type: postgres\nurl: {source}\n",
        "models/numbers.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from model\n",
        "destinations/postgres.yml": f"type: postgres\nurl: {addresses.postgres}\n{made}",
        "destinations/mysql.yml": f"type: mysql\nurl: {addresses.mysql}\n{made}",
        "destinations/sqlite.yml": f"type: sqlite\npath: a.sqlite\n{made}",
        "destinations/duckdb.yml": f"type: duckdb\npath: a.duckdb\n{made}",
        "destinations/http.yml": f"type: http\nbase_url: {addresses.tape.url}\nauth: none\n"
        "limits: {records_per_request: 100}\nobjects: {numbers: {upsert: POST /numbers}}\n",
    }
    for way in WAYS:
        mode = "upsert"
        if way in ("csv", "jsonl", "parquet"):
            files[f"destinations/{way}.yml"], mode = f"type: files\npath: out-{way}\nformat: {way}\n", "append"
        files[f"syncs/{way}.yml"] = f"model: numbers\nto: {way}.numbers\nmode: {mode}\n{GUARD}fields: all\n"
    return write(folder, files)


def arrived(way: str, folder: Path, addresses: Addresses) -> dict[int, Decimal]:
    """What is there, by id, as an independent reader finds it."""
    match way:
        case "postgres":
            with psycopg.connect(addresses.postgres) as connection:
                return dict(connection.execute("SELECT id, x FROM numbers").fetchall())
        case "mysql":
            with mysql_connection(addresses.mysql) as server, server.cursor() as cursor:
                cursor.execute("SELECT id, x FROM numbers")
                return dict(cursor.fetchall())
        case "sqlite":
            lite = sqlite3.connect(folder / "a.sqlite")
            found = {key: Decimal(text) for key, text in lite.execute("SELECT id, x FROM numbers")}
            lite.close()
            return found
        case "duckdb":
            import duckdb

            with duckdb.connect(str(folder / "a.duckdb")) as duck:
                return dict(duck.execute("SELECT id, x FROM numbers").fetchall())
        case "http":
            records = [row for _, body in addresses.tape.bodies for row in json.loads(body, parse_float=Decimal)]
            return {row["id"]: Decimal(row["x"]) for row in records}
        case "csv":
            (file,) = (folder / "out-csv/numbers").iterdir()
            return {int(key or ""): Decimal(cell or "") for key, cell in cells(file.read_text())[1:]}
        case "jsonl":
            (file,) = (folder / "out-jsonl/numbers").iterdir()
            lines = [json.loads(line, parse_float=Decimal) for line in file.read_text().splitlines()]
            assert not any(isinstance(line["x"], str) for line in lines)
            return {line["id"]: Decimal(line["x"]) for line in lines}
    import pyarrow.parquet as pq

    (file,) = (folder / "out-parquet/numbers").iterdir()
    return {row["id"]: row["x"] for row in pq.ParquetFile(file).read().to_pylist()}


@pytest.mark.needs("postgres", "mariadb")
def test_every_digit_arrives_where_it_can_be_held(tmp_path: Path, addresses: Addresses, postgres_url: str) -> None:
    """25 places, 51 digits, zeros at the end; what has no room is refused by name, NaN in JSON too."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE model (id int, x numeric)")
        for key, number in enumerate((*NUMBERS, "NaN"), 1):
            connection.execute("INSERT INTO model VALUES (%s, %s::numeric)", (key, number))
    wanted = {key: Decimal(number) for key, number in enumerate(NUMBERS, 1)}
    addresses.tape.bodies.clear()
    with Project.open(project(tmp_path, addresses, postgres_url)) as opened:
        for way in WAYS:
            assert opened.run(way).status in ("succeeded", "partial"), way
            refused = {int(r.key): r.field for r in opened.records(way) if r.outcome != "delivered"}
            found = arrived(way, tmp_path, addresses)
            if way == "postgres":
                assert found.pop(NAN).is_nan()
            assert found == {key: value for key, value in wanted.items() if key not in refused}, way
            assert refused == dict.fromkeys(LACKING.get(way, set()) | ({NAN} if way != "postgres" else set()), "x"), way
            assert opened.run(way).counts.operations == 0


@pytest.mark.needs("postgres")
def test_a_number_that_was_kept_as_a_decimal_is_not_sent_again(tmp_path: Path, postgres_url: str) -> None:
    """The ledger holds decimals from before; the same numbers, told by their digits now, are no change."""
    received: Tape
    with tape() as received, psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE model (id int, x numeric(38,20))")
        connection.execute("INSERT INTO model VALUES (1, 1.50), (2, 100), (3, 0.00000000000000000001), (4, NULL)")
        folder = project(
            tmp_path, Addresses("postgresql://x@127.0.0.1/x", "mysql://x@127.0.0.1/x", received), postgres_url
        )
        with Project.open(folder) as opened:
            assert opened.run("http").counts.added == 4
            assert opened.run("jsonl").counts.added == 4
        connection.execute("ALTER TABLE model ALTER x TYPE numeric")
        with Project.open(folder) as opened:
            assert opened.run("http").counts.operations == 0
            assert opened.run("jsonl").counts.operations == 0
            connection.execute("UPDATE model SET x = x + 0.0000000000000000000000001 WHERE id = 1")
            assert opened.run("http").counts.changed == 1
    assert received.bodies[-1][1] == b'[{"id":1,"x":1.5000000000000000000000001}]'
