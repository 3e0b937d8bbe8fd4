"""The peers, measured on the same data and the same machine: `python peers.py --rows 1000000`.

Each is installed into a virtual environment of its own under data/peers; one that does not install is left out,
with a line that says so. They are asked for what comes nearest to a sync: a merge by key. What they leave behind
is compared with the model all the same, and the table says where it differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import postgres
from bench import DATA, DAYS, HERE, PYTHON, RESULTS, Bench, Wrong, counted, expected, helper, say, sink_running
from measure import Measurement, measured

PACKAGES = {
    "dlt": ["dlt[postgres]>=1.31", "duckdb>=1.4", "pyarrow", "sqlalchemy", "psycopg2-binary"],
    "sling": ["sling==1.4.9"],
}
CASES = (
    ("dlt", "postgres-postgres"),
    ("dlt", "parquet-http"),
    ("dlt", "postgres-http"),
    ("sling", "postgres-postgres"),
)
INSTALL_SECONDS_MAX = 600


def environment(name: str, log: Path) -> Path | None:
    """The folder of a peer's programs, installed if need be; None if that does not work here."""
    folder = DATA / "peers" / name
    if not (folder / "installed").exists():
        commands = [
            [PYTHON, "-m", "venv", "--clear", str(folder)],
            [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *PACKAGES[name]],
        ]
        for command in commands:
            with log.open("ab") as output:
                try:
                    done = subprocess.run(
                        command, stdout=output, stderr=output, timeout=INSTALL_SECONDS_MAX, check=False
                    )
                except subprocess.TimeoutExpired:
                    return None
            if done.returncode:
                return None
        (folder / "installed").touch()
    return folder / "bin"


def command(name: str, programs: Path, bench: Bench, pair: str, version: int) -> tuple[list[str], dict[str, str]]:
    """What to run, and with which environment."""
    source, destination = pair.split("-")
    target = bench.sink if destination == "http" else f"{bench.url}/destination"
    if name == "dlt":
        origin = str(bench.folder / "live_parquet" / "customers.parquet")
        origin = f"{bench.url}/source" if source == "postgres" else origin
        state = str(bench.folder / f"dlt_{pair}")
        arguments = [str(programs / "python"), str(HERE / "peer_dlt.py"), source, origin]
        arguments += [f"customers_v{version}", destination, target, state]
        return arguments, {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "WARNING"}
    stream = ["--src-conn", "BENCH_FROM", "--src-stream", "public.customers"]
    place = ["--tgt-conn", "BENCH_TO", "--tgt-object", "public.sling"]
    arguments = [str(programs / "sling"), "run", *stream, *place, "--mode", "incremental", "--primary-key", "id"]
    return arguments, {
        "BENCH_FROM": f"{bench.url}/source?sslmode=disable",
        "BENCH_TO": f"{bench.url}/destination?sslmode=disable",
        "SLING_HOME_DIR": str(bench.folder / "sling"),
        "SLING_DISABLE_TELEMETRY": "TRUE",
    }


def held(name: str, bench: Bench, pair: str, day: str) -> str:
    """What the destination holds, or was sent, against what it should be."""
    if pair.endswith("-http"):
        told, wanted = counted(bench.sink, "reset"), expected(bench.rows)
        needed = {"first": bench.rows, "same": 0, "changed": wanted["changed"] + wanted["added"]}[day]
        gone = wanted["removed"] if day == "changed" else 0
        rows, removals = told["upserts"]["rows"], told["removals"]["rows"]
        return f"sent {rows:,} records where {needed:,} were new; removed {removals:,} of {gone:,}"
    table = "customers_dlt.customers" if name == "dlt" else "public.sling"
    parquet = str(bench.folder / f"v{2 if day == 'changed' else 1}.parquet")
    try:
        helper(bench.log, "check.py", parquet, f"{bench.url}/destination", table)
    except Wrong as error:
        return str(error).removeprefix("check.py: ")
    return "equal"


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the peers.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", choices=sorted(PACKAGES))
    arguments = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    log = RESULTS / f"{stamp}-peers.log"
    lines = [
        "## Peers",
        "",
        "| peer | pair | day | s | cpu s | peak MiB | at the destination |",
        "|---|---|---|---:|---:|---:|---|",
    ]
    records = []
    with ExitStack() as stack:
        sink = stack.enter_context(sink_running(log))
        url = stack.enter_context(postgres.server(DATA / "postgres"))
        bench = Bench(arguments.rows, sink, url, log)
        bench.prepare(["postgres-postgres"])
        for name, pair in CASES:
            if arguments.only not in (None, name):
                continue
            programs = environment(name, log)
            if programs is None:
                say(f"{name}: left out, because it did not install here ({log})")
                continue
            bench.forget_peer(name, pair)
            for day in DAYS:
                version = 2 if day == "changed" else 1
                bench.today("parquet", version)
                bench.today("postgres", version)
                bench.settle(pair.split("-")[1])
                words, variables = command(name, programs, bench, pair, version)
                os.environ.update(variables)
                found: Measurement = measured(words, log, cwd=bench.folder)
                note = (
                    held(name, bench, pair, day) if found.exit_code == 0 else f"exit code {found.exit_code}: see {log}"
                )
                say(f"{arguments.rows:>10,}  {pair:<18} {day:<8} {name:<7} {found.wall_seconds:>8.2f} s  {note}")
                lines.append(
                    f"| {name} | {pair} | {day} | {found.wall_seconds:.2f} | {found.cpu_seconds:.2f} |"
                    f" {found.peak_mib:.0f} | {note} |"
                )
                records.append(
                    {"rows": arguments.rows, "pair": pair, "day": day, "contender": name, "figures": asdict(found)}
                )
    text = "\n".join(lines) + "\n"
    with (RESULTS / f"{stamp}-peers.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    (RESULTS / f"{stamp}-peers.md").write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
