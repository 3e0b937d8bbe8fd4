"""dlt, run once: `python peer_dlt.py SOURCE ORIGIN TABLE DESTINATION TARGET STATE`, in dlt's own environment.

Its Arrow back end throughout, which is its fastest; a merge by key ("upsert") into PostgreSQL, or batches of 100
records to HTTP.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import dlt

ROWS_AT_ONCE = 50_000
RECORDS_PER_REQUEST = 100


def resource(source: str, origin: str, table: str) -> Any:
    disposition = {"disposition": "merge", "strategy": "upsert"}
    if source == "postgres":
        from dlt.sources.sql_database import sql_table

        url = origin.replace("postgresql://", "postgresql+psycopg2://")
        return sql_table(
            url, table=table, backend="pyarrow", chunk_size=ROWS_AT_ONCE, primary_key="id",
            write_disposition=disposition, reflection_level="full_with_precision",
        )  # fmt: skip

    @dlt.resource(name="customers", primary_key="id", write_disposition=disposition)
    def customers() -> Iterator[Any]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(origin) as file:
            yield from file.iter_batches(ROWS_AT_ONCE)

    return customers()


def destination(kind: str, target: str) -> Any:
    if kind == "postgres":
        # it insists on a password, which the server does not ask for
        return dlt.destinations.postgres(target.replace("bench@", "bench:unused@"))
    import http.client
    from urllib.parse import urlsplit

    connection = http.client.HTTPConnection(urlsplit(target).netloc)

    @dlt.destination(batch_size=RECORDS_PER_REQUEST, name="sink", naming_convention="direct", max_parallel_load_jobs=1)
    def sink(items: Any, _table: Any) -> None:
        records = items.to_pylist() if hasattr(items, "to_pylist") else items
        connection.request("POST", "/upsert", json.dumps(records, default=str), {"Content-Type": "application/json"})
        assert connection.getresponse().read()

    return sink()


def main(source: str, origin: str, table: str, kind: str, target: str, state: str) -> None:
    pipeline = dlt.pipeline(
        "peer", pipelines_dir=state, destination=destination(kind, target), dataset_name="customers_dlt"
    )
    pipeline.run(resource(source, origin, table), table_name="customers").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:])
