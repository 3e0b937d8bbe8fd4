"""Batches made by hand are what delivery would make of the same records, rendered by what renders what is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pytest

from levada.batch import Batch
from levada.destinations.example import example_batch
from levada.template import parse


def batch(record: Mapping[str, Any], template: object = "{fields_all}", **more: Any) -> Batch:
    given = {"object_name": "contacts", "verb": "upsert", "match": ("email",), **more}
    return example_batch([record], template=parse(template), **given)


def rendered(record: Mapping[str, Any], template: object = "{fields_all}", **more: Any) -> Any:
    made = batch(record, template, **more)
    assert made.rendered is not None
    return json.loads(made.rendered[0].as_py(), parse_float=Decimal)


ADA = {"email": "ada@example.com", "points": 12, "address.city": None, "address.zip": "9000"}
BEFORE = [{"email": "old@example.com", "points": 11}]


def test_fields_are_those_that_changed_and_the_match_fields() -> None:
    """`{fields}` sends only what changed, with what finds the record; `{fields_all}` everything, nested."""
    changed = {"changed": ["points"], "before": BEFORE}
    assert rendered(ADA, "{fields}", **changed) == {"email": "ada@example.com", "points": 12}
    assert rendered(ADA, "{fields_all}", **changed) == {
        "email": "ada@example.com",
        "points": 12,
        "address": {"city": None, "zip": "9000"},
    }


def test_the_match_value_is_the_one_last_confirmed() -> None:
    """A record whose match field changes is found by its old value and given the new one; what is not said of the time
    before is as it is now."""
    words = ["{key}", "{key_field}", "{match}", "{email}", "{before.points}", "{before.address.zip}", "{kind}"]
    assert rendered(ADA, words, before=BEFORE) == [
        "old@example.com",
        "email",
        {"email": "old@example.com"},
        "ada@example.com",
        11,
        "9000",
        "changed",
    ]
    made = batch(ADA, before=BEFORE)
    assert made.previous is not None
    assert made.previous.to_pylist() == [{"email": "old@example.com"}]
    assert rendered(ADA, ["{key}", "{before}"]) == ["ada@example.com", None]


def test_a_new_value_stands_for_one_that_was_never_confirmed() -> None:
    """A record that had no match value is found by its new one."""
    assert rendered(ADA, "{match}", before=[{"email": None}]) == {"email": "ada@example.com"}


def test_nulls_are_left_out_under_skip_and_sent_under_clear() -> None:
    """`nulls: skip` leaves a NULL field out, as a member of its own too; an object left empty goes with it."""
    record = {"a": None, "b": 1, "c.d": None}
    template = {"x": "{fields_all}", "a": "{a}", "b": "{b}"}
    assert rendered(record, template, nulls="skip", match=("b",)) == {"x": {"b": 1}, "b": 1}
    clear = {"x": {"a": None, "b": 1, "c": {"d": None}}, "a": None, "b": 1}
    assert rendered(record, template, match=("b",)) == clear


def test_an_array_is_sent_whole_or_not_at_all() -> None:
    """An array cannot be patched: if one of its fields changed, all of it is sent, NULLs and gaps included."""
    record = {"phones[0].number": "1", "phones[2].number": None, "name": "x"}
    first = {"changed": ["phones[0].number"], "nulls": "skip", "match": ()}
    assert rendered(record, "{fields}", **first) == {"phones": [{"number": "1"}, None, {"number": None}]}
    assert rendered(record, "{fields}", changed=["name"], match=()) == {"name": "x"}


def test_a_removal_that_empties_its_record_sends_only_what_finds_it() -> None:
    """`removed: clear`: every field but those of `match` is sent as NULL, whatever `nulls` says."""
    made = batch(ADA, verb="update", kind="removed", nulls="skip")
    assert made.table.to_pylist() == [{"email": "ada@example.com", **dict.fromkeys(list(ADA)[1:])}]
    assert rendered(ADA, verb="update", kind="removed", nulls="skip") == {
        "email": "ada@example.com",
        "points": None,
        "address": {"city": None, "zip": None},
    }
    assert rendered(ADA, "{match}", verb="delete", before=BEFORE) == {"email": "old@example.com"}


def test_values_are_sent_exactly() -> None:
    """Also those that no column of a database could hold."""
    values = {
        "decimal": Decimal("12345678901234567890123456789012345.678"),
        "wide": Decimal("1" * 50),
        "integer": 2**70,
        "float": 0.1,
        "instant": datetime(2026, 1, 2, 3, 4, 5, 120000, UTC),
        "local": datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - a local time has none
        "date": date(1, 1, 1),
        "time": time(3, 4),
        "binary": b"\x00\xff",
        "json": '{"a":\n[1.10]}',
        "list": [1, None, {"x": "y"}],
        "none": None,
    }
    made = batch(values, embedded=frozenset({"json"}), match=())
    assert made.rendered is not None
    assert made.rendered[0].as_py() == (
        '{"decimal":12345678901234567890123456789012345.678,"wide":' + "1" * 50 + ","
        '"integer":1180591620717411303424,"float":0.1,"instant":"2026-01-02T03:04:05.12Z",'
        '"local":"2026-01-02T03:04:05","date":"0001-01-01","time":"03:04:00","binary":"AP8=",'
        '"json":{"a": [1.10]},"list":[1,null,{"x":"y"}],"none":null}'
    )
    mixed = example_batch([{"a": "x"}, {"a": 1}], object_name="o", verb="upsert", match=("a",), template=parse("{a}"))
    assert mixed.rendered is not None
    assert mixed.rendered.to_pylist() == ['"x"', '"1"']


@pytest.mark.parametrize("value", [float("nan"), Decimal("Infinity"), [float("inf")]])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """NaN and the infinities are no values of a case."""
    with pytest.raises(ValueError, match="JSON has no"):
        batch({"email": "a", "x": value})


@pytest.mark.parametrize("word", ["{nme}", "{match.nme}", "{before.nme}"])
def test_a_field_that_no_record_has_is_named(word: str) -> None:
    """So that the case can say which."""
    with pytest.raises(KeyError, match="nme"):
        batch(ADA, word, before=BEFORE)
    with pytest.raises(KeyError, match="other"):
        batch(ADA, "{key}", match=("other",))
