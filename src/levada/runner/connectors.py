"""The kinds of sources and destinations: those that Levada brings, and those in a project's connectors/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from levada.declaration.keys import KeyFacts, keys_of
from levada.errors import ConfigError

if TYPE_CHECKING:
    from levada.destination import DestinationType


@dataclass(frozen=True, slots=True)
class Connector:
    """One kind of source or destination."""

    kind: Literal["source", "destination"]
    type: str
    title: str
    docs: str
    own: bool
    options: tuple[KeyFacts, ...]

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
        found.append(Connector("source", source_name, source.title, source.docs, False, keys_of(source.options)))
    for type_name in destinations:
        kind = find_destination_type(root, type_name)
        assert kind is not None
        options = keys_of(kind.options)
        found.append(Connector("destination", type_name, kind.title, kind.docs, type_name in own, options))
    return tuple(found)


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
