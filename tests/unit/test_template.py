"""Record templates: parsing, and rendering in Python."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.errors import ConfigError
from levada.template import (
    Constant,
    Embedded,
    Names,
    Placeholder,
    Record,
    Text,
    as_text,
    field_steps,
    field_tree,
    json_text,
    parse,
    parse_text,
    render,
)


def rendered(template: object, record: Record) -> Any:
    return json.loads(render(parse(template), record), parse_float=Decimal)


ADA = Record(
    fields={"email": "ada@example.com", "points": 12, "address.city": None, "address.zip": "9000"},
    match={"email": "old@example.com"},
    destination_id="42",
    others={"records": Embedded("[1]")},
)


def test_a_placeholder_alone_keeps_the_type_and_in_a_text_becomes_text() -> None:
    """`"{points}"` is the number 12; `"p{points}"` is the text p12."""
    assert rendered({"n": "{points}", "t": "p{points}/{email}", "b": "{{x}}", "c": 1.5}, ADA) == {
        "n": 12,
        "t": "p12/ada@example.com",
        "b": "{x}",
        "c": Decimal("1.5"),
    }


def test_groups_are_objects_and_words_of_the_caller_stand_as_they_are() -> None:
    """Fields as the tree that their names make, the match fields by their own values, and what a body is put around."""
    fields = {"email": "ada@example.com", "points": 12, "address": {"city": None, "zip": "9000"}}
    names = Names(others=frozenset({"records"}))
    template = parse(["{fields}", "{match}", "{key_field}", "{key}", "{destination_id}", "{records}"], names)
    found = json.loads(render(template, ADA))
    assert found == [fields, {"email": "old@example.com"}, "email", "old@example.com", "42", [1]]


def test_values_are_exact() -> None:
    """Every digit of a number, instants in UTC, dates as dates, binary in base64, JSON as it is."""
    values = {
        "decimal": Decimal("12345678901234567890123456789012345.678"),
        "zeros": Decimal("10.00"),
        "tiny": Decimal("1E-10"),
        "integer": 2**70,
        "float": 0.1,
        "instant": datetime(2026, 1, 2, 3, 4, 5, 120000, timezone(timedelta(hours=2))),
        "local": datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - a local time has none
        "date": date(1, 1, 1),
        "time": time(3, 4),
        "binary": b"\x00\xff",
        "uuid": UUID(int=1),
        "json": Embedded('{"a":\n[1.10]}'),
        "list": [1, None, {"x": date(2026, 1, 1)}],
    }
    assert json_text(values) == (
        '{"decimal":12345678901234567890123456789012345.678,"zeros":10.00,"tiny":0.0000000001,'
        '"integer":1180591620717411303424,"float":0.1,"instant":"2026-01-02T01:04:05.12Z",'
        '"local":"2026-01-02T03:04:05","date":"0001-01-01","time":"03:04:00","binary":"AP8=",'
        '"uuid":"00000000-0000-0000-0000-000000000001","json":{"a": [1.10]},"list":[1,null,{"x":"2026-01-01"}]}'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN"), [float("-inf")]])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    """NaN and the infinities never become a document."""
    with pytest.raises(ValueError, match="JSON has no"):
        json_text(value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{emial}", "did you mean {email}"),
        ("{", "unpaired"),
        ("a}", "unpaired"),
        ({"{email}": 1}, "placeholder in the name"),
        ({"a": float("nan")}, "no JSON value"),
        ({1: 2}, "cannot be the name"),
        ("{match.}", "unknown placeholder"),
    ],
)
def test_a_wrong_template_is_refused_with_a_hint(template: object, words: str) -> None:
    """Unknown placeholders, unpaired braces and non-JSON values are configuration errors."""
    with pytest.raises(ConfigError) as error:
        parse(template, Names(fields=frozenset({"email"})))
    assert words in str(error.value)


def test_a_template_nested_too_deep_is_refused() -> None:
    """A limit on everything: 32 levels."""
    deep: object = 1
    for _ in range(40):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested deeper"):
        parse(deep)


def test_constants_stand_for_their_value() -> None:
    """A connector's own names are put in when the template is read."""
    names = Names(constants={"path": "contacts", "n": 3})
    assert parse_text("/{path}/{id}", names) == Text(("/", "contacts", "/", Placeholder("fields", "id")))
    assert parse_text("{n}", names) == Constant(3)
    assert parse_text("{path}s", names) == Constant("contactss")


def test_names_of_fields_are_paths() -> None:
    """Dots and indexes make the tree; what lies inside another field is refused."""
    assert field_steps("phones[0].number") == ("phones", 0, "number")
    for names in (["a", "a.b"], ["a.b", "a"], ["a[0]", "a.b"], ["a..b"], ["[0]"], ["a[x]"], ["a", "a"], [""]):
        with pytest.raises(ConfigError):
            field_tree(names)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_every_value_comes_back_exactly(value: object) -> None:
    """What is rendered parses to the same value: no digit lost, no text changed."""
    try:
        text = json_text(value).encode()
    except UnicodeEncodeError:
        return
    assert json.loads(text, parse_float=Decimal) == value


@given(st.text())
def test_any_text_is_data_and_never_a_template(value: str) -> None:
    """A value with braces stays as it is."""
    record = Record(fields={"name": value})
    assert json.loads(render(parse("<{name}>"), record)) == f"<{value}>"


def test_texts_of_values() -> None:
    """What stands in URLs, forms and cells."""
    assert [as_text(v) for v in (None, True, 5, Decimal("1.50"), datetime(2026, 1, 1, tzinfo=UTC), [1])] == [
        "",
        "true",
        "5",
        "1.50",
        "2026-01-01T00:00:00Z",
        "[1]",
    ]
