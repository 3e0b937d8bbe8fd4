"""Reading YAML: values, positions, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from levada.declaration import yaml
from levada.declaration.yaml import parse, plain_scalar
from levada.errors import ConfigError, Where


def test_every_key_and_value_knows_its_place() -> None:
    """Lines and columns count from 1, in block and flow style, in lists, and behind non-ASCII text."""
    text = "a: 1\nfields:\n  é: {column: x, apply: [trim, lower]}\n  b:\n    - ü: 1\n"
    positions = parse(text, "f.yml").positions
    assert positions.at("a") == Where("f.yml", 1, 4)
    assert positions.key("fields") == Where("f.yml", 2, 1)
    assert positions.at("fields", "é", "column") == Where("f.yml", 3, 15)
    assert positions.key("fields", "é", "apply") == Where("f.yml", 3, 18)
    assert positions.at("fields", "é", "apply", 1) == Where("f.yml", 3, 32)
    assert positions.at("fields", "b", 0, "ü") == Where("f.yml", 5, 10)


def test_a_path_that_is_not_there_has_its_nearest_ancestors_place() -> None:
    """Callers may ask for the place of a default without knowing that it is one."""
    positions = parse("fields:\n  tier: gold\n", "f.yml").positions
    assert positions.at("fields", "tier", "column") == Where("f.yml", 2, 9)
    assert positions.at("nulls") == Where("f.yml", 1, 1)
    assert parse("", "f.yml").positions.at("x") == Where("f.yml")


def test_positions_are_shifted_for_a_text_inside_a_file() -> None:
    """The first line begins at a column of its own."""
    positions = parse("a: 1\nb: 2\n", "m.sql", line=3, column=4).positions
    assert positions.key("a") == Where("m.sql", 3, 4)
    assert positions.key("b") == Where("m.sql", 4, 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False),
        ("no", "no"), ("on", "on"), ("12:30", "12:30"), ("2026-11-20", "2026-11-20"), ("NO", "NO"),
        ("5", 5), ("-5", -5), ("+5", 5), ("0", 0), ("007", "007"), ("1_000", "1_000"), ("0x1F", 31), ("0o17", 15),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("0.1", 0.1), (".5", 0.5), ("1e3", 1000.0), ("1.", 1.0), ("00.5", "00.5"),
        (".inf", math.inf), ("-.inf", -math.inf),
        ("-", "-"), (".", "."), ("10%", "10%"), ("1.2.3", "1.2.3"), ("+351 210 000 000", "+351 210 000 000"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_read_by_yaml_1_2(text: str, value: Any) -> None:
    """Countries, times and identifiers stay text."""
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_block_text_and_an_exclamation_mark_keep_text() -> None:
    """Only plain scalars are anything else than text."""
    assert parse("a: '5'\nb: \"true\"\nc: |\n  12\nd: ! 7\n", "f").value == {
        "a": "5",
        "b": "true",
        "c": "12\n",
        "d": "7",
    }


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_that_python_writes_is_read_back_the_same(number: float) -> None:
    """What is exact is not refused."""
    assert plain_scalar(repr(number)) == number


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_number_is_kept_exactly_or_refused(number: Any) -> None:
    """No digit is lost in silence."""
    text = format(number, "f")
    try:
        found = plain_scalar(text)
    except OverflowError:
        return
    assert found == text or (isinstance(found, int | float) and type(number)(repr(found)) == number)


def test_aliases_stand_for_what_they_name() -> None:
    """A few aliases are fine; an alias has its own place."""
    document = parse("a: &x {b: [1]}\nc: *x\n", "f.yml")
    assert document.value == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert document.positions.at("c", "b", 0) == Where("f.yml", 2, 4)


def _bomb() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "code", "place", "message"),
    [
        ("a: 1\na: 2", "config.duplicate_key", "f.yml:2:1", "the key `a` stands twice"),
        ("x: {a: 1, a: 2}", "config.duplicate_key", "f.yml:1:11", "the key `a` stands twice"),
        ("a: !!python/object/apply:os.system [ls]", "config.yaml", "f.yml:1:4",
         "the tag !!python/object/apply:os.system is not allowed"),
        ("a: !env X", "config.yaml", "f.yml:1:4", "the tag !env is not allowed"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "config.yaml", "f.yml:3:3", "merge keys (<<) are not supported"),
        ("? [a]\n: 1", "config.yaml", "f.yml:1:3", "a key must be text"),
        ("a: 1\n---\nb: 1", "config.yaml", "f.yml:2:1", "a file holds one document"),
        ("a: *b", "config.yaml", "f.yml:1:4", "the alias *b names nothing that is complete before it"),
        ("a: &a [*a]", "config.yaml", "f.yml:1:8", "the alias *a names nothing that is complete before it"),
        ("a: 1e999", "config.yaml", "f.yml:1:4", "1e999 cannot be kept exactly as a number"),
        ("a: 0.1234567890123456789", "config.yaml", "f.yml:1:4",
         "0.1234567890123456789 cannot be kept exactly as a number"),
        ("a: b: c", "config.yaml", "f.yml:1:5", "this is not YAML: mapping values are not allowed in this context"),
        ("a: \x07", "config.yaml", "f.yml:1:4", "this is not YAML: control characters are not allowed"),
        ("[" * 500_000, "config.yaml_limit", "f.yml:1:42", "the file nests deeper than 40 levels"),
        ("[" * 400_000 + "]" * 400_000, "config.yaml_limit", "f.yml:1:42", "the file nests deeper than 40 levels"),
        ("a: " + "x" * 1_000_000, "config.yaml_limit", "f.yml", "the file has more than 1,000,000 characters"),
        ("[" + "1," * 100_001 + "]", "config.yaml_limit", "f.yml:1:200000",
         "the file has more than 100,000 keys and values"),
        (_bomb(), "config.yaml_limit", "f.yml:6:", "the file's aliases stand for more than 100,000 keys and values"),
        ("a: &a 1\nb: [" + "*a ," * 101 + "]", "config.yaml_limit", "f.yml:2:405",
         "the file has more than 100 aliases"),
    ],
)  # fmt: skip
def test_what_is_not_taken_is_named_with_its_place(text: str, code: str, place: str, message: str) -> None:
    """Bombs end at a limit, and each refusal says what stands where."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "f.yml")
    assert caught.value.code == code
    assert caught.value.message == message
    assert str(caught.value.where).startswith(place)
    assert caught.value.hint


@given(st.text(max_size=200))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    """No text raises anything else, and a place is always inside the file's lines or just behind them."""
    try:
        where = parse(text, "f.yml").positions.at()
    except ConfigError as error:
        where = error.where or Where("nowhere", -1)
    assert 0 <= where.line <= len(text.splitlines()) + 2


def test_an_empty_file_is_an_empty_mapping_and_a_list_is_none() -> None:
    """`mapping` is what files are read through."""
    assert yaml.mapping(parse("# nothing\n", "f.yml")) == {}
    with pytest.raises(ConfigError, match=r"f\.yml:1:1: the file must be a mapping"):
        yaml.mapping(parse("- a", "f.yml"))
