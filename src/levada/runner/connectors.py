"""The kinds of sources and destinations: those that Levada brings, and those in a project's connectors/."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from levada.errors import ConfigError, ConfigErrors

if TYPE_CHECKING:
    from levada.destination import DestinationType
    from levada.destinations.language import Connector as ConnectorFile
    from levada.project.yaml import Positions


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
    from levada.destinations import destination_type, destination_types
    from levada.sources import source_type, source_types

    found: list[Connector] = []
    for source_name in source_types():
        source = source_type(source_name)
        assert source is not None
        found.append(Connector("source", source_name, source.title, source.docs, False, options_of(source.options)))
    for destination_name in destination_types():
        destination = destination_type(destination_name)
        assert destination is not None
        found.append(_destination(destination, own=False))
    found += [_destination(kind, own=True) for kind in own_destination_types(root)]
    if name is None:
        return tuple(found)
    chosen = tuple(one for one in found if one.type == name)
    if not chosen:
        from levada.nearest import nearest_hint

        raise ConfigError(
            f"there is no source or destination of type {name}",
            code="config.unknown_type",
            hint=nearest_hint(name, dict.fromkeys(one.type for one in found)),
        )
    return chosen


def _destination(kind: DestinationType, *, own: bool) -> Connector:
    return Connector("destination", kind.type, kind.title, kind.docs, own, options_of(kind.options))


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
        choices = [str(choice) for choice in typing.get_args(annotation)]
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
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
    """A type by its name: one of ours, or a connector of the project. None if there is neither."""
    from levada.destinations import destination_type

    own = next((kind for kind in own_destination_types(root, name)), None)
    return own or destination_type(name)


def own_destination_types(root: Path | None, name: str | None = None) -> tuple[DestinationType, ...]:
    """The types that the project's connectors/ declares (one of them, if named). Raises ConfigErrors for a bad file."""
    files = {own: path for own, path in connector_files(root).items() if name in (None, own)}
    if not files:
        return ()
    from levada.destinations.connectors import connector_type

    found = []
    for own, path in files.items():
        connector, positions = read_connector(root, path)
        try:
            found.append(connector_type(own, connector))
        except ConfigError as error:
            if error.where is None:
                error.where = positions.at(*error.path)
            raise
    return tuple(found)


def connector_files(root: Path | None) -> dict[str, Path]:
    """The files that declare connectors, by name. Those in Python are destinations of type python."""
    from levada.project.listing import list_files

    if root is None or not (root / "connectors").is_dir():
        return {}
    files = list_files(root).files["connector"]
    return {name: path for name, path in files.items() if path.suffix != ".py"}


def read_connector(root: Path | None, path: Path) -> tuple[ConnectorFile, Positions]:
    """One connector's file and the places of its keys. Raises ConfigErrors with everything that is wrong in it.

    Its text holds no `${NAME}`: credentials are options, which a destination's file gives.
    """
    from levada.destinations.language import Connector as Declared
    from levada.project.listing import read_text
    from levada.project.validation import validate
    from levada.project.yaml import mapping, parse

    shown = path.relative_to(root).as_posix() if root is not None else path.name
    document = parse(read_text(path, shown), shown)
    found, errors = validate(Declared, mapping(document), document.positions)
    if found is None:
        raise ConfigErrors(errors)
    return found, document.positions
