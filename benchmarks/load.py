"""Bring the data of one size into PostgreSQL: `python load.py FOLDER URL`. Tables customers_v1 and customers_v2."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb
import psycopg
from generate import COLUMNS


def load(folder: Path, url: str) -> None:
    types = ", ".join(f"{name} {kind.replace('varchar', 'text')}" for name, kind in COLUMNS.items())
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("drop view if exists customers")
        for version in (1, 2):
            table = f"customers_v{version}"
            server.execute(f"drop table if exists {table}")
            server.execute(f"create table {table} ({types}, primary key (id))")
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                spool = Path(scratch) / "rows.csv"
                duckdb.sql(f"copy (from '{folder}/v{version}.parquet' order by id) to '{spool}' (header false)")
                with server.cursor().copy(f"copy {table} from stdin (format csv)") as copy, spool.open("rb") as file:
                    while block := file.read(1 << 20):
                        copy.write(block)
            server.execute(f"vacuum (analyze, freeze) {table}")
        server.execute("create view customers as select * from customers_v1")


if __name__ == "__main__":
    load(Path(sys.argv[1]), sys.argv[2])
