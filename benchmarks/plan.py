"""Planning against the bare DuckDB queries it cannot do without: `python benchmarks/plan.py --rows 1000000`.

Prints seconds and ratios of a first plan, an unchanged one and one with 1 % changes, 0.1 % removals and
0.1 % additions, over a Parquet file read in place; and the peak resident memory of each, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

FIELDS = ["email", "first_name", "last_name", "country", "ltv", "orders", "is_active"]
FIELDS += ["created_at", "updated_at", "note", "birth_date"]


def make_data(folder: Path, rows: int) -> None:
    import duckdb

    folder.mkdir(parents=True, exist_ok=True)
    if (folder / "v2.parquet").exists():
        return
    connection = duckdb.connect()
    selected = """SELECT i::bigint AS id, 'user' || i || '@example' || (hash(i) % 97) || '.com' AS email,
        'Name' || hash(i, 1) % 10 AS first_name, 'Family' || (hash(i, 3) % 1000) AS last_name,
        ['US', 'DE', 'FR', 'GB', 'ES'][(1 + hash(i, 4) % 5)::int] AS country,
        ((hash(i, 5) % 1000000) / 100.0)::decimal(12, 2) AS ltv, (hash(i, 6) % 200)::int AS orders,
        (hash(i, 7) % 5) <> 0 AS is_active,
        timestamp '2020-01-01' + to_seconds((hash(i, 8) % 150000000)::bigint) AS created_at,
        timestamp '2025-01-01' + to_seconds((hash(i, 9) % 20000000)::bigint) AS updated_at,
        CASE WHEN hash(i, 10) % 3 = 0 THEN 'note ' || md5(i::varchar) END AS note,
        date '1950-01-01' + (hash(i, 11) % 20000)::int AS birth_date"""
    connection.execute(f"COPY ({selected} FROM range(1, {rows} + 1) t(i)) TO '{folder}/v1.parquet'")
    connection.execute(
        f"""COPY (SELECT * REPLACE (CASE WHEN hash(id, 20) % 100 = 7 THEN ltv + 1 ELSE ltv END::decimal(12, 2) AS ltv)
        FROM '{folder}/v1.parquet' WHERE hash(id, 21) % 1000 <> 13
        UNION ALL {selected} FROM range({rows} + 1, {rows} + 1 + {rows} // 1000) t(i)) TO '{folder}/v2.parquet'"""
    )


def floor(folder: Path, work: Path, name: str) -> float:
    """The bare pipeline: hash, join with the stored hashes, write what differs."""
    import duckdb

    started = time.perf_counter()
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = false")
    version = "v2" if name == "changed" else "v1"
    model = f"'{folder}/{version}.parquet'"
    hashed = f"SELECT id, hash({', '.join(FIELDS)}) AS h FROM {model}"
    if name == "first":
        connection.execute(f"COPY (SELECT *, hash({', '.join(FIELDS)}) AS h FROM {model}) TO '{work}/floor.parquet'")
    else:
        connection.execute(
            f"CREATE TABLE d AS SELECT coalesce(a.id, b.id) AS id FROM '{work}/floor.parquet' a "
            f"FULL JOIN ({hashed}) b ON a.id = b.id WHERE a.h IS DISTINCT FROM b.h"
        )
        if connection.execute("SELECT count(*) FROM d").fetchone() != (0,):
            connection.execute(f"COPY (SELECT m.* FROM {model} m JOIN d USING (id)) TO '{work}/floor-ops.parquet'")
    return time.perf_counter() - started


def planned(folder: Path, work: Path, name: str, memory: str) -> dict[str, Any]:
    """One plan and its fold, as a run would do them."""
    from contextlib import AbstractContextManager

    from levada.mapping import FieldMapping, Mapping
    from levada.model import Model
    from levada.planner import KindPolicy, Ledger, PlanRequest, Segment, Settled
    from levada.planners.local import LocalPlanner
    from levada.source import Attachment, SourceAbilities

    class File:
        name = "bench"
        abilities = SourceAbilities("duckdb", in_place=True)

        def columns(self, query: str) -> tuple[Any, ...]:
            raise AssertionError(query)

        def read(self, query: str) -> AbstractContextManager[Any]:
            raise AssertionError(query)

        def check(self) -> None: ...

        def tables(self) -> tuple[str, ...]:
            return ("customers",)

        def attachment(self, query: str | None = None) -> Attachment:
            path = folder / ("v2.parquet" if name == "changed" else "v1.parquet")
            return Attachment((f"CREATE TEMP VIEW customers AS SELECT * FROM '{path}'",), (path,))

        def close(self) -> None: ...

    kept = work / "ledger.json"
    ledger = Ledger("bench", work / "ledger")
    if kept.exists():
        data = json.loads(kept.read_text())
        from levada.plan import PlanFile

        segments = tuple(Segment(PlanFile(*file), *rest) for file, *rest in data["segments"])
        ledger = Ledger("bench", work / "ledger", data["generation"], segments, data["rows"], data["nulls"], ("id",))
    mapping = Mapping(tuple(FieldMapping(each, "column", each) for each in ["id", *FIELDS]), ("id",))
    model = Model(source="bench", key=("id",), query="SELECT * FROM customers")
    target = work / f"plan-{name}"
    planner = LocalPlanner(work / "spool", memory)
    started = time.perf_counter()
    request = PlanRequest("bench", model, File(), mapping, KindPolicy(removed=True), ledger, target)
    plan = planner.plan(request)
    middle = time.perf_counter()
    folded = planner.fold(plan, target, ledger, Settled("delivered"))
    finished = time.perf_counter()
    if name == "first":
        segments_out = [
            [[s.file.name, s.file.rows, s.file.bytes, s.file.digest], s.kind, s.mapping_version, s.hash_version]
            for s in folded.segments
        ]
        document = {"generation": 1, "segments": segments_out, "rows": folded.rows, "nulls": dict(folded.nulls)}
        kept.write_text(json.dumps(document))
    return {"plan": middle - started, "fold": finished - middle, "counts": plan.counts.as_dict()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/levada-bench"))  # noqa: S108
    parser.add_argument("--memory", default="256MB")
    parser.add_argument("--one", choices=["floor", "plan"])
    parser.add_argument("--name", choices=["first", "same", "changed"])
    given = parser.parse_args()
    folder: Path = given.folder / str(given.rows)
    work = folder / "work"
    if given.one:
        run: Callable[[], Any] = {
            "floor": lambda: {"plan": floor(folder, work, given.name)},
            "plan": lambda: planned(folder, work, given.name, given.memory),
        }[given.one]
        result = run()
        result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps(result))
        return
    make_data(folder, given.rows)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    print(f"{given.rows:,} rows    floor s   plan s   ratio   fold s   peak MiB   operations")
    for name in ("first", "same", "changed"):
        both = {}
        for one in ("floor", "plan"):
            command = [sys.executable, __file__, "--rows", str(given.rows), "--folder", str(given.folder)]
            command += ["--memory", given.memory, "--one", one, "--name", name]
            both[one] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        bare, ours = both["floor"], both["plan"]
        counts = ours["counts"]
        total = counts["added"] + counts["changed"] + counts["removed"]
        ratio = ours["plan"] / bare["plan"]
        print(
            f"{name:14} {bare['plan']:8.2f} {ours['plan']:8.2f} {ratio:7.2f} {ours['fold']:8.2f} "
            f"{ours['peak_mib']:10} {total:12,}"
        )


if __name__ == "__main__":
    main()
