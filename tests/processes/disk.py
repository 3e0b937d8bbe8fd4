"""A disk as a power cut may leave it: what was fsynced is there; of everything else, some, or nothing.

`Disk` follows a process's system calls (`witness`) and can say at any moment what the disk may hold. Files and names
are apart, as in POSIX: fsync of a file keeps its content, not its name; fsync of a folder keeps the names in it. A
rename inside one folder is one step. Content that was not synced survives in sectors, in any choice of them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from processes.witness import END, Event

SECTOR = 512
Survival = Literal["nothing", "names", "content", "drawn"]
"""Of what was not synced: nothing survives; all names do; all content does; of each a drawn part."""
SURVIVALS: tuple[Survival, ...] = ("nothing", "names", "content", "drawn")


@dataclass(slots=True)
class File:
    """Content on disk, and what was written since the last fsync: data at a place, or (None) a new length."""

    synced: bytes = b""
    later: list[tuple[int, bytes | None]] = field(default_factory=list)

    @property
    def now(self) -> bytes:
        return _written(self.synced, self.later)

    def sync(self) -> None:
        self.synced, self.later = self.now, []

    def survived(self, survival: Survival, chance: random.Random) -> bytes:
        match survival:
            case "nothing" | "names":
                return self.synced
            case "content":
                return self.now
            case "drawn":
                return _written(self.synced, [one for one in _sectors(self.later) if chance.random() < 0.5])


@dataclass(slots=True)
class Folder:
    """Names on disk, names now, and the steps between: each sets (or, None, takes away) names together."""

    synced: dict[str, File | Folder] = field(default_factory=dict)
    now: dict[str, File | Folder] = field(default_factory=dict)
    later: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        self.later.append(names)
        _renamed(self.now, names)

    def sync(self) -> None:
        self.synced, self.later = dict(self.now), []

    def survived(self, survival: Survival, chance: random.Random) -> dict[str, File | Folder]:
        found = dict(self.synced)
        for names in self.later:
            if survival == "names" or (survival == "drawn" and chance.random() < 0.5):
                _renamed(found, names)
        return found


class Disk:
    """What a folder holds, starting with what is there now, which counts as synced."""

    def __init__(self, folder: Path) -> None:
        self.root = _loaded(folder)

    def follow(self, event: Event) -> None:
        """What the system call has done."""
        match event.call:
            case "write":
                assert event.data is not None
                file = self._file(event.path)
                file.later.append((len(file.now) if event.at == END else event.at, event.data))
            case "truncate":
                self._file(event.path).later.append((event.at, None))
            case "sync":
                node = self._node(event.path)
                assert node is not None, f"{event.path} is not there"
                node.sync()
            case "open":
                if self._node(event.path) is None:
                    self._place(event.path, File())
                elif event.at:  # emptied
                    self._file(event.path).later.append((0, None))
            case "mkdir":
                self._place(event.path, Folder())
            case "unlink":
                self._place(event.path, None)
            case "link":
                self._place(event.target, self._node(event.path))
            case "rename":
                self._rename(event.path, event.target)

    def write(self, to: Path, survival: Survival, chance: random.Random) -> None:
        """Make `to` what the disk may hold after a power cut at this moment."""
        shutil.rmtree(to, ignore_errors=True)
        written: dict[int, Path] = {}
        _write(self.root, to, survival, chance, written)

    def _node(self, path: str) -> File | Folder | None:
        node: File | Folder | None = self.root
        for part in PurePosixPath(path).parts:
            if not isinstance(node, Folder):
                return None
            node = node.now.get(part)
        return node

    def _file(self, path: str) -> File:
        node = self._node(path)
        assert isinstance(node, File), f"{path} is not a file that is there"
        return node

    def _parent(self, path: str) -> tuple[Folder, str]:
        parent = self._node(str(PurePosixPath(path).parent))
        assert isinstance(parent, Folder), f"{path} has no folder"
        return parent, PurePosixPath(path).name

    def _place(self, path: str, node: File | Folder | None) -> None:
        parent, name = self._parent(path)
        parent.change({name: node})

    def _rename(self, path: str, target: str) -> None:
        (old, name), (new, new_name) = self._parent(path), self._parent(target)
        node = self._node(path)
        if old is new:
            old.change({name: None, new_name: node})
        else:
            new.change({new_name: node})
            old.change({name: None})


def _loaded(path: Path) -> Folder:
    names: dict[str, File | Folder] = {
        each.name: _loaded(each) if each.is_dir() else File(each.read_bytes()) for each in path.iterdir()
    }
    return Folder(dict(names), names)


def _renamed(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _written(content: bytes, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
    if not changes:
        return content
    found = bytearray(content)
    for at, data in changes:
        end = at if data is None else at + len(data)
        if len(found) < end:
            found.extend(bytes(end - len(found)))
        if data is None:
            del found[at:]
        else:
            found[at:end] = data
    return bytes(found)


def _sectors(changes: Sequence[tuple[int, bytes | None]]) -> Iterator[tuple[int, bytes | None]]:
    for at, data in changes:
        if data is None:
            yield at, None
            continue
        start = 0
        while start < len(data):
            end = min(len(data), start + SECTOR - (at + start) % SECTOR)
            yield at + start, data[start:end]
            start = end


def _write(node: Folder, to: Path, survival: Survival, chance: random.Random, written: dict[int, Path]) -> None:
    to.mkdir(mode=0o700)
    for name, each in node.survived(survival, chance).items():
        if isinstance(each, Folder):
            _write(each, to / name, survival, chance, written)
        elif id(each) in written:
            (to / name).hardlink_to(written[id(each)])
        elif not name.endswith("-shm"):  # memory that processes share, without a meaning after a restart
            (to / name).write_bytes(each.survived(survival, chance))
            (to / name).chmod(0o600)
            written[id(each)] = to / name
