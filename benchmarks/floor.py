"""The floor: the least that a correct pipeline has to do, with no product around it.

    python floor.py SOURCE DESTINATION --state FOLDER [--target TABLE] [--reset]

SOURCE:       parquet:PATH   duckdb:PATH   postgres:URL     (each holds `customers`)
DESTINATION:  http:URL   postgres:URL

Read the model; compare a 64-bit hash of each row with the hashes of the last time; send what differs (requests of 100
records over eight bare sockets, or COPY into a staging table and one upsert and one delete, in one transaction); keep
the hashes. Nothing is validated, mapped, journalled or retried, and a crash may double or lose what was under way: a
product has to be slower than this, and the question is by how much.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from generate import COLUMNS

RECORDS_PER_REQUEST = 100
CONNECTIONS = 8
ROWS_AT_ONCE = 20_000
VALUES = [name for name in COLUMNS if name != "id"]


def open_model(connection: duckdb.DuckDBPyConnection, source: str, scratch: Path) -> None:
    """Make `model` readable."""
    kind, _, where = source.partition(":")
    if kind == "parquet":
        connection.execute(f"create view model as select * from read_parquet('{where}')")
    elif kind == "duckdb":
        connection.execute(f"attach '{where}' as warehouse (read_only)")
        connection.execute("create view model as select * from warehouse.customers")
    else:
        import psycopg

        spool = scratch / "model.csv"
        statement = "copy (select * from customers) to stdout (format csv)"
        with psycopg.connect(where) as server, server.cursor().copy(statement) as copy, spool.open("wb") as file:
            for block in copy:
                file.write(block)
        columns = ", ".join(f"'{name}': '{kind}'" for name, kind in COLUMNS.items())
        connection.execute(
            f"create table model as select * from read_csv('{spool}', header = false, columns = {{{columns}}})"
        )


def find_changes(connection: duckdb.DuckDBPyConnection, state: Path) -> dict[str, int]:
    """Make `change` (id, removed), and the next state beside the present one."""
    fingerprint = f"hash({', '.join(VALUES)})"
    following = state.with_suffix(".next")
    connection.execute(f"copy (select id, {fingerprint} as print from model) to '{following}' (format parquet)")
    if state.exists():
        connection.execute(
            f"""
            create table change as
            select coalesce(new.id, old.id) as id, new.id is null as removed
            from read_parquet('{following}') as new
            full outer join read_parquet('{state}') as old on new.id = old.id
            where new.print is distinct from old.print
            """
        )
    else:
        connection.execute("create view change as select id, false as removed from model")
    counted = connection.execute("select removed, count(*) from change group by all").fetchall()
    return {("removed" if removed else "upserted"): count for removed, count in counted}


def bodies(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[bytes, bytes]]:
    """(path, body) of each request: removals, then upserts."""
    gone = "select '{\"id\":' || id || '}' from change where removed"
    packed = ", ".join(f"{name} := model.{name}" for name in COLUMNS)
    come = f"select to_json(struct_pack({packed}))::varchar from change join model using (id) where not removed"
    if not connection.execute("select 1 from change where removed limit 1").fetchone():
        come = f"select to_json(struct_pack({packed}))::varchar from change join model using (id)"
    for path, statement in ((b"/delete", gone), (b"/upsert", come)):
        cursor = connection.execute(statement)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            texts = [row[0] for row in rows]
            for start in range(0, len(texts), RECORDS_PER_REQUEST):
                yield path, ("[" + ",".join(texts[start : start + RECORDS_PER_REQUEST]) + "]").encode()


async def send_http(connection: duckdb.DuckDBPyConnection, url: str) -> None:
    target = urlsplit(url)
    source = bodies(connection)

    async def lane() -> None:
        reader, writer = await asyncio.open_connection(target.hostname, target.port)
        for path, body in source:
            head = b"POST %s HTTP/1.1\r\nHost: sink\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (path, len(body)) + body)
            status = await reader.readuntil(b"\r\n\r\n")
            assert status.startswith(b"HTTP/1.1 200"), status
            await reader.readexactly(15)
        writer.close()

    await asyncio.gather(*(lane() for _ in range(CONNECTIONS)))


def send_postgres(connection: duckdb.DuckDBPyConnection, url: str, table: str, scratch: Path) -> None:
    import psycopg

    spool = scratch / "upserts.csv"
    names = ", ".join(COLUMNS)
    connection.execute(
        f"copy (select {', '.join('model.' + name for name in COLUMNS)} from change join model using (id)"
        f" where not removed) to '{spool}' (format csv, header false)"
    )
    gone = [row[0] for row in connection.execute("select id from change where removed").fetchall()]
    with psycopg.connect(url) as server:
        types = ", ".join(f"{name} {kind.replace('varchar', 'text')}" for name, kind in COLUMNS.items())
        server.execute(f"create table if not exists {table} ({types}, primary key (id))")
        server.execute(f"create temporary table staged ({types}) on commit drop")
        with server.cursor().copy("copy staged from stdin (format csv)") as copy, spool.open("rb") as file:
            while block := file.read(1 << 20):
                copy.write(block)
        taken = ", ".join(f"{name} = excluded.{name}" for name in VALUES)
        server.execute(f"insert into {table} ({names}) select * from staged on conflict (id) do update set {taken}")
        if gone:
            server.execute(f"delete from {table} where id = any(%s)", (gone,))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("destination")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--target", default="floor")
    parser.add_argument("--reset", action="store_true")
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    state = arguments.state / "state.parquet"
    if arguments.reset:
        state.unlink(missing_ok=True)
    laps: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        laps[name] = round(time.perf_counter() - began - sum(laps.values()), 3)

    with tempfile.TemporaryDirectory(dir=arguments.state) as scratch, duckdb.connect() as connection:
        connection.execute("set preserve_insertion_order = false")
        open_model(connection, arguments.source, Path(scratch))
        lap("read")
        counts = find_changes(connection, state)
        lap("compare")
        kind, _, where = arguments.destination.partition(":")
        if counts and kind == "http":
            asyncio.run(send_http(connection, where))
        elif counts:
            send_postgres(connection, where, arguments.target, Path(scratch))
        lap("send")
        state.with_suffix(".next").replace(state)
    json.dump({"counts": counts, "laps": laps}, sys.stdout)


if __name__ == "__main__":
    main()
