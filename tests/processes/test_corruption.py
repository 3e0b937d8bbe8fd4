"""6.27, 6.28: each file of the state, damaged in each way: the next start names it, or is as right as ever.

A run was killed with a request under way, so everything is needed: the ledger, the plan, its order, the journal. A
file is flipped in a bit, cut, emptied, deleted, or replaced by what another moment or another run had in its place.
Then either the run refuses in words that name what is damaged and what to do, and sends nothing; or the damage is none
that matters, and the judge finds nothing. After the command that the words name, all records are there, once.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import claims
from processes import judge
from processes.command import Commands, Ended, Strike
from processes.destination import Destination
from processes.matrix import RUN, Matrix, Start
from processes.test_errors_of_the_disk import told
from processes.worlds import SECOND, Letter, World, edited

LETTERS: tuple[Letter, ...] = ("A", "C") if claims.full() else ("C",)
DRAWN = (int(os.environ.get("LEVADA_POINTS", "1")) or 32) if claims.full() else 1
"""Bits that are flipped in each file: one in each of so many parts of it."""
CASES_SMALL = 5
STATE = ".levada"
KEPT = edited(SECOND, {4: {"id": 4, "name": "p4", "score": 41}, 5: {"id": 5, "name": "p5", "score": 51}})
"""A model in which nobody leaves: to begin a ledger anew forgets which removals were pending, and says so."""
REMEDIES = {
    "--discard-plan": ("run", "people", "--discard-plan", "--json"),
    "--rebuild": ("resync", "people", "--rebuild", "--json"),
    "--accept-rollback": ("doctor", "--accept-rollback", "--json"),
}
"""What the words offer, and the command that it stands for."""

Damage = Callable[[Path], object]


@dataclass
class Damaged:
    """All cases of one class. `ends`: how often which code was said."""

    matrix: Matrix
    start: Start
    chance: random.Random
    earlier: dict[str, bytes] = field(default_factory=dict)
    cases: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    kinds: set[str] = field(default_factory=set)
    bad: list[str] = field(default_factory=list)

    def damages(self, path: Path) -> Iterator[tuple[str, Damage]]:
        """Every way in which the file can be other than it was written."""
        size = path.stat().st_size
        for part in range(DRAWN if size else 0):
            place = self.chance.randrange(
                part * size // DRAWN, max((part + 1) * size // DRAWN, part * size // DRAWN + 1)
            )
            bit = 1 << self.chance.randrange(8)

            def flip(path: Path, place: int = place, bit: int = bit) -> None:
                content = bytearray(path.read_bytes())
                content[place] ^= bit
                path.write_bytes(content)

            yield f"bit {bit} of byte {place} of {size} flipped", flip
        if size:
            cut = self.chance.randrange(1, size) if size > 1 else 0
            yield f"cut to {cut} of {size} bytes", lambda path: path.write_bytes(path.read_bytes()[:cut])
            yield "emptied", lambda path: path.write_bytes(b"")
        yield "deleted", lambda path: path.unlink()
        name = kind_of(path.relative_to(self.matrix.world.folder))
        if name in self.earlier and self.earlier[name] != path.read_bytes():
            yield "replaced by an older one", lambda path: path.write_bytes(self.earlier[name])

    def case(self, name: str, what: str, damage: Damage) -> None:
        world, commands = self.matrix.world, self.matrix.commands
        self.matrix.back(self.start)
        damage(world.folder / name)
        self.cases += 1
        self.kinds.add(kind_of(Path(name)))
        where = f"class {world.letter}: {name} {what}"
        marks, before = [len(world.log())], world.writes()
        ended = commands.run(world.folder, *RUN)
        found = told(ended)
        error: dict[str, Any] = found.get("error") or {}
        self.ends[str(error.get("code") or found.get("status"))] += 1
        if error:
            self.bad += [f"{where}: {each}" for each in said(ended, error)]
            if world.writes() != before:
                self.bad.append(f"{where}: {world.writes() - before} writes, and then {error}")
            if not self._mended(where, error):
                return
        elif ended.code not in self.matrix.good_codes:
            self.bad.append(f"{where}: {ended.code}: {ended.out} {ended.talk}")
            return
        quiet_from = world.writes()
        quiet = commands.run(world.folder, *RUN)
        if quiet.code not in (0, 3):
            self.bad.append(f"{where}: the run after ended with {quiet.code}: {quiet.out} {quiet.talk}")
            return
        log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
        evidence = judge.Evidence(
            world.letter, world.history, log, world.held(), world.reports(), marks, world.writes() - quiet_from
        )
        allowed = ("report", "sums") if error else ()  # what a dropped journal had counted, nobody can tell any more
        self.bad += [f"{where}: {each}" for each in judge.findings(evidence) if not each.startswith(allowed)]

    def _mended(self, where: str, error: dict[str, Any]) -> bool:
        """Do what the words say, until a run is through."""
        world, commands = self.matrix.world, self.matrix.commands
        for _ in range(len(REMEDIES)):
            offered = [command for words, command in REMEDIES.items() if words in str(error.get("hint"))]
            if not offered:
                self.bad.append(f"{where}: no command of ours in {error}")
                return False
            # a file that the words ask to be moved away is moved away
            if moved := re.search(r"move that file elsewhere", str(error["hint"])):
                assert moved
                for file in (world.folder / STATE).glob("state.sqlite*"):
                    shutil.move(file, self.matrix.scratch / f"moved-{file.name}")
            tried = commands.run(world.folder, *offered[-1])
            again = commands.run(world.folder, *RUN)
            document = told(again)
            if again.code in (0, 3) and document.get("status") in ("succeeded", "partial"):
                return True
            error = document.get("error") or {}
            if not error:
                self.bad.append(f"{where}: after {offered[-1]} ({tried.code}): {again.code}: {again.out} {again.talk}")
                return False
        self.bad.append(f"{where}: still {error} after all that its words said")
        return False


def kind_of(name: Path) -> str:
    """The file's name in every run."""
    return "/".join(re.sub(r"run_[0-9a-f]+", "RUN", part) for part in name.parts)


def said(ended: Ended, error: dict[str, Any]) -> Iterator[str]:
    """What is wrong with the words."""
    if ended.code != 2 or not str(error.get("code")).startswith("store."):
        yield f"exit code {ended.code}, {error}"
    if not error.get("hint") or not error.get("message") or "Traceback" in ended.talk:
        yield f"no words, or no way out: {error} {ended.talk}"


@pytest.mark.needs("steps")
@pytest.mark.claim("DECAY")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", LETTERS)
def test_a_damaged_file_of_the_state_is_named_and_nothing_is_sent_from_it(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    world = World(letter, tmp_path / "project", server)
    matrix = Matrix(world, forge, tmp_path)
    world.prepare()
    assert forge.run(world.folder, *RUN).code == 0
    state = world.folder / STATE
    earlier = {kind_of(file.relative_to(world.folder)): file.read_bytes() for file in files_of(state)}
    world.model(KEPT)
    strike = Strike(1, after=True, only="recv")
    assert forge.run(world.folder, *RUN, strike=strike).killed
    server.wait_until_idle()
    damaged = Damaged(matrix, matrix.kept("damaged"), random.Random(f"corruption {letter}"), earlier)
    names = [str(file.relative_to(world.folder)) for file in files_of(state)]
    cases = [(name, *each) for name in names for each in damaged.damages(world.folder / name)]
    if not claims.full():
        cases = one_of_each(cases, damaged.chance)
    for case in cases:
        damaged.case(*case)
    assert not damaged.bad, f"{len(damaged.bad)} findings in {damaged.cases} cases: " + "\n".join(damaged.bad[:8])
    named = sum(count for end, count in damaged.ends.items() if end.startswith("store."))
    assert named, "no damage was noticed"
    figure(
        "DECAY",
        f"class {letter}: {damaged.cases:,} damages of {len(damaged.kinds)} kinds of files"
        f"{'' if claims.full() else ' (drawn)'}: {named:,} named and nothing sent, {damaged.cases - named:,} without "
        "effect; 0 lost or doubled after what the words say",
    )


def files_of(state: Path) -> list[Path]:
    return sorted(path for path in state.rglob("*") if path.is_file())


def one_of_each(cases: list[tuple[str, str, Damage]], chance: random.Random) -> list[tuple[str, str, Damage]]:
    """Some, of different files: the plan and its order first, since nothing else looks at them before they are sent."""
    chance.shuffle(cases)
    flips = {Path(name).name: (name, what, damage) for name, what, damage in cases if "flipped" in what}
    first = [flips[name] for name in ("plan.json", "order.json", "recipe.json")]
    drawn = {Path(case[0]).name: case for case in cases if Path(case[0]).name not in flips or chance.random() < 0.8}
    for case in first:
        drawn.pop(Path(case[0]).name, None)
    return [*first, *drawn.values()][:CASES_SMALL]
