"""The demo's folder: a project, its warehouse, the secrets of its tools, and where the tools keep their things.

demo/
  levada.yml sources/ models/ destinations/ syncs/ README.md      the project, to be read
  .env                     addresses and secrets of the tools, written anew whenever the tools start
  warehouse/shop.duckdb    the shop
  .tools/                  what the tools were sent, their ports, their log
  .levada/                 what Levada remembers
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from levada.demo.warehouse import WarehouseFigures, build_warehouse
from levada.errors import ConfigError
from levada.project.listing import root_above, whole

MARK = ".tools"
"""The folder of the tools is also what tells a demo's folder from any other."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where everything of one demo is. `secrets` are those of its tools."""

    folder: Path
    secrets: Mapping[str, str]

    @property
    def shop(self) -> Path:
        return self.folder / "warehouse" / "shop.duckdb"

    @property
    def tools(self) -> Path:
        return self.folder / MARK

    @property
    def ports_file(self) -> Path:
        return self.tools / "ports.json"

    @contextmanager
    def tools_running(self) -> Iterator[dict[str, int]]:
        """The tools in a process of their own for as long as the block lasts; `.env` then says where they are."""
        from levada.demo.services import services_running

        with services_running(self.tools, self.ports_file, self.secrets) as ports:
            self.write_environment(ports)
            yield ports

    def write_environment(self, ports: Mapping[str, int]) -> None:
        lines = [f"{name.upper()}_URL=http://127.0.0.1:{port}" for name, port in ports.items()]
        lines += [f"{name}={value}" for name, value in self.secrets.items()]
        path = self.folder / ".env"
        path.touch(mode=0o600)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def prepare(folder: Path) -> tuple[Ground, WarehouseFigures]:
    """Make the demo's folder, in place of an earlier demo's. Raises ConfigError for a folder of anybody else's, and for
    one in a project."""
    if there := root_above(whole(folder).parent):
        raise ConfigError(
            f"{folder} would lie in the project {there}",
            code="config.project_exists",
            hint="go to a folder outside of it, or name one: `levada demo OTHER/FOLDER`",
        )
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).is_dir():
            raise ConfigError(
                f"{folder} exists and is not a demo's folder",
                code="config.demo_folder",
                hint="name another one: `levada demo DIRECTORY`",
            )
        shutil.rmtree(folder)
    (folder / MARK).mkdir(parents=True)
    # the tokens of the demo's tools and its rows are nobody else's
    for private in (folder, folder / MARK):
        private.chmod(0o700)
    _copy(files("levada.demo") / "project", folder)
    (folder / "gitignore").rename(folder / ".gitignore")
    known = {
        "CRM_TOKEN": secrets.token_urlsafe(24),
        "ADS_TOKEN": secrets.token_urlsafe(24),
        "INBOX_SECRET": "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode(),
    }
    ground = Ground(folder, known)
    return ground, build_warehouse(ground.shop)


def existing(folder: Path) -> Ground | None:
    """The demo that was made in a folder; None if there is none."""
    from dotenv import dotenv_values

    environment = folder / ".env"
    if not (folder / MARK).is_dir() or not environment.is_file():
        return None
    values = dotenv_values(environment)
    known = {name: values.get(name) for name in ("CRM_TOKEN", "ADS_TOKEN", "INBOX_SECRET")}
    found = {name: value for name, value in known.items() if value}
    return Ground(folder, found) if len(found) == len(known) else None


def serve(ground: Ground, ready: Callable[[Mapping[str, int]], None]) -> None:
    """Keep the tools up in this process until SIGTERM or Ctrl-C. `ready` is called with the ports once they listen."""
    from levada.demo import services

    def up(ports: Mapping[str, int]) -> None:
        ground.write_environment(ports)
        ready(ports)

    async def serving() -> None:
        await services.serve(ground.tools, ground.ports_file, ground.secrets, services.stopped_by_signal(), up)

    asyncio.run(serving())


def _copy(source: Traversable, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for entry in source.iterdir():
        if entry.is_dir():
            _copy(entry, target / entry.name)
        else:
            (target / entry.name).write_bytes(entry.read_bytes())
