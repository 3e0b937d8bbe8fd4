"""The renderer of record templates says what rendering one record at a time says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from levada.sql.connection import connect
from levada.sql.template import Columns, ColumnSql, template_sql
from levada.sql.text import quoted
from levada.sql.types import type_of
from levada.template import parse
from unit.sql.one_by_one import Sent, render

TEMPLATES: tuple[object, ...] = (
    "{fields}",
    "{fields_all}",
    {"id": "{a}", "properties": "{fields}", "tag": "x{{y}}"},
    {"inputs": ["{a}", "{b.c}", 1, None, True], "text": "<{a}|{b.c}|{n}>"},
    {"key": "{key}", "by": "{key_field}", "match": "{match}", "was": "{before}", "old": "{before.a}"},
    {"op": "{operation}", "verb": "{verb}/{kind}", "dest": "{destination_id}", "n": "{n}"},
    {"key": "{key}", "changed": "{fields_but_match}", "all": "{fields_all_but_match}"},
    {"quote's": 'a "b" \\ c\n', "all": "{b.c} as text"},
)
NAMES = ("a", "b.c", "b.d", "l[0]", "l[1].x", "n")

CONNECTION = connect(threads=1)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
values = st.fixed_dictionaries(
    {
        "a": st.none() | texts,
        "b.c": st.none() | st.integers(-(2**63), 2**63 - 1),
        "b.d": st.none() | st.decimals(-(10**10), 10**10, places=3, allow_nan=False),
        "l[0]": st.none() | st.booleans(),
        "l[1].x": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "n": st.none() | st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)).map(lambda d: d.replace(tzinfo=UTC)),  # noqa: DTZ001
    }
)
TYPES: dict[str, pa.DataType] = {
    "a": pa.string(),
    "b.c": pa.int64(),
    "b.d": pa.decimal128(18, 3),
    "l[0]": pa.bool_(),
    "l[1].x": pa.float64(),
    "n": pa.timestamp("us", "UTC"),
}
SCHEMA = pa.schema(TYPES)


def rendered(template: object, after: Mapping[str, Any], before: Mapping[str, Any] | None, *, skip: bool) -> str:
    """One record through DuckDB."""
    with CONNECTION.cursor() as connection:
        connection.register("after", pa.Table.from_pylist([dict(after)], SCHEMA))
        connection.register("earlier", pa.Table.from_pylist([dict(before or after)], SCHEMA))
        kinds = connection.sql("SELECT * FROM after").types
        types = {name: type_of(str(kind)) for name, kind in zip(SCHEMA.names, kinds, strict=True)}
        fields = {name: ColumnSql(f"x.{quoted(name)}", types[name]) for name in NAMES}
        earlier = {name: ColumnSql(f"y.{quoted(name)}", types[name]) for name in NAMES}
        changed = {name: f"(x.{quoted(name)} IS DISTINCT FROM y.{quoted(name)})" for name in NAMES}
        columns = Columns(
            fields=fields,
            match={"a": fields["a"]},
            before=earlier if before is not None else None,
            skip_nulls=skip,
            changed=changed if before is not None else None,
            operation="'op1'",
            batch={"kind": "added", "verb": "upsert", "object": "contacts", "sync": "s"},
        )
        sql = template_sql(parse(template), columns)
        found = connection.execute(f"SELECT {sql} FROM after AS x, earlier AS y").fetchone()
        assert found is not None
        return str(found[0])


@given(after=values, before=st.none() | values, skip=st.booleans(), template=st.sampled_from(TEMPLATES))
@settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
def test_both_renderers_give_the_same_json(
    after: dict[str, Any], before: dict[str, Any] | None, skip: bool, template: object
) -> None:
    """For any values, every kind of placeholder and both null policies, the JSON documents are equal."""
    sent = None if before is None else frozenset(name for name in NAMES if after[name] != before[name])
    record = Sent(
        fields={name: after[name] for name in NAMES},
        match={"a": after["a"]},
        sent=sent,
        before=before and {name: before[name] for name in NAMES},
        operation="op1",
        object="contacts",
        sync="s",
        nulls="skip" if skip else "clear",
    )
    expected = json.loads(render(parse(template), record), parse_float=Decimal)
    actual = json.loads(rendered(template, after, before, skip=skip), parse_float=Decimal)
    assert expected == actual


def test_python_values_of_the_same_types_agree() -> None:
    """Dates, times and binary are written alike by both renderers."""
    record = Sent(fields={"d": date(2024, 2, 29), "t": time(1, 2, 3), "b": b"ab"})
    assert render(parse("{fields_all}"), record) == '{"d":"2024-02-29","t":"01:02:03","b":"YWI="}'
