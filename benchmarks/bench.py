"""Measure Levada against the floor: `python bench.py --rows 1000000`. What the figures mean: README.md beside this.

Every case runs as a whole process, the floor and Levada in turn, and is believed only if the destination holds
exactly the model afterwards. This process imports nothing heavy: what it holds would count into its children's peak.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import postgres
from measure import Measurement, measured
from project import SYNC, forget, write_project
from report import Result, tables

HERE = Path(__file__).resolve().parent
DATA, RESULTS = HERE / "data", HERE / "results"
PYTHON = sys.executable
LEVADA = Path(sys.executable).parent / "levada"
PAIRS = ("parquet-http", "duckdb-postgres", "postgres-postgres", "postgres-http")
DAYS = ("first", "same", "changed")
START_UP_ROWS = 100
START_UP_REPEATS = 5


class Wrong(Exception):
    """A run failed, or left a destination that is not the model."""


@dataclass
class Bench:
    """What all cases share. `url` is empty where no pair needs PostgreSQL."""

    rows: int
    sink: str
    url: str
    log: Path
    levada: str = str(LEVADA)
    results: list[Result] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return DATA / str(self.rows)

    def prepare(self, pairs: list[str]) -> None:
        """Make the data, and load it where it is needed."""
        helper(self.log, "generate.py", str(self.rows), str(self.folder))
        if any(pair.startswith("postgres-") for pair in pairs):
            data = (self.folder / "v2.parquet").stat()
            mark = f"{self.folder} {data.st_size} {data.st_mtime_ns}"
            asked = "select obj_description(to_regclass('customers_v2'))"
            if postgres.run_sql(f"{self.url}/source", asked)[0][0] != mark:
                helper(self.log, "load.py", str(self.folder), f"{self.url}/source")
                postgres.run_sql(f"{self.url}/source", f"comment on table customers_v2 is '{mark}'")

    def today(self, kind: str, version: int) -> str:
        """Let the source hold this version; returns where it is, in the words of floor.py."""
        if kind == "postgres":
            postgres.run_sql(
                f"{self.url}/source",
                f"create or replace view customers as select * from customers_v{version}",
            )
            return f"{self.url}/source"
        name = {"parquet": "customers.parquet", "duckdb": "shop.duckdb"}[kind]
        live = self.folder / f"live_{kind}" / name
        live.parent.mkdir(exist_ok=True)
        partial = live.with_suffix(".partial")
        partial.unlink(missing_ok=True)
        os.link(self.folder / f"v{version}{live.suffix}", partial)
        partial.replace(live)
        # the file's time is what tells a reader that it is another one
        os.utime(live)
        return str(live)

    def forget_peer(self, name: str, pair: str) -> None:
        """What a peer remembers, and what it wrote."""
        shutil.rmtree(self.folder / f"{name}_{pair}", ignore_errors=True)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        url = f"{self.url}/destination"
        postgres.run_sql(url, "drop schema if exists customers_dlt cascade")
        postgres.run_sql(url, "drop schema if exists customers_dlt_staging cascade")
        postgres.run_sql(url, "drop table if exists public.sling")

    def settle(self, destination: str) -> None:
        """Leave no work of an earlier case to a later one."""
        if self.url:
            postgres.run_sql(f"{self.url}/postgres", "checkpoint")
        if destination == "http":
            counted(self.sink, "reset")


@dataclass
class Contender:
    """The floor or Levada, for one pair."""

    bench: Bench
    name: str
    source: str
    destination: str

    @property
    def folder(self) -> Path:
        return self.bench.folder / f"{self.name}_{self.source}_{self.destination}"

    def reset(self) -> None:
        """Nothing was ever sent."""
        source = self.bench.today(self.source, 1)
        if self.destination == "postgres":
            url = f"{self.bench.url}/destination"
            postgres.run_sql(url, f"drop table if exists {self.name}")
            if self.name == "levada":
                ours = "select format('drop table %s', oid::regclass) from pg_class where relkind = 'r' and "
                for (statement,) in postgres.run_sql(url, ours + "relname like '%levada%'"):
                    postgres.run_sql(url, str(statement))
        if self.name == "floor":
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        target = self.bench.sink if self.destination == "http" else f"{self.bench.url}/destination"
        where = str(Path(source).parent) if self.source == "parquet" else source
        write_project(self.folder, (self.source, where), (self.destination, target))
        forget(self.folder)

    def run(self, day: str, repeat: int) -> Result:
        """One run, measured and checked. Raises Wrong if it failed or the destination is not the model."""
        source = self.bench.today(self.source, 2 if day == "changed" else 1)
        self.bench.settle(self.destination)
        if self.name == "floor":
            target = self.bench.sink if self.destination == "http" else f"{self.bench.url}/destination"
            command = [PYTHON, str(HERE / "floor.py"), f"{self.source}:{source}", f"{self.destination}:{target}"]
            found = measured([*command, "--state", str(self.folder)], self.bench.log)
        else:
            found = measured([self.bench.levada, "run", SYNC, "--json"], self.bench.log, cwd=self.folder)
        pair = f"{self.source}-{self.destination}"
        if found.exit_code:
            raise Wrong(f"{self.name} {pair} {day}: exit code {found.exit_code}; see {self.bench.log}")
        requests = self._check(day)
        return Result(self.bench.rows, pair, day, self.name, repeat, requests, asdict(found))

    def _check(self, day: str) -> int:
        """Is the destination the model? Returns the requests that it took (0 for tables)."""
        version = 2 if day == "changed" else 1
        if self.destination == "postgres":
            parquet, url = str(self.bench.folder / f"v{version}.parquet"), f"{self.bench.url}/destination"
            helper(self.bench.log, "check.py", parquet, url, self.name)
            return 0
        told, wanted = counted(self.bench.sink, "reset"), expected(self.bench.rows)
        upserts, removals = told["upserts"], told["removals"]
        should = {
            "first": (self.bench.rows, wanted["first_sum"], 0, 0),
            "same": (0, 0, 0, 0),
            "changed": (
                wanted["changed"] + wanted["added"],
                wanted["upserted_sum"],
                wanted["removed"],
                wanted["removed_sum"],
            ),
        }[day]
        was = (upserts["rows"], upserts["ids"], removals["rows"], removals["ids"])
        if was != should:
            raise Wrong(f"{self.name} {self.source}-http {day}: the sink was sent {was}, not {should}")
        return upserts["requests"] + removals["requests"]


def expected(rows: int) -> dict[str, int]:
    """See generate.expected, which this process may not import: it would bring DuckDB."""
    new = rows // 1000
    changed, removed, added = range(37, rows + 1, 100), range(500, rows + 1, 1000), range(rows + 1, rows + new + 1)
    return {
        "changed": len(changed),
        "removed": len(removed),
        "added": len(added),
        "upserted_sum": sum(changed) + sum(added),
        "removed_sum": sum(removed),
        "first_sum": rows * (rows + 1) // 2,
    }


def helper(log: Path, script: str, *arguments: str) -> None:
    """Run one of the scripts beside this in a process of its own."""
    done = subprocess.run([PYTHON, str(HERE / script), *arguments], capture_output=True, text=True, check=False)
    with log.open("a", encoding="utf-8") as file:
        file.write(f"\n$ {script} {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    if done.returncode:
        raise Wrong(f"{script}: {(done.stdout + done.stderr).strip().splitlines()[-1]}")


@contextmanager
def sink_running(log: Path) -> Iterator[str]:
    """The counting sink, in C where a compiler is; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    command = [PYTHON, str(HERE / "sink.py"), port]
    if compiler:
        program = DATA / "sink"
        subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "sink.c")], check=True)
        command = [str(program), port]
    say(f"sink: {'sink.c' if compiler else 'sink.py (no C compiler found; it is slower)'}")
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=output)
    try:
        assert child.stdout is not None
        if child.stdout.readline() != b"ready\n":
            raise Wrong(f"the sink did not start; see {log}")
        yield f"http://127.0.0.1:{port}"
    finally:
        child.terminate()
        child.wait(10)


def counted(sink: str, what: str) -> dict[str, dict[str, int]]:
    with urllib.request.urlopen(f"{sink}/{what}", timeout=10) as answer:  # noqa: S310 -- our own sink
        told: dict[str, dict[str, int]] = json.load(answer)
        return told


def start_up(bench: Bench) -> list[Result]:
    """`levada --help`, and runs of a sync of 100 rows."""
    found = []
    for repeat in range(START_UP_REPEATS):
        helped = measured([bench.levada, "--help"], bench.log)
        found.append(Result(0, "start-up", "help", "levada", repeat, 0, asdict(helped)))
    small = Bench(START_UP_ROWS, bench.sink, bench.url, bench.log, bench.levada)
    small.prepare(["parquet-http"])
    contender = Contender(small, "levada", "parquet", "http")
    for repeat in range(START_UP_REPEATS):
        contender.reset()
        found += [contender.run(day, repeat) for day in ("first", "same")]
    return found


def measure_pair(bench: Bench, pair: str, contenders: list[str], repeats: int) -> None:
    """All days of one pair, in turn, so that what disturbs the machine disturbs both."""
    source, destination = pair.split("-")
    for repeat in range(repeats):
        order = contenders if repeat % 2 == 0 else contenders[::-1]
        rivals = [Contender(bench, name, source, destination) for name in order]
        for rival in rivals:
            rival.reset()
        for day in DAYS:
            for rival in rivals:
                result = rival.run(day, repeat)
                bench.results.append(result)
                figures = Measurement(**result.figures)  # type: ignore[arg-type]
                say(
                    f"{bench.rows:>10,}  {pair:<18} {day:<8} {rival.name:<7}"
                    f" {figures.wall_seconds:>8.2f} s {figures.peak_mib:>7.0f} MiB"
                )


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure Levada against the floor.")
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--repeat", type=int, default=3, help="rounds; the table shows medians")
    parser.add_argument("--only", choices=("floor", "levada"), help="measure one of the two, without ratios")
    parser.add_argument("--no-start-up", action="store_true")
    parser.add_argument("--levada", default=str(LEVADA), help="another levada to measure, such as an older one")
    arguments = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    RESULTS.mkdir(exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    log = RESULTS / f"{stamp}.log"
    contenders = [arguments.only] if arguments.only else ["floor", "levada"]
    results: list[Result] = []
    wrong: list[str] = []
    with ExitStack() as stack:
        sink = stack.enter_context(sink_running(log))
        needed = any("postgres" in pair for pair in arguments.pairs)
        url = stack.enter_context(postgres.server(DATA / "postgres")) if needed else ""
        for rows in arguments.rows:
            bench = Bench(rows, sink, url, log, arguments.levada)
            bench.prepare(arguments.pairs)
            for pair in arguments.pairs:
                try:
                    measure_pair(bench, pair, contenders, arguments.repeat)
                except Wrong as error:
                    wrong.append(str(error))
                    say(f"WRONG: {error}")
            results += bench.results
        if "levada" in contenders and not arguments.no_start_up:
            try:
                results += start_up(Bench(START_UP_ROWS, sink, url, log, arguments.levada))
            except Wrong as error:
                wrong.append(str(error))
                say(f"WRONG: {error}")
    with (RESULTS / f"{stamp}.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(result)) + "\n" for result in results)
    text = tables(results, wrong)
    (RESULTS / f"{stamp}.md").write_text(text, encoding="utf-8")
    print(text)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
