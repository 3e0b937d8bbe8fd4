"""A small valid project for tests to change, and the options of two made-up kinds of accounts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from levada.model import Declaration
from levada.project import files as project_files
from levada.project.files import Options, ProjectFiles


class WarehouseOptions(Declaration):
    """A made-up warehouse."""

    url: str
    """Where it is."""
    port: int = Field(default=5432, gt=0, lt=65536)
    """Its port."""
    ssl: bool = True
    """Is the connection encrypted?"""


class BearerAuth(Declaration):
    bearer: str
    """The token."""


class BasicAuth(Declaration):
    username: str
    """Who."""
    password: str
    """And the proof."""


class ToolOptions(Declaration):
    """A made-up tool; as some do, its class declares `type` and `description` itself."""

    type: Literal["tool"] = "tool"
    """A tool."""
    token: str = ""
    """The credential."""
    auth: BearerAuth | BasicAuth | None = None
    """How requests are signed."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Sent with every request."""
    description: str = ""
    """For people."""


SOURCES: dict[str, Options] = {"warehouse": WarehouseOptions}
DESTINATIONS: dict[str, Options] = {"tool": ToolOptions}

GOOD: dict[str, str] = {
    "levada.yml": "name: acme\n",
    "sources/shop.yml": "type: warehouse\nurl: postgres://shop.example.com/db\n",
    "models/customers.sql": "/*\nsource: shop\nkey: customer_id\n*/\nselect customer_id, email from customers\n",
    "destinations/crm.yml": "type: tool\n",
    "syncs/customers_to_crm.yml": "model: customers\nto: crm.contacts\n",
}


def write(root: Path, *changes: Mapping[str, str | bytes]) -> Path:
    """Put these files into `root`."""
    for files in changes:
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def read(root: Path, **options: Any) -> ProjectFiles:
    """The project in `root`, with the made-up accounts and an empty environment unless `process` gives another."""
    return project_files.read(root, **_arguments(options))


def load(root: Path, **options: Any) -> ProjectFiles:
    """The same, raising what is wrong."""
    return project_files.load(root, **_arguments(options))


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    return {
        "process": {},
        "source_options": SOURCES.get,
        "destination_options": DESTINATIONS.get,
        "known_sources": tuple(SOURCES),
        "known_destinations": tuple(DESTINATIONS),
        **options,
    }
