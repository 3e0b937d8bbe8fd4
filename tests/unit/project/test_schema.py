"""The JSON Schemas agree with the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field

from levada.declaration.validation import validate
from levada.declaration.yaml import Positions, parse
from levada.model import ONE_OR_MORE, OR_NONE, Declaration, Shorthand
from levada.project.schema import DIALECT, schemas
from unit.project.folders import DESTINATIONS, GOOD, SOURCES
from unit.project.test_files import INTERFACE

SCHEMAS = schemas(SOURCES, DESTINATIONS)


def _problems(kind: str, text: str) -> list[str]:
    validator = Draft202012Validator(SCHEMAS[kind])
    return [error.message for error in validator.iter_errors(parse(text, "f.yml").value)]


@pytest.mark.parametrize("kind", ["project", "source", "model", "destination", "sync"])
def test_each_schema_is_one(kind: str) -> None:
    """Of draft 2020-12, and every key in it says what it is for."""
    schema = SCHEMAS[kind]
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == DIALECT
    assert _undescribed(schema, kind) == []


def _undescribed(schema: Any, path: str) -> list[str]:
    found: list[str] = []
    if isinstance(schema, dict):
        for name, prop in schema.get("properties", {}).items():
            if not {"description", "$ref", "enum"} & set(prop):
                found.append(f"{path}.{name}")
        for key, item in schema.items():
            found += _undescribed(item, f"{path}.{key}")
    elif isinstance(schema, list):
        for index, item in enumerate(schema):
            found += _undescribed(item, f"{path}[{index}]")
    return found


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sync", INTERFACE["syncs/customers_to_crm.yml"]),
        ("sync", "model: a\nto: b.c\nfields: all\nschedule: none\nguard: {removed_max: 5, rows_min: '${MIN}'}\n"),
        ("sync", "model: a\nto: b.c\nfields: {x: {value: null}}\nschedule: {after: [a]}\n"),
        ("source", INTERFACE["sources/warehouse.yml"]),
        ("source", "type: warehouse\nurl: x\nssl: ${SSL}\ndescription: d\ntags: [a]\n"),
        ("destination", INTERFACE["destinations/crm.yml"]),
        ("destination", "type: tool\nauth: {username: a, password: b}\n"),
        ("model", "source: shop\nkey: id\ntable: t\ncolumns: {a: {personal: email}}\n"),
        ("model", "source: shop\nkey: [a, b]\nquery: select 1\n"),
        ("project", GOOD["levada.yml"]),
        ("project", "defaults: {guard: {removed_max: 5%}, schedule: {every: 1h}}\nplanner: {threads: 2}\n"),
    ],
)
def test_a_schema_takes_what_the_reader_takes(kind: str, text: str) -> None:
    """Shorthands and references included."""
    assert _problems(kind, text) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sync", "model: a\nto: b\n"),
        ("sync", "model: a\nto: b.c\nremove: x\n"),
        ("sync", "to: b.c\n"),
        ("sync", "model: a\nto: b.c\nfields: {x: 5}\n"),
        ("sync", "model: a\nto: b.c\nfields: {x: {column: a, sql: b}}\n"),
        ("sync", "model: a\nto: b.c\nschedule: {every: 1h, cron: x}\n"),
        ("sync", "model: a\nto: b.c\nguard: {rows_min: many}\n"),
        ("source", "type: nothing\nurl: x\n"),
        ("source", "url: x\n"),
        ("source", "type: warehouse\nurl: x\nurll: y\n"),
        ("destination", "type: tool\nauth: {bearrer: x}\n"),
        ("model", "source: shop\nkey: id\ntable: t\nquery: q\n"),
        ("model", "source: shop\nkey: []\ntable: t\n"),
        ("project", "name: x\nnam: y\n"),
    ],
)
def test_a_schema_refuses_what_the_reader_refuses(kind: str, text: str) -> None:
    """So that an editor shows it before `check` does."""
    assert _problems(kind, text)


def test_a_schema_without_types_still_names_the_common_keys(tmp_path: Path) -> None:
    """For whoever asks before any type is known."""
    assert set(schemas({}, {})["source"]["properties"]) == {"type", "description", "tags"}


class Call(Shorthand):
    bare = "path"

    path: Annotated[str, Field(pattern="^/")]
    """Where to."""
    again: bool = True
    """Once more?"""


class ShorthandOptions(Declaration):
    """Options that take shorthands."""

    url: str = Field(pattern="^https?://")
    """Where."""
    call: Annotated[Call | None, OR_NONE] = None
    """A mapping, a path alone, or `none`."""
    match: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """By what: a list, or one."""


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("type: x\nurl: https://x\n", True),
        ("type: x\nurl: ${URL}\ncall: /a\nmatch: email\n", True),
        ("type: x\nurl: https://x\ncall: {path: /a, again: false}\nmatch: [a, b]\n", True),
        ("type: x\nurl: https://x\ncall: none\n", True),
        ("type: x\nurl: ftp://x\n", False),
        ("type: x\nurl: https://x\ncall: {pth: /a}\n", False),
        ("type: x\nurl: https://x\ncall: a\n", False),
        ("type: x\nurl: https://x\ncall: [/a]\n", False),
        ("type: x\nurl: https://x\nmatch: 5\n", False),
        ("type: x\nurl: https://x\nmatch: [{a: b}]\n", False),
    ],
)
def test_shorthands_of_options_are_taken_and_checked_like_their_long_forms(text: str, right: bool) -> None:
    """An editor marks what the reader refuses, and nothing else."""
    schema = schemas({}, {"x": ShorthandOptions})["destination"]
    Draft202012Validator.check_schema(schema)
    value = parse(text, "f.yml").value
    assert Draft202012Validator(schema).is_valid(value) is right
    if "${" not in text:
        found, _ = validate(
            ShorthandOptions, {key: item for key, item in value.items() if key != "type"}, Positions("")
        )
        assert (found is not None) is right
