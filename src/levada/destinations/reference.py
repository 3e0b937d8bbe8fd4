"""The tables of docs/reference/connector-language.md, made from the classes of the language.

`python -m levada.destinations.reference docs/reference/connector-language.md` writes them below the page's mark; a
test fails when they are stale. What stands above the mark is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from levada.destinations import language, reading, signing
from levada.limits import Limits
from levada.meaning import meaning_of

MARK = "<!-- made from the code: python -m levada.destinations.reference -->\n"

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("A destination of type http, and a connector", language.HttpOptions),
    ("Only in a connector's file", language.Connector),
    ("options.NAME", language.Option),
    ("auth", signing.AuthDeclaration),
    ("auth.basic", signing.Basic),
    ("auth.oauth2", signing.OAuth2),
    ("limits", Limits),
    ("objects.NAME", language.Object),
    ("objects.NAME.fields.NAME", language.FieldFacts),
    ("verbs, and the verbs of an object", language.Verbs),
    ("create, update, upsert, delete, archive, add, remove, append", language.Action),
    ("outcomes", reading.Reading),
    ("outcomes.success, outcomes.items.ok, created of a list", reading.Expectation),
    ("outcomes.created", reading.Created),
    ("outcomes.refused, outcomes.accepted, outcomes.items", reading.Entries),
    ("Only in accepted", reading.Accepted),
    ("Only in items", reading.Items),
    ("job", language.Job),
    ("job.until", language.Until),
    ("job.results", language.Results),
    ("look_up", language.LookUp),
    ("read", language.Read),
    ("next of read, look_up and discover", language.Next),
    ("discover", language.Discovery),
    ("discover.objects", language.ObjectsDiscovery),
    ("discover.fields", language.FieldsDiscovery),
    ("cases", language.Case),
    ("cases: sends", language.CaseRequest),
    ("cases: answer, answers", language.CaseAnswer),
)


def tables() -> str:
    """All that stands below the mark."""
    return MARK + "".join(f"\n### {title}\n\n{_section(cls)}" for title, cls in SECTIONS)


def _section(cls: type[BaseModel]) -> str:
    lead = f"{_line(cls.__doc__)}\n\n" if cls.__doc__ and cls is not Limits else ""
    return lead + "\n".join(_table(cls)) + "\n"


def _table(cls: type[BaseModel]) -> Iterator[str]:
    """The class's own words; those of the class that it extends stand in that one's section."""
    yield "| word | takes | default | meaning |"
    yield "|---|---|---|---|"
    parent = cls.__base__
    inherited = next((each.model_fields for _, each in SECTIONS if each is parent), {})
    for name, field in cls.model_fields.items():
        if name not in inherited:
            takes = _or(field.annotation).replace("|", "\\|")
            yield f"| `{field.alias or name}` | {takes} | {_default(field)} | {_line(meaning_of(cls, name))} |"
    if inherited:
        title = next(title for title, each in SECTIONS if each is parent)
        yield ""
        yield f"And the words of *{title}*."


_WORDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value"}


def _or(annotation: Any) -> str:
    parts = [part for part in _members(annotation) if part is not type(None)]
    return " or ".join(dict.fromkeys(_takes(part) for part in parts))


def _members(annotation: Any) -> tuple[Any, ...]:
    inner = get_args(annotation)
    if inner and get_origin(annotation) not in (Literal, dict, tuple, list) and not hasattr(annotation, "__metadata__"):
        return tuple(each for part in inner for each in _members(part))
    return (annotation,)


def _takes(annotation: Any) -> str:
    if annotation in _WORDS:
        return _WORDS[annotation]
    if hasattr(annotation, "__metadata__"):
        return "method and path" if annotation == language.Send else _or(annotation.__origin__)
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{str(each).lower() if isinstance(each, bool) else each}`" for each in inner)
    if origin is dict:
        return f"mapping to {_or(inner[1])}"
    if origin is tuple:
        return f"list of {_or(inner[0])}"
    return "mapping"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value in ("", (), {}) or field.default_factory is not None or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    written, _, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(written + tables(), encoding="utf-8", newline="\n")
