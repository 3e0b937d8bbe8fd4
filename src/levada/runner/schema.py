"""The JSON Schemas of the project's files, with the options of every kind of source and destination in them."""

from __future__ import annotations

from typing import Any

from levada.errors import ConfigError
from levada.nearest import nearest_hint


def schemas(kind: str | None = None) -> dict[str, dict[str, Any]]:
    """By kind of file; only one of them if `kind` says so. Raises ConfigError for a kind that there is not."""
    from levada.destinations import destination_type, destination_types
    from levada.destinations.language import Connector
    from levada.project.schema import Described
    from levada.project.schema import schemas as project_schemas
    from levada.sources import source_type, source_types

    sources = {name: of.options for name in source_types() if (of := source_type(name)) is not None}
    destinations = {name: to.options for name in destination_types() if (to := destination_type(name)) is not None}
    connector = Connector.model_json_schema(schema_generator=Described)
    known = {**project_schemas(sources, destinations), "connector": connector}
    if kind is None:
        return known
    if kind not in known:
        raise ConfigError(f"there is no schema {kind}", code="usage.unknown_schema", hint=nearest_hint(kind, known))
    return {kind: known[kind]}
