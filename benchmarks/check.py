"""Is a table of the destination the model? `python check.py PARQUET URL TABLE`: every value of every row is compared.

Prints `equal`, or how many rows differ, and ends with 1.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import duckdb
import psycopg
from generate import COLUMNS


def differences(parquet: str, url: str, table: str) -> int:
    columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
    with tempfile.TemporaryDirectory(dir=Path(parquet).parent) as scratch, duckdb.connect() as connection:
        spool = Path(scratch) / "held.csv"
        statement = f"copy (select {', '.join(COLUMNS)} from {table}) to stdout (format csv)"
        with psycopg.connect(url) as server, server.cursor().copy(statement) as copy, spool.open("wb") as file:
            for block in copy:
                file.write(block)
        held = f"select * from read_csv('{spool}', header = false, columns = {{{columns}}})"
        model = f"select * from read_parquet('{parquet}')"
        found = connection.execute(
            f"select (select count(*) from ({model} except all {held}))"
            f" + (select count(*) from ({held} except all {model}))"
        ).fetchone()
    assert found is not None
    return int(found[0])


if __name__ == "__main__":
    count = differences(sys.argv[1], sys.argv[2], sys.argv[3])
    print("equal" if count == 0 else f"{count} rows differ")
    sys.exit(1 if count else 0)
