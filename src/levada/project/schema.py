"""JSON Schemas of a project's files, made from the classes that validate them (draft 2020-12).

For editors: completion, descriptions, and most of what `levada check` says while one types. What a schema
accepts beside the classes' own types are the shorthands of the files and references such as `${PORT}` where
a number or a certain text stands. What only `check` can tell is not in them: names, expressions, the whole.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from levada.mapping import FieldDeclaration
from levada.meaning import meaning_of
from levada.model import Model
from levada.project.files import Common, Options
from levada.project.settings import Settings
from levada.schedule import Schedule
from levada.sync import Sync

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_REFERENCE: Schema = {"type": "string", "pattern": r"\$\{[^{}]+\}", "description": "A reference: ${NAME}."}


class Described(GenerateJsonSchema):
    """Every key says what it means."""

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        inner = super().model_schema(schema)
        for name, field in schema["cls"].model_fields.items():
            meaning = field.description or meaning_of(schema["cls"], name)
            key = field.alias or name
            if meaning and key in inner.get("properties", {}):
                inner["properties"][key]["description"] = meaning
        return inner


def schemas(source_options: Mapping[str, Options], destination_options: Mapping[str, Options]) -> dict[str, Schema]:
    """By kind of file: project (levada.yml), source, model, destination, sync. The options are by `type:`."""
    return {
        "project": _settings(),
        "source": _by_type("a file in sources/", source_options),
        "model": _model(),
        "destination": _by_type("a file in destinations/", destination_options),
        "sync": _sync(),
    }


def _of(cls: type[BaseModel]) -> Schema:
    return _with_references(cls.model_json_schema(mode="validation", schema_generator=Described))


def _finished(schema: Schema, title: str) -> Schema:
    return {"$schema": DIALECT, "title": title, **{key: item for key, item in schema.items() if key != "title"}}


def _settings() -> Schema:
    schema = _of(Settings)
    _schedule(schema["$defs"])
    return _finished(schema, "levada.yml")


def _model() -> Schema:
    """The `.yml` form; the header of a `.sql` file is the same without `query` and `table`."""
    schema = _of(Model)
    _without(schema, "query", "table")
    return _finished({**schema, "oneOf": [{"required": ["table"]}, {"required": ["query"]}]}, "a file in models/")


def _sync() -> Schema:
    schema = _of(Sync)
    definitions = schema["$defs"]
    *_, field = definitions[FieldDeclaration.__name__]["anyOf"]
    origins = ("column", "sql", "value", "template")
    _without(field, "column", "sql", "template")
    field["oneOf"] = [{"required": [origin]} for origin in origins]
    _schedule(definitions)
    _without(schema, "model", "audience")
    return _finished({**schema, "oneOf": [{"required": ["model"]}, {"required": ["audience"]}]}, "a file in syncs/")


def _schedule(definitions: Schema) -> None:
    schedule = definitions[Schedule.__name__]
    ways = ("every", "cron", "after")
    _without(schedule, *ways)
    schedule["oneOf"] = [{"required": [way]} for way in ways]


def _without(schema: Schema, *names: str) -> None:
    """Where exactly one of several keys must stand, an explicit null of another would not be one."""
    for name in names:
        prop = schema["properties"][name]
        if "anyOf" in prop:
            kept = [choice for choice in prop.pop("anyOf") if choice.get("type") != "null"]
            prop.update(kept[0] if len(kept) == 1 else {"anyOf": kept})
        prop.pop("default", None)


def _by_type(title: str, options: Mapping[str, Options]) -> Schema:
    """One branch for each type, told apart by the constant in `type`."""
    common = _of(Common)["properties"]
    if not options:
        return _finished({"type": "object", "properties": common, "required": ["type"]}, title)
    references, whole = models_json_schema(
        [(cls, "validation") for cls in dict.fromkeys(options.values())],
        ref_template="#/$defs/{model}",
        schema_generator=Described,
    )
    definitions = whole.get("$defs", {})
    branches: list[Schema] = []
    for name, cls in options.items():
        branch = copy.deepcopy(definitions[references[(cls, "validation")]["$ref"].rpartition("/")[2]])
        own = {key: item for key, item in branch.get("properties", {}).items() if key != "type"}
        kind = {"const": name, "description": common["type"]["description"]}
        extras = {key: item for key, item in common.items() if key not in ("type", *own)}
        branch["properties"] = {"type": kind, **own, **extras}
        branch["required"] = ["type", *(key for key in branch.get("required", []) if key != "type")]
        branch["title"] = name
        branches.append(branch)
    used = _used(branches, definitions)
    schema: Schema = {"type": "object", "required": ["type"], "properties": {"type": {"enum": list(options)}}}
    schema["oneOf"] = branches
    if used:
        schema["$defs"] = {name: definitions[name] for name in sorted(used)}
    return _finished(_with_references(schema), title)


def _used(part: Any, definitions: Schema) -> set[str]:
    """The definitions that `part` leads to."""
    found: set[str] = set()
    waiting: list[Any] = [part]
    while waiting:
        match waiting.pop():
            case {"$ref": str() as target, **rest}:
                name = target.rpartition("/")[2]
                if name not in found and name in definitions:
                    found.add(name)
                    waiting.append(definitions[name])
                waiting.append(rest)
            case dict() as mapping:
                waiting += mapping.values()
            case list() as items:
                waiting += items
    return found


def _with_references(schema: Schema) -> Schema:
    """Where not any text is taken, a reference to the environment is. Titles that repeat a key are left out."""
    changed: Schema = {}
    for key, item in schema.items():
        if key in ("properties", "$defs"):
            changed[key] = {name: _untitled(_with_references(inner)) for name, inner in item.items()}
        elif key in ("anyOf", "oneOf", "allOf"):
            changed[key] = _flat([_with_references(inner) for inner in item])
        elif key in ("items", "additionalProperties") and isinstance(item, dict):
            changed[key] = _with_references(item)
        else:
            changed[key] = item
    narrow = changed.get("type") == "string" and {"pattern", "enum", "format"} & set(changed)
    if narrow or changed.get("type") in ("integer", "number", "boolean"):
        outer: Schema = {key: changed.pop(key) for key in ("description", "default") if key in changed}
        return {**outer, "anyOf": [changed, dict(_REFERENCE)]}
    return changed


def _untitled(schema: Schema) -> Schema:
    choices = [{key: item for key, item in choice.items() if key != "title"} for choice in schema.get("anyOf", ())]
    kept = {key: item for key, item in schema.items() if key != "title"}
    return {**kept, "anyOf": choices} if choices else kept


def _flat(choices: list[Schema]) -> list[Schema]:
    """A choice that is nothing but choices stands for these."""
    return [inner for choice in choices for inner in (choice["anyOf"] if set(choice) == {"anyOf"} else [choice])]
