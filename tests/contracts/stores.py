"""The contract of a store as checks, to be run over every implementation:

    @pytest.mark.parametrize("check", CHECKS, ids=name_of)
    def test_a_store_keeps_its_contract(check, tmp_path):
        check(StoreBench(lambda clock: MyStore.open(tmp_path, clock)))

Each check gets a bench with an empty store. What is not here: what only one implementation has (its files,
its way of being damaged).
"""

from __future__ import annotations

from types import ModuleType

from contracts import store_ledgers, store_runs
from contracts.store_bench import Check, StoreBench, name_of

__all__ = ["CHECKS", "Check", "StoreBench", "name_of"]


def _checks(module: ModuleType) -> list[Check]:
    """The functions of a module that take a bench and return nothing."""
    return [
        value
        for value in vars(module).values()
        if getattr(value, "__module__", "") == module.__name__
        and getattr(value, "__annotations__", {}) == {"bench": "StoreBench", "return": "None"}
    ]


CHECKS: tuple[Check, ...] = (*_checks(store_runs), *_checks(store_ledgers))
