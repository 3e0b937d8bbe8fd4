"""The facts of the keys that a class declares: what each takes, whether it must be there, and what it is for.

Errors, reference pages, lists of options and forms read them here, so that they say the same. The words come from the
annotations and docstrings of the class; where an annotation does not say enough, it holds `levada.model.Takes`.
"""

from __future__ import annotations

import json
import operator
import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from levada.declaration.yaml import KeyPath
from levada.meaning import meaning_of
from levada.model import OneOrMore, OrNone, Shorthand, Takes

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "any value",
}


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """One key, as errors, pages, lists and forms show it.

    `takes`: words that follow `must be`. `default`: None where there is none and where it is a mapping.
    """

    name: str
    takes: str
    required: bool
    default: Any
    meaning: str

    @property
    def brief(self) -> str:
        """The first sentence of its meaning, without the full stop."""
        return re.split(r"(?<=[^.])\.(?:\s|$)", self.meaning, maxsplit=1)[0].rstrip(".")

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "takes": self.takes,
            "required": self.required,
            "default": self.default,
            "description": self.meaning,
        }


def keys_of(cls: type[BaseModel]) -> tuple[KeyFacts, ...]:
    """The keys that a class takes in a file, in the order of its fields."""
    return tuple(
        _facts(name, field, field.description or meaning_of(cls, name)) for name, field in cls.model_fields.items()
    )


def _facts(name: str, field: FieldInfo, meaning: str) -> KeyFacts:
    return KeyFacts(field.alias or name, words(_whole(field)), field.is_required(), _default(field), one_line(meaning))


def one_line(text: str | None) -> str:
    """A docstring on one line."""
    return " ".join((text or "").split())


def words(*annotations: Any) -> str:
    """What may stand where these annotations are, as words that follow `must be`."""
    found = dict.fromkeys(word for annotation in annotations for word in _words(annotation))
    if _WORDS[float] in found:
        found.pop(_WORDS[int], None)
    return either(found)


def either(options: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def plain(value: Any) -> str:
    """A value as YAML writes it, without quotes."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def alternatives(annotation: Any) -> list[Any]:
    """The types that an annotation allows in a file: unions and shorthands taken apart, None left out."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *marks = arguments
        if any(isinstance(mark, Takes) for mark in marks):
            return [annotation]
        if any(isinstance(mark, OneOrMore) for mark in marks):
            return [*alternatives(get_args(inner)[0]), inner]
        if any(isinstance(mark, OrNone) for mark in marks):
            return [*alternatives(inner), Literal["none"]]
        before = [mark.json_schema_input_type for mark in marks if isinstance(mark, BeforeValidator)]
        return alternatives(next((input_ for input_ in before if input_ is not PydanticUndefined), inner))
    if origin in (Union, types.UnionType):
        return [each for argument in arguments for each in alternatives(argument)]
    if _is_a(annotation, Shorthand):
        return [*alternatives(_whole(annotation.model_fields[annotation.bare])), annotation]
    return [] if annotation in (None, type(None)) else [annotation]


def annotations_at(cls: type[BaseModel], path: KeyPath, *, of_key: bool = False) -> list[Any]:
    """What a class allows at a path of its file; `of_key`: as the last key itself, where keys are not declared."""
    found: list[Any] = [cls]
    for depth, part in enumerate(path, 1):
        keys = of_key and depth == len(path)
        found = [child for annotation in found for child in _children(annotation, part, keys)]
    return found


def models_at(cls: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    """The classes that a mapping at a path may be."""
    return [found for found in annotations_at(cls, path) if _is_a(found, BaseModel)]


def mark_of(annotation: Any) -> Takes | None:
    """The words that an annotation holds."""
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, Takes)), None)


def _children(annotation: Any, part: str | int, keys: bool) -> list[Any]:
    if _is_a(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return [each for name, field in fields if part in (name, field.alias) for each in alternatives(_whole(field))]
    arguments = get_args(annotation)
    if get_origin(annotation) is dict:
        return alternatives(arguments[0 if keys else 1])
    return alternatives(arguments[0]) if isinstance(part, int) and get_origin(annotation) is tuple else []


def _whole(field: FieldInfo) -> Any:
    """A field's annotation with the marks that pydantic took out of it. (By a function: checkers of types take an
    `Annotated[…]` that is computed for a mistake.)"""
    return operator.getitem(Annotated, (field.annotation, *field.metadata)) if field.metadata else field.annotation


def _words(annotation: Any) -> list[str]:
    return [word for each in alternatives(annotation) for word in _words_of(each)]


def _words_of(annotation: Any) -> list[str]:
    if mark := mark_of(annotation):
        return [mark.words]
    if annotation in _WORDS:
        return [_WORDS[annotation]]
    if _is_a(annotation, BaseModel):
        return ["a mapping"]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return [f"`{plain(choice)}`" for choice in arguments]
    if origin is tuple:
        return [f"a list of {_plural(words(arguments[0]))}"]
    assert origin is dict, f"there are no words for {annotation}"
    return ["a mapping" if arguments[1] is Any else f"a mapping to {_plural(words(arguments[1]))}"]


def _plural(text: str) -> str:
    return re.sub(r"\ba ((?:\w+ )?(?:mapping|number|name))\b", r"\1s", text)


def _default(field: FieldInfo) -> Any:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True, validated_data={})
    return None if isinstance(value, BaseModel | dict) or value == () else value


def _is_a(annotation: Any, cls: type) -> bool:
    return isinstance(annotation, type) and get_origin(annotation) is None and issubclass(annotation, cls)
