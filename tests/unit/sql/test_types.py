"""The names of DuckDB's types are read back as what they mean."""

from __future__ import annotations

import pytest

from levada.sql.connection import connect
from levada.sql.types import Type, changed, type_of

CONNECTION = connect(threads=1)


@pytest.mark.parametrize(
    "value",
    [
        "1", "[1]", "[1]::int[1]", "[[NULL]]", "{'a': 1}", "{'a b': {'c\"d': [1.5]}, 'select': 2}", "row(1, 'a')",
        "map {'a': {'b': 1}}", "union_value(a := 1)", "'a'::enum('a', 'it''s, (b]')", "['x'::enum('x]', 'y)')]",
        "timestamptz '2024-01-01 00:00:00+00'", "'1'::json", "{'e': 'q'::enum('q', '\"')}",
    ],
)  # fmt: skip
def test_a_type_keeps_its_name_and_shape(value: str) -> None:
    """What is put together again from its parts is a type of the same name, and names are read as DuckDB means them."""
    ((_, name, *_),) = CONNECTION.execute(f"DESCRIBE SELECT {value} AS x").fetchall()
    kind = type_of(name)
    assert kind.name == name
    again = changed(kind, lambda leaf: leaf)
    assert again.name == name.replace("[1]", "[]")
    CONNECTION.execute(f"SELECT CAST(NULL AS {again.name})")


def test_members_and_sizes_are_told() -> None:
    """The members of a struct, and digits and places of a decimal."""
    kind = type_of('STRUCT("a ""b" DECIMAL(10,2)[], "select" MAP(VARCHAR, DATE))')
    assert kind.names == ('a "b', "select")
    assert [leaf.name for leaf in kind.leaves()] == ["DECIMAL(10,2)", "VARCHAR", "DATE"]
    assert kind.parts[0].parts[0].decimal == (10, 2)
    assert kind.parts[1] == Type("MAP", "MAP(VARCHAR, DATE)", (type_of("VARCHAR"), type_of("DATE")))
