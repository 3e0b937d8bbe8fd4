"""What the docs say that each kind of destination can do, and a project of many syncs to hold it against.

A combination is mode, `nulls`, `removed` (None: not said) and whether a field is `only_if_empty`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import claims
from levada.change import Verb
from servers.answering import http_project

PAGE = Path(__file__).parents[1] / "docs" / "concepts" / "modes.md"
Combination = tuple[str, str, str | None, bool]
Row = tuple[int, str | None, str | None]

MODES = ("insert", "update", "upsert", "mirror", "append", "replace")
NULLS = ("clear", "skip")
REMOVED = (None, "ignore", "delete", "archive", "clear")
VERBS: tuple[Verb, ...] = ("upsert", "update", "create", "append", "delete", "archive")
"""What the tools of the tests can all do."""
FUNCTION = """
import json
from levada import destination

@destination(records_per_request=10, verbs=%r)
def keep(batch):
    with open("taken.jsonl", "a") as file:
        for record in batch.records:
            file.write(json.dumps([batch.object, batch.verb, batch.kind, record]) + "\\n")
"""
PER_RECORD = "limits: {concurrent_requests: 1, records_per_request: 1}\n"
KINDS: Mapping[str, str] = {
    "http": "type: http\nbase_url: URL\n" + PER_RECORD + "verbs: VERBS_OF_KIND\nobjects: {OBJECTS}\n",
    "http upsert only": "type: http\nbase_url: URL\n" + PER_RECORD + "verbs: VERBS_OF_KIND\nobjects: {OBJECTS}\n",
    "audience": "type: http\nbase_url: URL\n" + PER_RECORD + "verbs: VERBS_OF_KIND\nobjects: {OBJECTS}\n",
    "webhook": "type: webhook\nurl: URL/in\nsecret: abc\n",
    "csv": "type: files\npath: out\nformat: csv\n",
    "jsonl": "type: files\npath: out\nformat: jsonl\n",
    "parquet": "type: files\npath: out\nformat: parquet\n",
    "python": "type: python\nfunction: keep.py:keep\n",
    "sqlite": "type: sqlite\npath: to.sqlite\n",
    "duckdb": "type: duckdb\npath: to.duckdb\n",
    "postgres": "type: postgres\nurl: URL\n",
    "mysql": "type: mysql\nurl: URL\n",
}
DECLARED: Mapping[str, tuple[Verb, ...]] = {
    "http": VERBS,
    "http upsert only": ("upsert",),
    "audience": ("add", "remove"),
    "python": VERBS,
}
"""The verbs that the kinds declare in files of the project; those of others are the page's."""
TABLES = ("sqlite", "duckdb", "postgres", "mysql")
FILES = ("csv", "jsonl", "parquet")


def type_of(kind: str) -> str:
    """The `type:` of a kind of the tests, as the docs name it."""
    return KINDS[kind].partition("type: ")[2].partition("\n")[0]


def destination(kind: str, url: str, objects: Iterable[str]) -> str:
    """The destination's file. Each verb of a tool has a path of its own: `/upsert/OBJECT`."""
    text = KINDS[kind].replace("URL", url)
    declared = ", ".join(f"{verb}: {{send: 'POST /{verb}/{{object}}'}}" for verb in DECLARED.get(kind, ()))
    text = text.replace("VERBS_OF_KIND", "{" + declared + "}")
    return text.replace("{OBJECTS}", "{" + ", ".join(f"{name}: {{}}" for name in objects) + "}")


def project_of(folder: Path, kind: str, url: str, combinations: Sequence[Combination]) -> None:
    """A project with a sync `s0`, `s1` … for each, into an object `t0`, `t1` … of its own, from a table of SQLite."""
    http_project(folder, "", "", "")
    (folder / "syncs" / "s.yml").unlink()
    (folder / "sources" / "files.yml").write_text("type: sqlite\npath: from.sqlite\n")
    (folder / "keep.py").write_text(FUNCTION % (DECLARED["python"],))
    objects = [f"t{number}" for number in range(len(combinations))]
    (folder / "destinations" / "api.yml").write_text(destination(kind, url, objects))
    for number, each in enumerate(combinations):
        (folder / "syncs" / f"s{number}.yml").write_text(f"model: m\nto: api.t{number}\n{sync_of(*each)}\n")
    model(folder, [(1, "A", None)])


def model(folder: Path, rows: Sequence[Row]) -> None:
    """The model's rows from now on."""
    connection = sqlite3.connect(folder / "from.sqlite")
    connection.execute("DROP TABLE IF EXISTS m")
    connection.execute("CREATE TABLE m (id INTEGER PRIMARY KEY, name TEXT, town TEXT)")
    connection.executemany("INSERT INTO m VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()


def sync_of(mode: str, nulls: str, removed: str | None, only: bool) -> str:
    """A sync's file, without model and destination."""
    name = "{column: name, only_if_empty: true}" if only else "name"
    lines = [f"mode: {mode}", f"nulls: {nulls}", f"fields: {{id: id, name: {name}, town: town}}"]
    lines += [f"removed: {removed}"] if removed else []
    return "\n".join([*lines, "guard: {removed_max: none, changed_max: none, nulls_max: none}"])


def meaningless(mode: str, removed: str | None) -> bool:
    """Does the mode give `removed` no meaning, so that the file is refused as it is read?"""
    if removed is None:
        return False
    return mode in ("append", "replace") or (mode == "mirror" and removed not in ("delete", "archive"))


SMALL: Sequence[Combination] = (
    *((mode, "clear", None, False) for mode in MODES),
    *(("upsert", "clear", removed, False) for removed in REMOVED if removed is not None),
    *((mode, "skip", None, False) for mode in ("upsert", "append", "replace")),
    *((mode, "clear", None, True) for mode in ("upsert", "append", "replace")),
    ("insert", "clear", "archive", False),
    ("update", "skip", "clear", True),
    ("mirror", "skip", "archive", False),
)
"""Each word by itself, and some together."""


def combinations() -> list[Combination]:
    """All that can be written; in small, each word of each option."""
    every = product(MODES, NULLS, REMOVED, (False, True))
    found = [each for each in every if not meaningless(each[0], each[2])]
    return found if claims.campaign() or claims.full() else list(SMALL)


@dataclass(frozen=True)
class Abilities:
    """What a page says of a kind. `verbs` is empty where its file says them."""

    verbs: frozenset[str]
    replaces: bool
    skips_nulls: bool
    only_if_empty: bool


def tables() -> list[list[list[str]]]:
    """The tables of the page, as rows of cells, without their heads."""
    found: list[list[list[str]]] = []
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        inside = line.startswith("|")
    return [table[2:] for table in found]


def needs() -> dict[str, list[frozenset[str]]]:
    """For `mode: insert` and the like, the sets of verbs one of which the object needs."""
    _, rows, _ = tables()
    return {word.strip("`"): [frozenset(each.split(" and ")) for each in verbs.split(" or ")] for word, verbs in rows}


def abilities() -> dict[str, Abilities]:
    """By the destination's type."""
    *_, rows = tables()
    found = {}
    for name, verbs, *yes in rows:
        listed = frozenset() if verbs.startswith("as its") else frozenset(verbs.split(", "))
        replaces, skips, only = (word == "yes" for word in yes)
        found[re.findall(r"`(\w+)`", name)[0]] = Abilities(listed, replaces, skips, only)
    return found


def impossible(can: Abilities, verbs: frozenset[str], each: Combination) -> set[str]:
    """Which words of a combination cannot be, by the page; empty if it has its effect."""
    mode, nulls, removed, only = each
    wrong = set()
    if "add" in verbs:
        if mode not in ("insert", "upsert", "mirror"):
            wrong.add("mode")
        if removed not in (None, "ignore", "delete"):
            wrong.add("removed")
    else:
        if not (can.replaces if mode == "replace" else any(some <= verbs for some in needs()[f"mode: {mode}"])):
            wrong.add("mode")
        removal = removed or ("delete" if mode == "mirror" else "ignore")
        if removal != "ignore" and not any(some <= verbs for some in needs()[f"removed: {removal}"]):
            wrong.add("removed")
    if nulls == "skip" and (mode == "replace" or not can.skips_nulls):
        wrong.add("nulls")
    if only and (mode == "replace" or not can.only_if_empty):
        wrong.add("only_if_empty")
    return wrong
