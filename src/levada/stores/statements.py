"""The store's SQL, read from the files in `queries` and `schema`.

A statement is found as `<file>.<name>`; in a file it starts with a line `-- name: <name>`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_MARK = "-- name: "


@cache
def statements() -> Mapping[str, str]:
    """All named statements."""
    found: dict[str, str] = {}
    for file in (files("levada.stores") / "queries").iterdir():
        if not file.name.endswith(".sql"):
            continue
        for part in file.read_text(encoding="utf-8").split(_MARK)[1:]:
            name, _, text = part.partition("\n")
            lines = (line for line in text.splitlines() if not line.startswith("--"))
            found[f"{file.name[:-4]}.{name.strip()}"] = "\n".join(lines).strip()
    return found


def sql(name: str) -> str:
    return statements()[name]


@cache
def migrations() -> tuple[tuple[str, ...], ...]:
    """The statements of each migration, in order: the first makes schema version 1, and so on."""
    found = sorted((files("levada.stores") / "schema").iterdir(), key=lambda file: file.name)
    return tuple(split(file.read_text(encoding="utf-8")) for file in found if file.name.endswith(".sql"))


def split(script: str) -> tuple[str, ...]:
    """The single statements of a script. (`executescript` would commit on its own.)"""
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        if not pending and (not line.strip() or line.startswith("--")):
            continue
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending.strip())
            pending = ""
    assert not pending.strip(), f"a statement without its end: {pending!r}"
    return tuple(found)
