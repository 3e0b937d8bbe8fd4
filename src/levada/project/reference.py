"""The reference page of a project's files, made of the classes that validate them: docs/reference/project-files.md.

A test fails when the page is stale; `write_page` brings it up to date. The options of each type of source
and destination are in their own pages and come in from outside.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from levada.guard import GuardDeclaration
from levada.mapping import FieldDeclaration
from levada.meaning import meaning_of
from levada.model import Model
from levada.project.files import Common, Options
from levada.project.settings import Settings
from levada.project.validation import members
from levada.sync import Sync

_HEAD = """\
# Project files

A project is a folder with a `levada.yml`. One thing per file: the folder is the kind, the file's name is the name.

```
acme/
  levada.yml                      the project and its defaults
  sources/warehouse.yml           where data is read
  models/customers.sql            a query with a key; or customers.yml with a table
  destinations/crm.yml            where records go
  syncs/customers_to_crm.yml      which model goes where, and how
  connectors/acme_erp.yml         a type of destination of your own
  .levada/                        state, to be ignored by git
```

Names begin with a letter or `_` and go on with letters, digits, `_` and `-`. `.yml` and `.yaml` mean the same, and
two files of one kind with the same name are an error. Files of other kinds in these folders, and folders in them,
are not read; `levada check` says so. A file that is wrong is named with line and column, and everything that is
wrong is shown at once.

## YAML

Plain values follow YAML 1.2: only `true` and `false` are truth values, so that the country `NO` and the time `12:30`
are text. A number with leading zeros is text. A number that a computer's floating point would change is an error:
put it in quotes. Tags (`!!…`), merge keys (`<<`), duplicate keys and several documents in a file are errors. A file
has at most 1,000,000 characters, 40 levels and 100 aliases.

## Variables and secrets

A value may hold `${NAME}`, `${NAME:-default}` and `${secret:NAME}`; keys and the query of a `.sql` file do not.

* The environment of the process goes before `.env.prod` (with `--env prod`), and that before `.env`.
* `${NAME:-default}` takes the default also when the variable is empty. A variable that is not set is an error at
  the value that needs it.
* `${secret:NAME}` comes from Levada's encrypted store: `levada secrets set NAME`. It is read when the file is.
* `$${` stands for the characters `${`.
* Inside `{ }` and `[ ]` YAML wants quotes: `{type: postgres, url: "${WAREHOUSE_URL}"}`.

A reference is text, and becomes a number or a truth value where the key wants one. Values of `${secret:…}`, and
others whose key or name says password, token, secret or the like, are left out of everything that Levada prints.

## Editors

`levada schema --write DIR` writes a JSON Schema for each kind of file. A first line such as
`# yaml-language-server: $schema=../.levada/sync.schema.json` lets an editor complete and check while you type.

The tables below are made from the code; a test keeps them true.
"""

_MODEL_NOTE = """\
A `.sql` file begins with a comment that is YAML, and the query follows; the keys `query` and `table` do not go
into the comment. A `.yml` file has `table:` or `query:`.

```sql
/*
source: warehouse
key: customer_id                    # or a list
columns:
  email: {personal: email}
*/
select customer_id, email, first_name
from analytics.customers
```
"""

_SYNC_NOTE = """\
`defaults:` of `levada.yml` hold where a sync does not say otherwise. `audience:` is reserved: this version refuses it.

```yaml
model: customers
to: crm.contacts
match: {email: email}
fields:
  firstname: first_name
  lifetime_value: {sql: "round(lifetime_value, 2)"}
schedule: {every: 15m}
```
"""


def page(
    source_options: Mapping[str, Options] | None = None, destination_options: Mapping[str, Options] | None = None
) -> str:
    """The page as Markdown. The options are by `type:`; without them the page names what all types share."""
    parts = [_HEAD, *_kind("levada.yml", Settings, "")]
    parts += _accounts("sources/*.yml", "A warehouse.", source_options or {})
    parts += _kind("models/*.sql, models/*.yml", Model, _MODEL_NOTE)
    parts += _accounts("destinations/*.yml", "An account in a tool.", destination_options or {})
    parts += _kind("syncs/*.yml", Sync, _SYNC_NOTE)
    return "\n".join(parts)


def write_page(
    path: Path,
    source_options: Mapping[str, Options] | None = None,
    destination_options: Mapping[str, Options] | None = None,
) -> None:
    """Write the page to `path`, whose folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(source_options, destination_options), encoding="utf-8", newline="\n")


def _kind(title: str, cls: type[BaseModel], note: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{_text(cls.__doc__)}\n"
    if note:
        yield note
    yield _table(cls)
    yield from _inner(cls, title, set())


def _accounts(title: str, text: str, options: Mapping[str, Options]) -> Iterator[str]:
    yield f"## {title}\n"
    yield f"{text} Every type has these keys; the others depend on it.\n"
    yield _table(Common)
    for name, cls in options.items():
        yield f"### type: {name}\n"
        yield _table(cls, without=tuple(Common.model_fields))
        yield from _inner(cls, f"type: {name}", set())


def _inner(cls: type[BaseModel], title: str, shown: set[type[BaseModel]]) -> Iterator[str]:
    """The mappings inside, each once, under the key that leads to it."""
    for key, field in cls.model_fields.items():
        for inner in _models(field.annotation):
            if inner not in shown:
                shown.add(inner)
                many = "." if inner in members(field.annotation) else ".*."
                path = f"{key}{many}".rstrip(".")
                yield f"### {title}: {path}\n"
                if inner.__doc__:
                    yield f"{_text(inner.__doc__)}\n"
                yield _table(inner)
                yield from _inner(inner, f"{title}: {path}", shown)


def _models(annotation: Any) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            found.append(member)
        elif get_origin(member) is not Literal:
            found += [model for argument in get_args(member) for model in _models(argument)]
    return found


def _table(cls: type[BaseModel], without: tuple[str, ...] = ()) -> str:
    rows = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for name, field in cls.model_fields.items():
        if name not in without:
            key = field.alias or name
            rows.append(
                f"| `{key}` | {_cell(_takes(cls, name, field))} | {_default(field)} | {_text(meaning_of(cls, name))} |"
            )
    return "\n".join(rows) + "\n" if len(rows) > 2 else "No further keys.\n"


_EXTRA_SHAPES: dict[tuple[type[BaseModel], str], str] = {
    (Sync, "fields"): "`all`, or a mapping from fields to columns' names or mappings",
    (Model, "key"): "text or a list of text",
    (Sync, "schedule"): "a mapping or `none`",
    **{(GuardDeclaration, name): "text or a whole number" for name in GuardDeclaration.model_fields if "_max" in name},
}
"""What a class accepts beside its annotation, by a validator of its own."""

_TYPE_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Any: "any value",
    Path: "a path",
}


def _takes(cls: type[BaseModel], name: str, field: FieldInfo) -> str:
    return _EXTRA_SHAPES.get((cls, name)) or _or([_words(member) for member in members(field.annotation)])


def _words(annotation: Any) -> str:
    if annotation in _TYPE_WORDS:
        return _TYPE_WORDS[annotation]
    if annotation is FieldDeclaration:
        return "the name of a column, or a mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "a mapping"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{_plain(choice)}`" for choice in arguments)
    if origin is dict:
        inner = _or([_words(member) for member in members(arguments[1])])
        return "a mapping" if arguments[1] is Any else f"a mapping to {inner.replace('a mapping', 'mappings')}"
    if origin in (tuple, list, frozenset, set):
        inner = _or([_words(member) for member in members(arguments[0])])
        return f"a list of {inner.replace('a mapping', 'mappings')}"
    return "text"


def _or(words: list[str]) -> str:
    return " or ".join(dict.fromkeys(words))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or value is PydanticUndefined or value in ("", (), [], {}) or isinstance(value, BaseModel):
        return ""
    return f"`{_plain(value)}`"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _text(text: str | None) -> str:
    return _cell(" ".join((text or "").split()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
