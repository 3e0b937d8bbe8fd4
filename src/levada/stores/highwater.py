"""The high-water mark: what the store had reached, kept in a file beside it.

A store that was restored from an older copy, or lost its write-ahead log, is whole in itself. Only something
outside it can tell. The mark is raised when a lease is given out and after each commit, always after the store
itself, so a store may be ahead of its mark (a crash came between) but never behind. What it cannot see: a
copy of the whole folder, mark included.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from xxhash import xxh3_64_hexdigest

from levada.durable import locked, write_durably
from levada.errors import CorruptedError
from levada.stores.checksums import ACCEPT_HINT, damaged, sealed, verified
from levada.stores.database import Database, translated

FILE = "high-water"
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class HighWater:
    """The highest epoch given out, and how many commits there were."""

    store: str
    epoch: int
    commits: int

    def as_bytes(self) -> bytes:
        content = asdict(self)
        text = json.dumps(content, sort_keys=True)
        return json.dumps({**content, "checksum": xxh3_64_hexdigest(text.encode())}, indent=1).encode() + b"\n"

    @staticmethod
    def from_bytes(content: bytes) -> HighWater:
        """Raises ValueError if the content is not what `as_bytes` made."""
        data = json.loads(content)
        if not isinstance(data, dict):
            raise ValueError("not an object")
        checksum = data.pop("checksum", None)
        if checksum != xxh3_64_hexdigest(json.dumps(data, sort_keys=True).encode()):
            raise ValueError("wrong checksum")
        return HighWater(**data)


def read_mark(folder: Path) -> HighWater | None:
    """The mark beside the store; None if there is none. Raises CorruptedError if it cannot be read."""
    path = folder / FILE
    try:
        return HighWater.from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CorruptedError(
            f"{path} is not what was written: {error}", code="store.high_water", hint=ACCEPT_HINT
        ) from error


class Meta:
    """The store's facts about itself. All but `compare` and `raise_mark` want a transaction around them."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def get(self, name: str) -> str:
        row = self._database.row("store.meta_read", name)
        if row is None:
            raise damaged(f"the store's `{name}`")
        return str(verified("meta", row, what=f"the store's `{name}`")[1])

    def set(self, name: str, value: str) -> None:
        self._database.change("store.meta_write", sealed("meta", (name, value)))

    def number(self, name: str) -> int:
        return int(self.get(name))

    def next(self, name: str) -> int:
        """Count one up, and return the new number."""
        number = self.number(name) + 1
        self.set(name, str(number))
        return number

    def reached(self) -> HighWater:
        return HighWater(self.get("store_id"), self.number("highest_epoch"), self.number("commits"))

    def compare(self) -> None:
        """Raise CorruptedError if the store is behind its mark, or if the mark of a used store is missing."""
        mark = read_mark(self._folder)
        with self._database.read():
            reached = self.reached()
        path = self._folder / FILE
        if mark is None:
            if reached.commits or reached.epoch:
                raise CorruptedError(
                    f"{path} is missing, though the store has seen {reached.commits} commits: it may be an older copy",
                    code="store.high_water",
                    hint=ACCEPT_HINT,
                )
            return
        if mark.store != reached.store:
            raise CorruptedError(
                f"{path} belongs to the store {mark.store}, the database beside it is {reached.store}",
                code="store.rolled_back",
                hint=f"put the files back that belong together; or {ACCEPT_HINT}",
            )
        if reached.commits < mark.commits or reached.epoch < mark.epoch:
            raise CorruptedError(
                f"the store is older than it was: commit {reached.commits} of {mark.commits}, "
                f"epoch {reached.epoch} of {mark.epoch}; a copy was restored or its write-ahead log was lost",
                code="store.rolled_back",
                hint=f"put the newer files back; or {ACCEPT_HINT}",
            )

    def raise_mark(self) -> None:
        """Write down what the store has reached, if the file does not say so already. Raises StoreError."""
        with translated(self._folder), locked(self._folder / LOCK):
            with self._database.read():
                reached = self.reached()
            if read_mark(self._folder) != reached:
                write_durably(self._folder / FILE, reached.as_bytes())
