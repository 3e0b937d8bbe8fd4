"""The tables of docs/reference/connector-language.md, made from the classes of the language.

`python -m levada.destinations.reference docs/reference/connector-language.md` writes them below the page's mark; a
test fails when they are stale. What stands above the mark is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import BaseModel

from levada.declaration.keys import keys_of
from levada.declaration.pages import cell, table
from levada.destinations import language, questions, reading, signing
from levada.limits import Limits

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
    ("objects.NAME.fields.NAME", questions.FieldFacts),
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
    ("look_up", questions.LookUp),
    ("read", questions.Read),
    ("next of read, look_up and discover", questions.Next),
    ("discover", questions.Discovery),
    ("discover.objects", questions.ObjectsDiscovery),
    ("discover.fields", questions.FieldsDiscovery),
    ("discover.fields: required, writable, unique", reading.Truth),
    ("cases", language.Case),
    ("cases: sends", language.CaseRequest),
    ("cases: answer, answers", language.CaseAnswer),
)


def tables() -> str:
    """All that stands below the mark."""
    return MARK + "".join(f"\n### {title}\n\n{_section(cls)}" for title, cls in SECTIONS)


def _section(cls: type[BaseModel]) -> str:
    lead = f"{cell(cls.__doc__)}\n\n" if cls.__doc__ and cls is not Limits else ""
    return lead + _table(cls)


def _table(cls: type[BaseModel]) -> str:
    """The class's own words; those of the class that it extends stand in that one's section."""
    title, parent = next(((title, each) for title, each in SECTIONS if each is cls.__base__), ("", None))
    inherited = parent.model_fields if parent else {}
    own = [key for key, name in zip(keys_of(cls), cls.model_fields, strict=True) if name not in inherited]
    return table(own, "word") + (f"\nAnd the words of *{title}*.\n" if parent else "")


if __name__ == "__main__":
    page = Path(sys.argv[1])
    written, _, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(written + tables(), encoding="utf-8", newline="\n")
