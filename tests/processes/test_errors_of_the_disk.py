"""6.25, 6.26: a disk that fails once, or is full from some moment on, ends the run with words and loses nothing.

Any step of a run that touches a file can fail: a write, an fsync, a name that is to be made. The run says what failed,
where, and what to do, and has an exit code for it; the next start, on a disk that works again, needs no person. A
failed fsync is a case of its own: what it was to keep may never reach the disk, though every process still reads it.
"""

from __future__ import annotations

import errno
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import claims
from processes import judge
from processes.command import Commands, Ended, Step, Strike
from processes.destination import Destination
from processes.disk import Disk
from processes.matrix import RUN, Matrix
from processes.test_crash_points import AGAIN_MAX
from processes.test_power import AT_ONCE
from processes.witness import events, watched
from processes.worlds import LANES, Letter, World

LETTERS: tuple[Letter, ...] = ("T", "A", "B", "C", "D", "D once") if claims.full() else ("T", "C")
POINTS = int(os.environ.get("LEVADA_POINTS", "15"))
"""So many drawn steps for each class, scenario and error in the full size; 0: all of them, which takes hours."""
POINTS_SMALL = 1
CODES = {errno.EIO: ("store.io",), errno.ENOSPC: ("store.disk_full", "store.io")}
"""What a run that ends for it is called. SQLite does not tell why an fsync failed: that counts as broken."""


@dataclass
class Faults(Matrix):
    """Instead of a kill, a step that fails. `ends` counts how the runs ended."""

    ends: Counter[str] = field(default_factory=Counter)

    def die(self, strike: Strike) -> Ended:
        ended = self.commands.run(self.world.folder, *RUN, strike=strike)
        self.world.server.wait_until_idle()
        step = ended.steps[strike.number].sort if len(ended.steps) > strike.number else "nothing"
        self.struck[step] += 1
        where = f"class {self.world.letter}: {strike}, {step}"
        self.bad += [f"{where}: {found}" for found in said(ended, strike.error, self.world.folder)]
        document = told(ended)
        code = (document.get("error") or {}).get("code")
        self.ends[str(code or document.get("paused") or document.get("status"))] += 1
        return ended


def told(ended: Ended) -> dict[str, Any]:
    """What the run printed, if that is a document."""
    try:
        return ended.document
    except json.JSONDecodeError:
        return {}


def said(ended: Ended, error: int, folder: Path) -> Iterator[str]:
    """What is wrong with the words of a run whose disk failed."""
    document = told(ended)
    if "Traceback" in ended.out + ended.talk or not document:
        yield f"no words, but: {ended.out} {ended.talk}"
    elif document.get("status") == "succeeded":
        if ended.code:
            yield f"succeeded, and exit code {ended.code}"
    elif "paused" in document and document.get("status") == "paused":
        if ended.code != 5 or not document["message"]:
            yield f"a pause without words: {ended.code} {document}"
    elif not _of_the_destination(document):
        found = document.get("error") or {}
        if ended.code != 2 or found.get("code") not in CODES[error]:
            yield f"exit code {ended.code}, {found}"
        if not found.get("hint") or str(folder) not in str(found.get("message")):
            yield f"does not say where, or what to do: {found}"


def _of_the_destination(document: dict[str, Any]) -> bool:
    """The destination of class T is a file, too: where that one fails, its own file in destinations/ is named."""
    found = document.get("error") or {}
    return found.get("code") == "destination.unavailable" and "destinations/" in str(found.get("hint"))


def of_files(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.where != "tcp" and not step.where.startswith("tmp")]


@pytest.mark.needs("steps")
@pytest.mark.claim("DISK")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(
    ("letter", "error"),
    [(letter, error) for letter in LETTERS for error in CODES]
    if claims.full()
    else list(zip(LETTERS, CODES, strict=True)),
    ids=lambda given: given if isinstance(given, str) else errno.errorcode[given],
)
def test_a_disk_that_fails_at_any_step_ends_the_run_with_words_and_the_next_start_finishes(
    letter: Letter, error: int, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """EIO once; ENOSPC from there on. Nothing lost, doubled or stale, and no more sent again than after a kill."""
    faults = Faults(World(letter, tmp_path / "project", server), forge, tmp_path)
    chance = random.Random(f"errors of the disk {letter} {error}")
    for scenario in ("first", "change") if claims.full() else ("change",):
        start = faults.begin(scenario)
        steps = of_files(faults.steps_of(start))
        points = (POINTS or len(steps)) if claims.full() else POINTS_SMALL
        essential = [step for step in steps if step.where.endswith("state.sqlite-wal")]
        for step in [chance.choice(essential), *chance.sample(steps, min(points, len(steps)))]:
            strike = Strike(step.number, error=error, on=error == errno.ENOSPC)
            faults.one(start, [strike], edit=chance.random() < 0.5)
    assert not faults.bad, f"{len(faults.bad)} findings in {faults.cases} cases: " + "\n".join(faults.bad[:8])
    assert faults.again <= AGAIN_MAX.get(letter, LANES)
    failed = sum(count for end, count in faults.ends.items() if end != "succeeded")
    assert failed, "no step that failed was noticed"
    how = "a disk full from" if error == errno.ENOSPC else "EIO at"
    ends = ", ".join(f"{end} {count:,}" for end, count in sorted(faults.ends.items()))
    figure(
        "DISK",
        f"class {letter}: {how} one of {faults.cases:,} steps (drawn): {ends}; "
        "0 lost, doubled or stale after the next start",
    )


@pytest.mark.needs("strace", "tmpfs", "steps")
@pytest.mark.claim("DISK")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", LETTERS if claims.full() else ("A",))
def test_what_a_failed_fsync_did_not_keep_is_not_believed(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """After the run only what was truly synced is left, as when the kernel drops pages that it could not write."""
    world = World(letter, tmp_path / "project", server)
    matrix = Matrix(world, forge, tmp_path)
    start = matrix.begin("change")
    calls = Counter(step.call for step in matrix.steps_of(start) if step.call in ("fsync", "fdatasync"))
    points = [(call, number) for call, count in sorted(calls.items()) for number in range(count)]
    wanted = (POINTS or len(points)) if claims.full() else 2
    points = random.Random("failed fsync").sample(points, min(wanted, len(points)))
    boot = tmp_path / "boot"
    boot.write_text("the-boot-whose-disk-failed\n", encoding="ascii")
    bad: list[str] = []
    believed = 0
    for call, number in points:
        matrix.back(start)
        trace = tmp_path / "strace"
        variables = {
            "LD_PRELOAD": str(forge.library),
            "STEPS_FOLDER": str(world.folder),
            "STEPS_TRACE": str(tmp_path / "steps"),
            "STEPS_FAIL_CALL": call,
            "STEPS_FAIL_NUMBER": str(number),
        }
        first = watched(world.folder, trace, RUN, boot=boot, variables=variables)
        server.wait_until_idle()
        disk = Disk(start.folder)
        for event in events(trace, world.folder):
            disk.follow(event)
        disk.write(world.folder, "nothing", random.Random(0))
        (world.folder / "tmp").mkdir(exist_ok=True)
        marks, before = [len(world.log())], world.writes()
        later = [forge.wait(forge.start(world.folder, *RUN, constants=AT_ONCE))]
        resumed = world.writes()
        later.append(forge.run(world.folder, *RUN))
        where = f"class {letter}: {call} number {number} failed, the run ended with {first.code}"
        if any(ended.code not in matrix.good_codes for ended in later):
            bad.append(f"{where}: {[(ended.code, ended.talk) for ended in later]}")
            continue
        if first.code == 0:
            believed += 1
            if resumed != before:
                bad.append(f"{where}: it had ended well, and {resumed - before} writes came after it")
        log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
        evidence = judge.Evidence(
            letter, world.history, log, world.held(), world.reports(), marks, world.writes() - resumed
        )
        bad += [f"{where}: {found}" for found in judge.findings(evidence)]
        if max(judge.sent_again(evidence)) > AGAIN_MAX.get(letter, LANES):
            bad.append(f"{where}: forgotten, and sent again")
    assert not bad, f"{len(bad)} findings in {len(points)} cases: " + "\n".join(bad[:8])
    assert believed < len(points), "no failed fsync was noticed"
    figure(
        "DISK",
        f"class {letter}: {len(points):,} fsyncs of {calls.total():,} failed, and what they were to "
        f"keep was gone: {len(points) - believed} runs ended with an error, {believed} well and rightly; 0 lost",
    )
