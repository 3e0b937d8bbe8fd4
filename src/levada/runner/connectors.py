"""The kinds of sources and destinations: those that Levada brings, and those in a project's connectors/."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from levada.errors import ConfigError

if TYPE_CHECKING:
    from levada.destination import DestinationType


@dataclass(frozen=True, slots=True)
class OptionView:
    """One option of a type, as a form or a page shows it."""

    name: str
    takes: str
    required: bool
    default: Any
    description: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "takes": self.takes,
            "required": self.required,
            "default": self.default,
            "description": self.description,
        }


@dataclass(frozen=True, slots=True)
class Connector:
    """One kind of source or destination."""

    kind: Literal["source", "destination"]
    type: str
    title: str
    docs: str
    own: bool
    options: tuple[OptionView, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "type": self.type,
            "title": self.title,
            "docs": self.docs,
            "own": self.own,
            "options": [option.as_dict() for option in self.options],
        }


def connectors(root: Path | None, name: str | None = None) -> tuple[Connector, ...]:
    """All kinds, sources first; or those of one name. Raises ConfigError with the nearest name."""
    from levada.destinations import destination_types
    from levada.sources import source_type, source_types

    own = connector_files(root)
    sources = source_types()
    destinations = (*(ours for ours in destination_types() if ours not in own), *own)
    if name is not None:
        if name not in (*sources, *destinations):
            from levada.nearest import nearest_hint

            raise ConfigError(
                f"there is no source or destination of type {name}",
                code="config.unknown_type",
                hint=nearest_hint(name, dict.fromkeys((*sources, *destinations))),
            )
        sources = (name,) if name in sources else ()
        destinations = (name,) if name in destinations else ()
    found: list[Connector] = []
    for source_name in sources:
        source = source_type(source_name)
        assert source is not None
        found.append(Connector("source", source_name, source.title, source.docs, False, options_of(source.options)))
    for type_name in destinations:
        kind = find_destination_type(root, type_name)
        assert kind is not None
        options = options_of(kind.options)
        found.append(Connector("destination", type_name, kind.title, kind.docs, type_name in own, options))
    return tuple(found)


def options_of(options: type[BaseModel]) -> tuple[OptionView, ...]:
    """The options of a type, from the class that validates them."""
    return tuple(
        OptionView(
            name=field.alias or name,
            takes=_words(field.annotation),
            required=field.is_required(),
            default=_default(field),
            description=" ".join((field.description or "").split()),
        )
        for name, field in options.model_fields.items()
    )


def _default(field: FieldInfo) -> Any:
    if field.is_required() or field.default_factory is not None:
        return None
    value = field.default
    return value if isinstance(value, str | int | float | bool | None) else None


def _words(annotation: Any) -> str:
    """A type as people say it: `text`, `text or number`, `one of csv, jsonl`, `list`, `mapping`."""
    if annotation is None or annotation is type(None):
        return ""
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in typing.get_args(annotation))}"
    if origin is typing.Annotated:
        return _words(typing.get_args(annotation)[0])
    if origin in (list, tuple, set, frozenset):
        return "list"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    if origin is not None:
        return " or ".join(dict.fromkeys(words for part in typing.get_args(annotation) if (words := _words(part))))
    simple = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return simple.get(annotation, "value")


def find_destination_type(root: Path | None, name: str) -> DestinationType | None:
    """A type by its name: a connector of the project, or else one of ours. Raises ConfigErrors for a bad file."""
    own = connector_files(root).get(name)
    if own is None:
        from levada.destinations import destination_type

        return destination_type(name)
    from levada.destinations.connectors import declared_type

    return declared_type(name, own)


def connector_files(root: Path | None) -> dict[str, Path]:
    """The files that declare connectors, by name. Those in Python are destinations of type python."""
    from levada.project.listing import list_files

    if root is None or not (root / "connectors").is_dir():
        return {}
    files = list_files(root).files["connector"]
    return {name: path for name, path in files.items() if path.suffix != ".py"}
