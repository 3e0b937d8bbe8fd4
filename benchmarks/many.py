"""Measure what many small syncs cost: `python many.py --syncs 100 300 1000`. The figures: README.md beside this.

Processor time, not wall time: it varies less on a machine that does something else as well. Every run is believed only
if the destination holds the model afterwards. Ends by itself when it is stopped, with whatever it started.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import statistics
import sys
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from measure import measured

HERE = Path(__file__).resolve().parent
DATA = HERE / "data" / "many"
LEVADA = Path(sys.executable).parent / "levada"
FLOOR = [sys.executable, "-c", "import duckdb, pyarrow, pydantic"]
TOUCHED = 5
"""So many rows of a sync are changed where a few are."""
WARM_RUNS = 15


class Wrong(Exception):
    """A command failed, or left a destination that is not the model."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: processor time of a whole process, or of one run in a process that goes on."""

    syncs: int
    rows: int
    what: str
    cpu_seconds: float
    floor_seconds: float

    def line(self) -> str:
        cpu, each = f"{self.cpu_seconds:.2f} s", f"{self.cpu_seconds / self.syncs * 1000:.0f} ms"
        ratio = f"{self.cpu_seconds / self.floor_seconds:.1f}"
        return f"| {self.syncs:,} | {self.rows} | {self.what} | {cpu} | {each} | {ratio} |"


class ManySyncs:
    """A project of equal syncs, SQLite to SQLite: a table of its own for each, on both sides."""

    def __init__(self, syncs: int, rows: int) -> None:
        self.syncs, self.rows = syncs, rows
        self.folder = DATA / f"{syncs}x{rows}"
        self.log = self.folder / "log"
        self.names = [f"sync_{number:04}" for number in range(syncs)]

    def write(self) -> None:
        """Write the project and its source, without any state."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("sources", "models", "destinations", "syncs"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "levada.yml").write_text("name: many\n", encoding="utf-8")
        (self.folder / "sources/shop.yml").write_text("type: sqlite\npath: shop.sqlite\n", encoding="utf-8")
        (self.folder / "destinations/crm.yml").write_text(
            "type: sqlite\npath: crm.sqlite\ncreate_tables: true\n", encoding="utf-8"
        )
        columns = "(id integer primary key, email text, tier text, amount real)"
        with closing(sqlite3.connect(self.folder / "shop.sqlite")) as shop, shop:
            for name in self.names:
                shop.execute(f"CREATE TABLE {name} {columns}")
                rows = ((row, f"{row}@example.com", "gold", row / 4) for row in range(1, self.rows + 1))
                shop.executemany(f"INSERT INTO {name} VALUES (?, ?, ?, ?)", rows)
        sqlite3.connect(self.folder / "crm.sqlite").close()
        for name in self.names:
            model = f"source: shop\ntable: {name}\nkey: id\n"
            sync = f"model: {name}\nto: crm.{name}\nmode: mirror\nmatch: {{id: id}}\nfields: all\n"
            (self.folder / f"models/{name}.yml").write_text(model, encoding="utf-8")
            (self.folder / f"syncs/{name}.yml").write_text(sync, encoding="utf-8")

    def touch(self, round_: int) -> None:
        """Change a few rows of every sync."""
        with closing(sqlite3.connect(self.folder / "shop.sqlite")) as shop, shop:
            for name in self.names:
                shop.execute(f"UPDATE {name} SET tier = ? WHERE id <= ?", (f"tier {round_}", TOUCHED))

    def command(self, *words: str) -> float:
        """One command of Levada as a whole process: its processor time."""
        found = measured([str(LEVADA), *words], self.log, cwd=self.folder)
        if found.exit_code:
            raise Wrong(f"levada {' '.join(words)}, {self.syncs} syncs: exit code {found.exit_code}; see {self.log}")
        return found.cpu_seconds

    def verify(self) -> None:
        with closing(sqlite3.connect(self.folder / "crm.sqlite")) as crm:
            crm.execute("ATTACH ? AS shop", (str(self.folder / "shop.sqlite"),))
            for name in self.names:
                values = "SELECT id, email, tier, amount FROM"
                both = f"{values} shop.{name} EXCEPT {values} main.{name}"
                (count,) = crm.execute(f"SELECT count(*) FROM main.{name}").fetchone()
                if count != self.rows or crm.execute(both).fetchall():
                    raise Wrong(f"{name} of {self.syncs} is not the model")

    def warm(self) -> dict[str, float]:
        """Runs of one sync in a process that goes on: the median of their processor times, in seconds."""
        script = [sys.executable, str(Path(__file__).resolve()), "--warm", str(self.syncs), str(self.rows)]
        found = measured(script, self.log, cwd=self.folder)
        if found.exit_code:
            raise Wrong(f"runs in one process: exit code {found.exit_code}; see {self.log}")
        told: dict[str, float] = json.loads((self.folder / "warm.json").read_text(encoding="utf-8"))
        return told


def floor_seconds() -> float:
    """The processor time of a process that imports what Levada stands on, and does nothing."""
    DATA.mkdir(parents=True, exist_ok=True)
    return statistics.median(measured(FLOOR, DATA / "log").cpu_seconds for _ in range(5))


def run_warm(project: ManySyncs) -> None:
    """In the process that goes on: one project, opened once."""
    from levada.runner.project import Project

    def spent(name: str) -> float:
        before = os.times()
        assert opened.run(name).status == "succeeded"
        after = os.times()
        return after.user + after.system - before.user - before.system

    with Project.open(project.folder) as opened:
        name = project.names[0]
        spent(name)
        same = [spent(name) for _ in range(WARM_RUNS)]
        few = []
        for number in range(WARM_RUNS):
            project.touch(number)
            few.append(spent(name))
    medians = {"same": statistics.median(same), "few": statistics.median(few)}
    (project.folder / "warm.json").write_text(json.dumps(medians), encoding="utf-8")


def small(repeats: int) -> list[Figure]:
    """One sync of 100 rows."""
    project = ManySyncs(1, 100)
    project.write()
    project.command("run")
    floors, same, few = [], [], []
    for number in range(repeats):
        floors.append(floor_seconds())
        same.append(project.command("run"))
        project.touch(100 + number)
        few.append(project.command("run"))
        project.verify()
    floor = statistics.median(floors)
    told = project.warm()
    project.verify()
    found = {
        "`run`, nothing changed": statistics.median(same),
        f"`run`, {TOUCHED} rows changed": statistics.median(few),
        "again in one process, nothing changed": told["same"],
        f"again in one process, {TOUCHED} rows changed": told["few"],
    }
    return [Figure(1, 100, what, seconds, floor) for what, seconds in found.items()]


def many(syncs: int) -> list[Figure]:
    """So many syncs of 10 rows each."""
    project = ManySyncs(syncs, 10)
    project.write()
    floor = floor_seconds()
    found = {"`check`": project.command("check"), "`run`, the first": project.command("run")}
    project.verify()
    found |= {"`status`": project.command("status"), "`run`, nothing changed": project.command("run")}
    project.touch(1)
    found[f"`run`, {TOUCHED} rows of each changed"] = project.command("run")
    project.verify()
    return [Figure(syncs, 10, what, seconds, floor) for what, seconds in found.items()]


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what many small syncs cost.")
    parser.add_argument("--syncs", type=int, nargs="*", default=[100, 300, 1000])
    parser.add_argument("--repeat", type=int, default=5, help="rounds of the single sync; the table shows medians")
    parser.add_argument("--warm", type=int, nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.warm:
        run_warm(ManySyncs(*arguments.warm))
        return 0
    for each in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda number, _frame: sys.exit(128 + number))
    print("| syncs | rows of each | what | cpu | per sync | ratio to the floor |")
    print("|---:|---:|---|---:|---:|---:|", flush=True)
    try:
        for make in (partial(small, arguments.repeat), *(partial(many, each) for each in arguments.syncs)):
            for figure in make():
                print(figure.line(), flush=True)
    except Wrong as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
