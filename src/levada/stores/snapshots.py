"""The files of plans and ledgers where they are worked with: in the state folder itself, from which nothing moves.

.levada/plans/<name>/     plan files, written by the planner
.levada/ledgers/<sync>/   segment files, written by the planner
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from levada.durable import private_folder
from levada.stores.database import translated

PLANS = "plans"
LEDGERS = "ledgers"


class LocalSnapshots:
    """Fulfils `levada.store.Snapshots`."""

    def __init__(self, folder: Path) -> None:
        self._plans = folder / PLANS
        self._ledgers = folder / LEDGERS

    def create(self, name: str) -> Path:
        folder = self.plan(name)
        with translated(folder):
            private_folder(folder)
        return folder

    def plan(self, name: str) -> Path:
        return self._plans / name

    def plans(self) -> Mapping[str, datetime]:
        with translated(self._plans):
            if not self._plans.is_dir():
                return {}
            return {each.name: datetime.fromtimestamp(each.stat().st_mtime, UTC) for each in self._plans.iterdir()}

    def delete(self, name: str) -> None:
        folder = self.plan(name)
        with translated(folder):
            inside = folder.resolve().parent == self._plans.resolve()
            if inside and folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)

    def ledger(self, sync: str) -> Path:
        name = quote(sync, safe="")
        folder = self._ledgers / (f"%2E{name[1:]}" if name.startswith(".") else name)
        with translated(folder):
            if not folder.is_dir():
                private_folder(self._ledgers)
                private_folder(folder)
        return folder
