"""Every store keeps the contract of `levada.store`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts import store_ledgers, store_runs
from contracts.stores import CHECKS, Check, StoreBench, name_of
from levada.stores.sqlite import SqliteStore


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StoreBench]:
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    bench = StoreBench(lambda clock: SqliteStore.open(tmp_path / "state", clock, environment=environment))
    yield bench
    bench.close()


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
def test_a_sqlite_store_keeps_its_contract(check: Check, bench: StoreBench) -> None:
    """Each check's own docstring says its promise."""
    check(bench)


def test_the_contract_has_all_its_checks() -> None:
    """The checks are gathered by their signature: none is left out unnoticed."""
    source = "".join(inspect.getsource(part) for part in (store_runs, store_ledgers))
    assert len(CHECKS) == source.count("(bench: StoreBench) -> None:") >= 40
