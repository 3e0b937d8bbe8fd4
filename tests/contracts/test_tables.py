"""Every database among the destinations keeps the contract of `levada.destination.TableDestination`."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import table_effects, table_proofs, table_shapes, tables
from contracts.tables import Check, TableBench, name_of
from levada.destination import Surroundings, TableDestination
from levada.destinations import destination_type
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer, fresh_database

SUITES = (tables, table_shapes, table_effects, table_proofs)
CHECKS = tuple(check for suite in SUITES for check in suite.CHECKS)


def opener(kind: str, folder: Path, **address: str) -> Callable[..., TableDestination]:
    """Opens a destination of a kind with the options of a check."""

    def opened(**options: Any) -> TableDestination:
        found = destination_type(kind)
        assert found is not None
        destination = found.open("shop", found.options(**address, **options), Surroundings(folder))
        assert isinstance(destination, TableDestination)
        return destination

    return opened


def sqlite_bench(folder: Path) -> TableBench:
    sqlite3.connect(folder / "shop.db").close()

    def query(statement: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(folder / "shop.db", isolation_level=None)
        try:
            return connection.execute(statement).fetchall()
        finally:
            connection.close()

    def execute(statement: str) -> None:
        query(statement)

    def named() -> list[str]:
        return [str(row[0]) for row in query("SELECT name FROM sqlite_master WHERE type = 'table'")]

    return TableBench(opener("sqlite", folder, path="shop.db"), query, named, execute, _doubled('"'))


def duckdb_bench(folder: Path) -> TableBench:
    from levada.destinations.duckdb import SETTINGS
    from levada.sql.connection import connect

    def query(statement: str) -> list[tuple[Any, ...]]:
        with connect(folder / "shop.duckdb", **SETTINGS) as connection:
            found: list[tuple[Any, ...]] = connection.execute(statement).fetchall()
            return found

    def execute(statement: str) -> None:
        query(statement)

    def named() -> list[str]:
        return [str(row[0]) for row in query("SELECT table_name FROM duckdb_tables()")]

    query("SELECT 1")
    found = opener("duckdb", folder, path="shop.duckdb")
    return TableBench(found, query, named, execute, _doubled('"'), apart=False, identifies=False)


def postgres_bench(folder: Path, url: str) -> TableBench:
    import psycopg

    def query(statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def execute(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    def named() -> list[str]:
        return [str(row[0]) for row in query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]

    return TableBench(opener("postgres", folder, url=url), query, named, execute, _doubled('"'))


def emptied(url: str) -> str:
    """The same database without anything in it: faster than another one."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


def mysql_bench(folder: Path, url: str) -> TableBench:
    import pymysql

    from levada.database import read_url
    from levada.destinations.mysql import PARAMETERS

    parts = read_url(url, PARAMETERS, "destination.url")

    def query(statement: str) -> list[tuple[Any, ...]]:
        connection = pymysql.connect(
            host=parts.host, port=parts.port, user=parts.user, password=parts.password or "", charset="utf8mb4",
            database=parts.database, autocommit=True,
        )  # fmt: skip
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())

    def execute(statement: str) -> None:
        query(statement)

    def named() -> list[str]:
        return [str(row[0]) for row in query("SHOW TABLES")]

    return TableBench(opener("mysql", folder, url=url), query, named, execute, _doubled("`"), identifies=False)


def _doubled(mark: str) -> Callable[[str], str]:
    return lambda name: mark + name.replace(mark, mark * 2) + mark


@pytest.fixture(scope="module")
def shared_postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """One database for all checks."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "duckdb", "postgres", "mysql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TableBench]:
    """A bench over an empty database of each kind."""
    kind = str(request.param)
    if kind == "postgres":
        found = postgres_bench(tmp_path, emptied(request.getfixturevalue("shared_postgres_url")))
    elif kind == "mysql":
        server: MariadbServer = request.getfixturevalue("mariadb_server")
        with fresh_mariadb(server) as url:
            found = mysql_bench(tmp_path, url)
            yield found
            found.close()
        return
    else:
        found = (sqlite_bench if kind == "sqlite" else duckdb_bench)(tmp_path)
    yield found
    found.close()


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_a_database_keeps_its_contract(check: Check, bench: TableBench) -> None:
    """Each check's own docstring says its promise."""
    check(bench)


def test_the_contract_has_all_its_checks() -> None:
    """The checks are gathered by their signature: none is left out unnoticed."""
    sources = [Path(str(suite.__file__)).read_text(encoding="utf-8") for suite in SUITES]
    assert len(CHECKS) == sum(source.count("(bench: TableBench) -> None:") for source in sources) >= 45
