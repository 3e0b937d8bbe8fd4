"""Fixtures that all tests share. Servers start when the first test asks for them, once per test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import claims
from components import require
from servers.mariadb import MariadbServer
from servers.postgres import PostgresServer, fresh_database

pytest.register_assert_rewrite("contracts")

# no test is about time: a machine that is busy makes none fail
settings.register_profile("levada", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("levada")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with a test that is given more time begin first, so that the processes of tests end together."""
    longest: dict[Path, float] = {}
    for item in items:
        given = max((marker.args[0] for marker in item.iter_markers("timeout")), default=0)
        longest[item.path] = max(given, longest.get(item.path, 0))
    items.sort(key=lambda item: -longest[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("needs"):
        for component in marker.args:
            require(component)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The running PostgreSQL of this test process."""
    require("postgres")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty database of the real PostgreSQL: `postgresql://user:password@127.0.0.1:port/name`."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariadbServer]:
    """The running MariaDB of this test process."""
    require("mariadb")
    with MariadbServer() as server:
        yield server


@pytest.fixture
def figure() -> claims.Figure:
    """Says what a test measured of a claim: see `claims`."""
    return claims.note
