"""Keys that a database takes for equal and that are not: told by name, and none is ever written over another."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from levada import Project
from levada_process import write
from servers.mariadb import MariadbServer, fresh_mariadb
from values.matrix import GUARD
from values.witnesses import mysql_connection

PAIRS = (("A@x", "a@x"), ("a@x", "a@x "), ("é", "e\u0301"), ("é", "e"))
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Shop:
    """A destination with a table `people` of the user's own; `query` is an independent connection."""

    declaration: str
    create: str
    query: Callable[[str], Rows]


def mysql_shop(url: str, collation: str) -> Shop:
    def query(statement: str) -> Rows:
        with mysql_connection(url) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    query("DROP TABLE IF EXISTS people, _levada_marks")
    return Shop(
        f"type: mysql\nurl: {url}\n",
        f"CREATE TABLE people (k varchar(50) COLLATE {collation} PRIMARY KEY, v int)",
        query,
    )


def sqlite_shop(folder: Path, collation: str, index: str = "PRIMARY KEY") -> Shop:
    def query(statement: str) -> Rows:
        connection = sqlite3.connect(folder / "shop.db", isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    create = f"CREATE TABLE people (k TEXT COLLATE {collation} {index}, v INTEGER)"
    return Shop("type: sqlite\npath: shop.db\n", create, query)


def duckdb_shop(folder: Path, collation: str) -> Shop:
    def query(statement: str) -> Rows:
        with duckdb.connect(str(folder / "shop.duckdb")) as connection:
            return connection.execute(statement).fetchall()

    create = f"CREATE TABLE people (k VARCHAR COLLATE {collation} PRIMARY KEY, v INTEGER)"
    return Shop("type: duckdb\npath: shop.duckdb\n", create, query)


def postgres_shop(url: str, kind: str) -> Shop:
    def query(statement: str) -> Rows:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    query("DROP TABLE IF EXISTS people, _levada_marks")
    return Shop(f"type: postgres\nurl: {url}\n", f"CREATE TABLE people (k {kind} PRIMARY KEY, v int)", query)


class Story:
    """A project whose model is given anew for each run; after each, the table is held against what was said."""

    def __init__(self, folder: Path, shop: Shop) -> None:
        self.folder, self.shop = folder, shop
        shop.query(shop.create)
        sync = f"model: people\nto: shop.people\nmode: mirror\n{GUARD}fields: all\n"
        write(
            folder,
            {
                "levada.yml": "name: keys\n",
                "sources/warehouse.yml": "type: duckdb\npath: warehouse.duckdb\n",
                "models/people.sql": "/*\nsource: warehouse\nkey: k\n*/\nselect * from people\n",
                "destinations/shop.yml": shop.declaration,
                "syncs/people.yml": sync,
            },
        )

    def run(self, project: Project, rows: dict[str, int]) -> None:
        """One run. Each row is in the table just so, or its record was refused; and nothing else is there."""
        with duckdb.connect(str(self.folder / "warehouse.duckdb")) as connection:
            connection.execute("CREATE OR REPLACE TABLE people (k VARCHAR, v INTEGER)")
            connection.executemany("INSERT INTO people VALUES (?, ?)", list(rows.items()))
        done = project.run("people")
        assert done.status in ("succeeded", "partial"), done
        refused = {}
        if done.plan_id:
            refused = {r.key: f"{r.field} {r.reason}" for r in project.records("people") if r.outcome != "delivered"}
        padded = "character" in self.shop.create
        found = self.shop.query("SELECT k, v FROM people")
        held = {key.rstrip(" ") if padded else key: value for key, value in found}
        assert len(held) == len(found)
        for key, value in rows.items():
            if key in refused:
                assert "k" in refused[key].split(" ")[0] or " k " in refused[key] or "(k)" in refused[key], refused[key]
            else:
                assert held.get(key) == value, (key, value, held, refused)
        # of a refused record only an older value of its own may be there
        assert set(held) <= set(rows), (rows, held)


def tell(folder: Path, shop: Shop) -> None:
    """Both keys of a pair come at once, or one after the other; they change; one leaves and the other stays."""
    story = Story(folder, shop)
    pairs = [(f"{number}-{one}", f"{number}-{other}") for number, (one, other) in enumerate(PAIRS)]
    together = [(f"t{one}", f"t{other}") for one, other in pairs]
    everything = [*pairs, *together]
    with Project.open(folder) as project:
        story.run(project, {one: 1 for one, _ in pairs})
        for step in (2, 4):
            ones = {one: step for one, _ in everything}
            story.run(project, ones | {other: step + 1 for _, other in everything})
        story.run(project, {other: 5 for _, other in everything})


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_sqlite_never_writes_one_key_over_another(tmp_path: Path, collation: str) -> None:
    """A collation that passes over case or trailing spaces: both stay, or one is refused, in every order of runs."""
    tell(tmp_path, sqlite_shop(tmp_path, collation))


def test_without_an_index_equal_keys_live_side_by_side(tmp_path: Path) -> None:
    """Where no index forbids it both are there, and a change or removal of one leaves the other alone."""
    shop = sqlite_shop(tmp_path, "NOCASE", index="")
    tell(tmp_path, shop)
    assert len(shop.query("SELECT * FROM people")) == 2 * len(PAIRS)


@pytest.mark.parametrize("collation", ["NOCASE", "NOACCENT"])
def test_duckdb_never_writes_one_key_over_another(tmp_path: Path, collation: str) -> None:
    """As above; accents too."""
    tell(tmp_path, duckdb_shop(tmp_path, collation))


@pytest.mark.needs("mariadb")
def test_mariadb_never_writes_one_key_over_another(tmp_path: Path, mariadb_server: MariadbServer) -> None:
    """Its usual collation, and the binary one, which still passes over trailing spaces."""
    with fresh_mariadb(mariadb_server) as url:
        for collation in ("utf8mb4_general_ci", "utf8mb4_bin"):
            (tmp_path / collation).mkdir()
            tell(tmp_path / collation, mysql_shop(url, collation))


@pytest.mark.needs("postgres")
def test_postgresql_never_writes_one_key_over_another(tmp_path: Path, postgres_url: str) -> None:
    """`character(n)` loses trailing spaces: text that ends with one is invalid there."""
    tell(tmp_path, postgres_shop(postgres_url, "character(20)"))
