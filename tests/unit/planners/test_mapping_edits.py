"""Random edits of a mapping and of the model, against an oracle that computes every payload in plain Python."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.planner_bench import BOTH, PlannerBench, people
from levada.errors import ConfigError
from levada.mapping import FieldMapping, Mapping
from levada.planners.local import LocalPlanner

Row = tuple[str | None, int | None]
ORIGINS: dict[str, FieldMapping] = {
    "column": FieldMapping("", "column", "name"),
    "upper": FieldMapping("", "sql", "upper(name)"),
    "number": FieldMapping("", "column", "n"),
    "doubled": FieldMapping("", "sql", "n * 2"),
    "constant": FieldMapping("", "value", "", "fixed"),
}


def value_of(origin: str, row: Row) -> Any:
    """What a field of this origin holds: the oracle's own words, none of the engine's."""
    name, number = row
    match origin:
        case "column":
            return name
        case "upper":
            return None if name is None else name.upper()
        case "number":
            return number
        case "doubled":
            return None if number is None else number * 2
    return "fixed"


TEXTS = st.sampled_from(["column", "upper", "constant"])
NUMBERS = st.sampled_from(["number", "doubled"])
FIELDS = st.fixed_dictionaries({"a": TEXTS}, optional={"b": TEXTS, "c": NUMBERS, "d": NUMBERS})
ROWS = st.dictionaries(
    st.integers(1, 6), st.tuples(st.sampled_from([None, "x", "X", "y"]), st.sampled_from([None, 0, 7])), max_size=6
)


@settings(max_examples=15, deadline=None)
@given(steps=st.lists(st.tuples(FIELDS, ROWS), min_size=2, max_size=5))
@example(
    steps=[
        ({"a": "upper", "c": "number"}, {1: ("x", 7), 2: ("x", None)}),
        ({"a": "upper"}, {1: ("y", 7), 2: ("x", None)}),
        ({"a": "upper", "c": "number"}, {1: ("y", None), 2: ("x", None)}),
    ]
)
def test_only_rows_whose_payload_differs_are_planned(steps: list[tuple[dict[str, str], dict[int, Row]]]) -> None:
    """A field that was taken out is left as it is; one that comes back is sent where it may hold something else."""
    with tempfile.TemporaryDirectory() as folder:
        bench = PlannerBench(LocalPlanner(Path(folder) / "spool"), Path(folder))
        held: dict[int, dict[str, Any]] = {}
        unmapped: dict[int, set[str]] = {}
        for fields, rows in steps:
            payloads = {
                key: {name: value_of(origin, row) for name, origin in fields.items()} for key, row in rows.items()
            }
            changed = {
                key
                for key in payloads.keys() & held.keys()
                if unmapped[key] & fields.keys()
                or any(held[key].get(name) != value for name, value in payloads[key].items())
            }
            mapping = Mapping(
                tuple(
                    FieldMapping(name, ORIGINS[origin].kind, ORIGINS[origin].origin, ORIGINS[origin].constant)
                    for name, origin in fields.items()
                ),
                (),
            )
            planned = bench.run(people(*((key, *row) for key, row in rows.items())), mapping)
            assert set(planned.by_key("added")) == payloads.keys() - held.keys()
            assert set(planned.by_key("removed")) == held.keys() - payloads.keys()
            assert set(planned.by_key("changed")) == changed
            for kind in ("added", "changed"):
                for key, operation in planned.by_key(kind).items():
                    assert operation["after"] == payloads[key]
            unmapped = {
                key: (
                    {name for name, value in held.get(key, {}).items() if value is not None} | unmapped.get(key, set())
                )
                - fields.keys()
                for key in payloads
            }
            held = payloads


def test_another_key_is_another_sync(tmp_path: Path) -> None:
    """Nothing is planned from a ledger of other keys."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    bench.run(people((1, "a", 1)), BOTH)
    with pytest.raises(ConfigError) as caught:
        bench.plan(people((1, "a", 1)), BOTH, key=("name",))
    assert caught.value.code == "config.key_changed"
