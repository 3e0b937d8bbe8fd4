"""The facts of declared keys: what errors, pages, lists of options and schemas say is the same, and is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from levada.declaration.keys import alternatives, keys_of
from levada.declaration.validation import validate
from levada.declaration.yaml import mapping, parse
from levada.destinations import destination_type, destination_types
from levada.destinations.language import Connector
from levada.model import ONE_OR_MORE, OR_NONE, Declaration, Model, Name, Shorthand, Takes
from levada.project.settings import Settings
from levada.runner.schema import schemas
from levada.sources import source_type, source_types
from levada.sync import Sync

EXAMPLE = Path(__file__).parents[3] / "examples" / "connectors" / "acme_erp.yml"


class Point(Declaration):
    x: int
    """How far right."""


class Call(Shorthand):
    bare = "path"

    path: Annotated[str, Field(pattern="^/"), Takes("a path such as `/a`", "begin it with /")]
    """Where to. Never empty."""


class Thing(Declaration):
    """One of everything."""

    name: Name
    """What it is called: `a`, for one. For people."""
    kind: Literal["a", "b", True] = "a"
    """Which."""
    size: int | float | None = None
    """How much."""
    points: tuple[Point, ...] = ()
    """Places."""
    sizes: dict[str, int] = Field(default_factory=dict)
    """More."""
    words: Annotated[tuple[str, ...], ONE_OR_MORE] = ("x", "y")
    """One or several."""
    call: Annotated[Call | None, OR_NONE] = None
    """What is asked."""
    anything: dict[str, Any] | bool = False
    """Whatever."""
    class_: str = Field(default="z", alias="class")
    """By its name in the file."""


def test_a_key_has_its_name_words_default_and_meaning() -> None:
    """By the name that stands in files; a default that is a mapping, or nothing, is none."""
    assert [(key.name, key.takes, key.required, key.default) for key in keys_of(Thing)] == [
        ("name", "a name", True, None),
        ("kind", "`a`, `b` or `true`", False, "a"),
        ("size", "a number", False, None),
        ("points", "a list of mappings", False, None),
        ("sizes", "a mapping to whole numbers", False, None),
        ("words", "text or a list of text", False, ("x", "y")),
        ("call", "a path such as `/a`, a mapping or `none`", False, None),
        ("anything", "a mapping or true or false", False, False),
        ("class", "text", False, "z"),
    ]
    name = keys_of(Thing)[0]
    assert (name.meaning, name.brief) == (
        "What it is called: `a`, for one. For people.",
        "What it is called: `a`, for one",
    )


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("name: [a]", "`name` must be a name", "letters, digits, _ and -, beginning with a letter or _"),
        ("kind: c", "`kind` must be one of a, b, true, not c", "`kind`: Which"),
        ("size: big", "`size` must be a number, not big", "`size`: How much"),
        ("points: [3]", "`points[0]` must be a mapping, not 3", "`points`: Places"),
        ("sizes: {a: b}", "`a` must be a whole number, not b", None),
        ("words: {a: b}", "`words` must be text or a list of text", "`words`: One or several"),
        ("words: [a, [b]]", "`words[1]` must be text", "`words`: One or several"),
        ("call: a", "`call` must be a path such as `/a`, a mapping or `none`, not a", "begin it with /"),
        ("call: [a]", "`call` must be a path such as `/a`, a mapping or `none`", "begin it with /"),
        ("call: {path: a}", "`path` must be a path such as `/a`, not a", "begin it with /"),
        ("call: {}", "the key `path` is missing", "add `path:` (where to)"),
        ("anything: 3", "`anything` must be a mapping or true or false, not 3", "`anything`: Whatever"),
    ],
)
def test_an_error_says_what_the_key_takes(line: str, message: str, hint: str | None) -> None:
    """In the words of the page and of the list of options, with what helps."""
    document = parse(f"name: a\n{line}\n" if not line.startswith("name") else line, "f.yml")
    _, (error,) = validate(Thing, mapping(document), document.positions)
    assert (error.message, error.hint) == (message, hint)


def _declared() -> list[type[BaseModel]]:
    """Every class that declares what a file may hold, those inside others included."""
    kinds = [*map(source_type, source_types()), *map(destination_type, destination_types())]
    outer = [Settings, Model, Sync, Connector, *(kind.options for kind in kinds if kind is not None)]
    return list(dict.fromkeys(inner for cls in outer for inner in _inner(cls, set())))


def _inner(annotation: Any, seen: set[Any]) -> Iterator[type[BaseModel]]:
    for each in alternatives(annotation):
        if isinstance(each, type) and issubclass(each, BaseModel) and each not in seen:
            seen.add(each)
            yield each
            for field in each.model_fields.values():
                yield from _inner(field.annotation, seen)
        for argument in getattr(each, "__args__", ()):
            if not isinstance(argument, str | int):
                yield from _inner(argument, seen)


def test_every_declared_key_has_words_and_a_meaning() -> None:
    """There is no annotation that the words do not know, and no key without a docstring."""
    classes = _declared()
    assert len(classes) > 40
    assert [
        (cls.__name__, key.name) for cls in classes for key in keys_of(cls) if not key.takes or not key.meaning
    ] == []


def test_no_class_takes_a_shape_that_its_annotations_do_not_tell() -> None:
    """Shorthands are declared (`Shorthand`, ONE_OR_MORE, OR_NONE), so that pages, errors and schemas know them; only
    `statuses` turns numbers that are keys into text, which they are in JSON."""
    turned = {
        f"{cls.__name__}.{name}"
        for cls in _declared()
        for kind in ("field_validators", "model_validators")
        for name, decorator in getattr(cls.__pydantic_decorators__, kind).items()
        if decorator.info.mode == "before"
    }
    assert {name.partition(".")[2] for name in turned} == {"_as_text", "_written_out"}


def test_the_schema_of_connectors_takes_the_example() -> None:
    """Shorthands included; what the reader refuses, it refuses."""
    validator = Draft202012Validator(schemas("connector")["connector"])
    value = mapping(parse(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name))
    assert [error.message for error in validator.iter_errors(value)] == []
    assert not validator.is_valid({**value, "auth": 5})
    assert not validator.is_valid({**value, "check": "me"})
