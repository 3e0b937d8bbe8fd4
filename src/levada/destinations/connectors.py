"""A connector's file as a destination type of the file's name, whose options are those that the file asks for.

Files that ship with Levada and those in a project's `connectors/` are the same here. Which of them there are is known
by who lists them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, create_model

from levada.declaration.reading import read
from levada.declaration.yaml import Positions
from levada.destination import DestinationType, Surroundings
from levada.destinations.declared import DeclaredDestination, spec_of
from levada.destinations.language import Connector
from levada.destinations.reading import Scalar
from levada.destinations.signing import AuthDeclaration
from levada.errors import ConfigError
from levada.limits import Limits
from levada.model import Declaration
from levada.template import Constant, Names, parse_text

_LIMITS = "Lower limits than the connector's, if this account has lower ones."


def declared_type(name: str, path: Path) -> DestinationType:
    """The type that a file declares. Raises ConfigErrors and ConfigError."""
    connector, positions = read_connector(path)
    with located(positions):
        return connector_type(name, connector)


def read_connector(path: Path) -> tuple[Connector, Positions]:
    """One connector's file and the places of its keys. Raises ConfigErrors with everything that is wrong in it, which
    name the file with its folder.

    Its text holds no `${NAME}`: credentials are options, which a destination's file gives.
    """
    return read(Connector, path, f"{path.parent.name}/{path.name}")


@contextmanager
def located(positions: Positions) -> Iterator[None]:
    """A ConfigError that leaves this has a place in the connector's file."""
    try:
        yield
    except ConfigError as error:
        error.where = error.where or positions.at(*error.path)
        raise


def connector_type(type_name: str, connector: Connector) -> DestinationType:
    """The type. Raises ConfigError where what the connector declares cannot be."""
    opened(type_name, type_name, connector, stand_ins(connector))

    def open_connector(name: str, options: BaseModel, surroundings: Surroundings) -> DeclaredDestination:
        given = {key: getattr(options, key) for key in connector.options}
        return opened(name, type_name, _with_limits(connector, options), given)

    options = options_class(type_name, connector)
    return DestinationType(type_name, connector.title, connector.docs, options, open_connector)


def _with_limits(connector: Connector, options: BaseModel) -> Connector:
    own = getattr(options, "limits", None)
    if not isinstance(own, Limits):
        return connector
    changed = {key: getattr(own, key) for key in own.model_fields_set}
    return connector.model_copy(update={"limits": connector.limits.model_copy(update=changed)})


def options_class(name: str, connector: Connector) -> type[BaseModel]:
    """The class of what a destination of this type says in its file."""
    fields: dict[str, Any] = {}
    if "limits" not in connector.options:
        fields["limits"] = (Limits | None, Field(default=None, description=_LIMITS))
    for option, declared in connector.options.items():
        required = declared.required and declared.default is None
        fields[option] = (
            str if required or declared.default is not None else str | None,
            Field(
                default=... if required else declared.default,
                description=declared.description or None,
                repr=not declared.secret,
                json_schema_extra={"secret": True} if declared.secret else None,
            ),
        )
    title = "".join(part.capitalize() for part in name.replace("-", "_").split("_"))
    made: type[BaseModel] = create_model(f"{title}Options", __base__=Declaration, **fields)
    made.__doc__ = f"A destination of type {name}: {connector.title}."
    return made


def stand_ins(connector: Connector) -> dict[str, Scalar]:
    """A value for each option, for cases and for checking a connector by itself: its default, or its name."""
    return {name: option.default or name for name, option in connector.options.items()}


def opened(
    destination_name: str, type_name: str, connector: Connector, given: Mapping[str, Scalar]
) -> DeclaredDestination:
    """A destination made from a connector and the values of its options."""
    constants = {f"options.{name}": "" if value is None else value for name, value in given.items()}
    filled = connector.model_copy(
        update={
            "base_url": _filled(connector.base_url, constants, "base_url"),
            "auth": _filled_auth(connector.auth, constants),
        }
    )
    secrets = tuple(str(given[name]) for name, option in connector.options.items() if option.secret and given.get(name))
    spec = spec_of(type_name, connector.title, connector.docs, filled)
    return DeclaredDestination(destination_name, spec, filled, constants, secrets).checked()


def _filled_auth(declared: AuthDeclaration | None, constants: Mapping[str, Scalar]) -> AuthDeclaration | None:
    if declared is None:
        return None
    return AuthDeclaration.model_validate(_filled_tree(declared.model_dump(exclude_unset=True), constants, "auth"))


def _filled_tree(value: Any, constants: Mapping[str, Scalar], place: str) -> Any:
    if isinstance(value, dict):
        return {key: _filled_tree(each, constants, f"{place}.{key}") for key, each in value.items()}
    return _filled(value, constants, place) if isinstance(value, str) else value


def _filled(text: str, constants: Mapping[str, Scalar], place: str) -> str:
    node = parse_text(text, Names(frozenset(), constants=constants))
    if not isinstance(node, Constant):
        raise ConfigError(
            f"{place}: only options can stand here",
            code="config.template",
            hint="write {options.NAME}, and declare NAME under options:",
        )
    return "" if node.value is None else str(node.value)
