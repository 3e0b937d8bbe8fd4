"""6.25: a real file system that has no room left, at any moment of a run: words, nothing lost, and on it goes.

The whole project lies on a small tmpfs. What is left of it decides how far a run comes before there is no room.
"""

from __future__ import annotations

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import claims
from processes.command import Commands, Ended, Strike
from processes.destination import Destination
from processes.matrix import RUN
from processes.test_crash_points import AGAIN_MAX
from processes.test_errors_of_the_disk import Faults, said, told
from processes.worlds import LANES, Letter, World

ROWS = {n: {"id": n, "name": f"p{n}", "score": n} for n in range(1, 101)}
DISK_BYTES = 16 << 20
PAGE = 4096
FULL = Strike(-1, error=errno.ENOSPC)
"""No step of a number fails: the disk itself is full."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own that holds DISK_BYTES."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@dataclass
class Tight(Faults):
    """Runs with so many bytes of room, and then with enough."""

    room: int = 0
    #: a run that had room from beginning to end
    whole: bool = False

    def die(self, strike: Strike) -> Ended:
        disk = self.world.folder.parent
        ballast = disk / "ballast"
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - self.room)
        ended = self.commands.run(self.world.folder, *RUN)
        self.world.server.wait_until_idle()
        ballast.unlink()
        document = told(ended)
        code = (document.get("error") or {}).get("code")
        self.ends[str(code or document.get("paused") or document.get("status"))] += 1
        self.whole = ended.code == 0
        where = f"class {self.world.letter}, {self.room:,} bytes of room"
        self.bad += [f"{where}: {found}" for found in said(ended, errno.ENOSPC, self.world.folder)]
        if code == "store.io":
            self.bad.append(f"{where}: a full disk is called a broken one: {document}")
        return ended


@pytest.mark.needs("tmpfs", "steps")
@pytest.mark.claim("DISK")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", ["T", "A", "C"] if claims.full() else ["A"])
def test_a_run_that_fills_the_disk_says_so_and_goes_on_when_there_is_room(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """From no room at all up to as much as a run needs."""
    with small_disk(tmp_path / "disk") as disk:
        world = World(letter, disk / "project", server, lanes=4, batch=2, first=ROWS)
        tight = Tight(world, forge, tmp_path)
        start = tight.begin("change" if letter == "T" else "first")
        tight.back(start)
        step = PAGE * (4 if claims.full() else 32)
        chance = random.Random(f"full disk {letter}")
        for room in sorted({4 * PAGE, *range(0, DISK_BYTES // 2, step)}):
            tight.room = room
            tight.one(start, [FULL], edit=chance.random() < 0.5)
            if tight.whole:
                break
    assert tight.whole, "no run had room enough"
    assert not tight.bad, f"{len(tight.bad)} findings in {tight.cases} cases: " + "\n".join(tight.bad[:8])
    assert tight.again <= AGAIN_MAX.get(letter, LANES * 2)
    ends = ", ".join(f"{end} {count:,}" for end, count in sorted(tight.ends.items()))
    figure(
        "DISK",
        f"class {letter}: a tmpfs with 0 to {tight.room:,} bytes of room: {ends}; 0 lost, doubled or stale after "
        "room was made",
    )
