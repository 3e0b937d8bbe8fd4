"""The real `levada` in a process of its own, and small projects for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warm import Warm

TIMEOUT_SECONDS = 60
WARM = Warm(TIMEOUT_SECONDS)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: its exit code, what it printed as result, and its talk."""

    code: int
    out: str
    talk: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """This process's environment, without what would change how levada speaks."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEVADA_", "NO_COLOR"))}
    return {**kept, "COLUMNS": "100", **more}


def levada(folder: Path, *arguments: str, text: str | None = None, **variables: str) -> Ended:
    """Run `levada` in a folder, in a process of its own that is forked from a warm one, and wait for its end."""
    return Ended(*WARM.run(folder, arguments, environment(**variables), text))


def started(folder: Path, *arguments: str, text: str | None = None, **variables: str) -> Ended:
    """The same by `python -m levada`, which takes a second longer: where the start itself, what the machine's list of
    processes shows, or a variable that an interpreter reads as it starts (TZ) is part of what is shown."""
    done = subprocess.run(
        [sys.executable, "-m", "levada", *arguments],
        cwd=folder,
        env=environment(**variables),
        input=text,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their relative names."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def small_project(folder: Path, rows: int = 40, changes: Mapping[str, str] | None = None) -> Path:
    """A CSV file of customers and a SQLite file that mirrors them. `changes` replaces files: `{"sync": "…"}`."""
    names = {
        "settings": "levada.yml",
        "source": "sources/shop.yml",
        "model": "models/customers.sql",
        "destination": "destinations/crm.yml",
        "sync": "syncs/customers_to_crm.yml",
    }
    files = {
        "levada.yml": "name: acme\n",
        "sources/shop.yml": "type: files\npath: data\n",
        "models/customers.sql": "/*\nsource: shop\nkey: id\n*/\nselect id, email, score from customers\n",
        "destinations/crm.yml": "type: sqlite\npath: crm.db\ncreate_tables: true\n",
        "syncs/customers_to_crm.yml": "model: customers\nto: crm.contacts\nmode: mirror\n"
        "fields: {id: id, email: {column: email, apply: [normalize_email]}, score: score}\n",
        **{names[kind]: text for kind, text in (changes or {}).items()},
    }
    write(folder, files)
    write_customers(folder, rows)
    return folder


def write_customers(folder: Path, rows: int, *, changed: tuple[int, ...] = (), extra: str = "") -> None:
    """`data/customers.csv` with ids from 1; those in `changed` have another score."""
    lines = [f"{n},person{n}@example.com,{n * 10 + (n in changed)}" for n in range(1, rows + 1)]
    write(folder, {"data/customers.csv": "id,email,score\n" + "\n".join(lines) + "\n" + extra})
