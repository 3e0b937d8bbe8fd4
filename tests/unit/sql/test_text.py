"""Each value has one form, inside of lists, structs and maps as outside."""

from __future__ import annotations

import json

import pytest

from levada.sql.connection import connect
from levada.sql.text import formless, json_of, text_of
from levada.sql.types import type_of

CONNECTION = connect(threads=1)
ALONE: tuple[tuple[str, str], ...] = (
    ("timestamptz '2024-01-01 00:00:00+02'", '"2023-12-31T22:00:00Z"'),
    ("timestamptz '2024-01-01 00:00:00.5+00'", '"2024-01-01T00:00:00.5Z"'),
    ("timestamp '2024-01-02 03:04:05'", '"2024-01-02T03:04:05"'),
    ("'2024-01-02 03:04:05'::timestamp_s", '"2024-01-02T03:04:05"'),
    ("'2024-01-02 03:04:05.12'::timestamp_ms", '"2024-01-02T03:04:05.12"'),
    ("'2020-01-01 00:00:00.123456789'::timestamp_ns", '"2020-01-01T00:00:00.123456789"'),
    ("date '2024-01-02'", '"2024-01-02"'),
    ("time '10:20:30.5'", '"10:20:30.5"'),
    ("timetz '12:00:00+02'", '"12:00:00+02"'),
    ("interval '14 months 3 days 4.5 seconds'", '"1 year 2 months 3 days 00:00:04.5"'),
    ("170141183460469231731687303715884105727::hugeint", "170141183460469231731687303715884105727"),
    ("18446744073709551615::ubigint", "18446744073709551615"),
    ("1.50::decimal(5,2)", "1.50"),
    ("-0.5::decimal(3,3)", "-0.500"),
    ("1.10000000000000000000::decimal(38,20)", "1.1"),
    ("100::decimal(38,20)", "100"),
    ("0.1::float", "0.1"),
    ("11.4::float", "11.4"),
    ("16777216::float", "16777216.0"),
    ("3.4e38::float", "3.4e+38"),
    ("1e-45::float", "1e-45"),
    ("0.1::double", "0.1"),
    ("5e-324::double", "5e-324"),
    ("1e22::double", "1e22"),
    ("'ab'::blob", '"YWI="'),
    ("uuid '00000000-0000-0000-0000-00000000000a'", '"00000000-0000-0000-0000-00000000000a"'),
    ("'it''s'::enum('it''s', 'b')", '"it\'s"'),
    ("'101'::bit", '"101"'),
    ("'{\"x\": [1, 2]}'::json", '{"x": [1, 2]}'),
    ("true", "true"),
    ("'é😀\u2028\"'", '"é😀\u2028\\""'),
    ("NULL", "null"),
    ("union_value(seen := timestamp '2024-01-01 00:00:00')", '"2024-01-01T00:00:00"'),
)
AROUND = ("[{}]", "{{'a \"b\"': {}, 'n': NULL}}", "[[{}], NULL]", "[{{'a': [{}]}}]", "map {{'k': {}}}", "row({}, 1)")
SHAPES = ("[{}]", '{{"a \\"b\\"":{},"n":null}}', "[[{}],null]", '[{{"a":[{}]}}]', '{{"k":{}}}', "[{},1]")


def shown(value: str, write: object = json_of) -> str:
    """The form of an SQL value."""
    assert callable(write)
    ((_, kind, *_),) = CONNECTION.execute(f"DESCRIBE SELECT {value} AS x").fetchall()
    expression = write("x", type_of(kind))
    ((found,),) = CONNECTION.execute(f"SELECT coalesce({expression}, 'null') FROM (SELECT {value} AS x)").fetchall()
    return str(found)


@pytest.mark.parametrize(("value", "expected"), ALONE)
def test_a_value_has_the_same_form_inside_as_outside(value: str, expected: str) -> None:
    """As JSON: alone, in lists, structs, maps and tuples, and two deep."""
    assert shown(value) == expected
    for around, shape in zip(AROUND, SHAPES, strict=True):
        found = shown(around.format(value))
        assert found == shape.format(expected)
        json.loads(found)


@pytest.mark.parametrize(("value", "expected"), [pair for pair in ALONE if pair[0] not in ("NULL",)])
def test_a_value_in_a_longer_text_is_its_json_without_quotes(value: str, expected: str) -> None:
    """Text is told as it is, and everything else with the letters of its JSON."""
    parsed = json.loads(expected)
    assert shown(value, text_of) == (parsed if isinstance(parsed, str) else expected)


def test_a_key_of_a_map_has_the_form_of_its_value() -> None:
    """Keys that are instants, reals or bytes."""
    assert shown("map {timestamptz '2024-01-01 00:00:00+02': 1}") == '{"2023-12-31T22:00:00Z":1}'
    assert shown("map {0.1::float: 1, 11.4::float: 2}") == '{"0.1":1,"11.4":2}'
    assert shown("map {'ab'::blob: timestamp '2024-01-01'}") == '{"YWI=":"2024-01-01T00:00:00"}'


@pytest.mark.parametrize(
    "value",
    [
        "'nan'::float", "'inf'::double", "'-inf'::float", "'infinity'::timestamp", "'-infinity'::timestamptz",
        "'infinity'::date", "'infinity'::timestamp_ns",
    ],
)  # fmt: skip
def test_what_has_no_form_is_found_at_any_depth(value: str) -> None:
    """NaN and the infinities of numbers and of dates; a value beside them that is as it should be is not."""
    for around in ("{}", *AROUND, "map {{{}: 1}}"):
        for inner, expected in ((value, "true"), (value.replace(value.split("::")[0], "NULL"), "false")):
            if around == "map {{{}: 1}}" and expected == "false":
                continue
            filled = around.format(inner)
            assert shown(filled, lambda name, kind: f"({formless(name, kind)})::VARCHAR") == expected, filled


def test_every_cursor_works_in_utc() -> None:
    """A cursor is a connection of its own: it has the zone of its database, not that of the machine."""
    with connect() as connection, connection.cursor() as cursor, cursor.cursor() as second:
        for each in (connection, cursor, second):
            assert each.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
