"""6.8: a connection that breaks at any byte of a request or an answer loses nothing, doubles nothing, and is believed
in nothing.

Real runs of the command line against a real HTTP server, a real PostgreSQL and a real MariaDB, with a proxy between
that cuts (RST, FIN), stalls or dribbles. docs/internals/network.md says where.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import claims
from processes.command import Commands
from processes.cuts import Cuts, Region, regions
from processes.destination import Destination
from processes.worlds import Letter, World
from servers.fault_proxy import ALL, Fault, FaultProxy, Kind, Message, Side
from servers.mariadb import MariadbServer, fresh_mariadb

CUTS_FULL = int(os.environ.get("LEVADA_CUTS", "2"))
"""Bytes that are drawn in the full size of each part of requests and answers, for each class, scenario and kind of cut;
for a database five times as many of each direction."""
TIMEOUT_SECONDS = 0.3
"""How long these projects wait for an answer that is stalled."""
CUTTING: tuple[Kind, ...] = ("reset", "end")
WAITING: tuple[Kind, ...] = ("stall", "late", "dribble")
LATE_HOLD_SECONDS = 1.0
"""Longer than what is late needs to take effect."""
MARKS: dict[Letter, dict[bytes, int]] = {
    "T postgres": {b"PGCOPY": 60, b"COMMIT": len("COMMIT") + 1},
    "T mariadb": {b"INSERT INTO `people`": 40, b"COMMIT": len("COMMIT")},
}
"""What a session says when rows come and when they are to be kept, and how long this is: to the end of the message, or
into the rows."""


def behind(world: World, proxy: FaultProxy, **more: object) -> World:
    """The same world, reached through the proxy."""
    for url in (world.server.url, world.postgres, world.mariadb):
        if url and (url != world.server.url or world.http):
            world.through = url.replace(f":{urlsplit(url).port}", f":{proxy.port}")
    for name, value in more.items():
        setattr(world, name, value)
    return world


def figures(cuts: Cuts, figure: claims.Figure) -> None:
    """Nothing is wrong in any case; says how many there were."""
    assert not cuts.bad, f"{len(cuts.bad)} findings in {cuts.cases} cases, the first: " + "\n".join(cuts.bad[:5])
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(cuts.kinds.items()))
    figure(
        "NET",
        f"class {cuts.world.letter}: {cuts.cases:,} faults{'' if claims.full() else ' (drawn)'} in {len(cuts.parts)} "
        f"parts of requests and answers ({kinds}): 0 lost, 0 doubled in silence, 0 believed",
    )


def places(found: Sequence[Region], chance: random.Random, each: int) -> Iterator[tuple[Region, int]]:
    """For each sort of region `each` bytes at most, spread over the messages that have it."""
    sorts = Counter(str(region) for region in found)
    for sort in sorts:
        same = [region for region in found if str(region) == sort]
        every = [(region, place) for region in same for place in region.places]
        yield from chance.sample(every, min(each, len(every)))


def some_of(letter: Letter, found: Sequence[Region]) -> list[Region]:
    """For `make test`: four classes share the sorts of regions, the other has the one that tells most of it."""
    sorts = list(dict.fromkeys(map(str, found)))
    shares: list[Letter] = ["A", "C", "D once", "B"]
    kept = sorts[shares.index(letter) :: len(shares)] if letter in shares else ["answer: nothing of it"]
    return [region for region in found if str(region) in kept]


def http_cuts(letter: Letter, forge: Commands, server: Destination, folder: Path, proxy: FaultProxy) -> Cuts:
    world = behind(World(letter, folder / "project", server, lanes=1), proxy)
    return Cuts(world, forge, folder, proxy)


@pytest.mark.claim("NET")
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("letter", ["A", "B", "C", "D", "D once"])
def test_a_connection_cut_at_any_byte_is_never_taken_for_a_delivery(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """RST and FIN in every part of requests and answers, once or twice in a row, on new and on kept connections."""
    port = urlsplit(server.url).port
    assert port
    chance = random.Random(f"network {letter}")
    with FaultProxy(port) as proxy:
        cuts = http_cuts(letter, forge, server, tmp_path, proxy)
        for scenario in ("first", "change") if claims.full() else ("change",):
            start = cuts.begin(scenario)
            found = list(regions(*cuts.undisturbed(start)))
            if not claims.full():
                found = some_of(letter, found)
            chosen = places(found, chance, CUTS_FULL if claims.full() else 1)
            for turn, (region, place) in enumerate(chosen):
                for kind in CUTTING if claims.full() else (CUTTING[turn % 2],):
                    fault = Fault(kind, region.side, place, region.number, times=1 + (turn % 5 == 4))
                    cuts.one(start, fault, str(region), edit=turn % 3 == 2)
    figures(cuts, figure)


@pytest.mark.claim("NET")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("letter", ["A", "C", "D once"] if claims.full() else ["C"])
def test_a_connection_that_stalls_or_dribbles_is_waited_for_in_bounds(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """A silent server ends in doubt after the time allowed, also if what was said takes effect later; a slow one
    delivers."""
    port = urlsplit(server.url).port
    assert port
    chance = random.Random(f"stalls {letter}")
    with FaultProxy(port) as proxy:
        cuts = http_cuts(letter, forge, server, tmp_path, proxy)
        cuts.world.timeout_seconds, cuts.world.hold_seconds = TIMEOUT_SECONDS, LATE_HOLD_SECONDS
        start = cuts.begin("change")
        found = [region for region in regions(*cuts.undisturbed(start)) if region.name in ("body", "head", "headers")]
        sides = [region for region in found if claims.full() or region.name == "body"]
        for kind, (region, place) in itertools.product(
            WAITING, list(places(sides, chance, CUTS_FULL if claims.full() else 1))
        ):
            # a request that stalls at a byte of its own and comes late comes whole
            if claims.full() or (kind, region.side) in (("stall", "answer"), ("late", "request")):
                cuts.one(start, Fault(kind, region.side, place, region.number), str(region))
    figures(cuts, figure)


@pytest.mark.claim("NET")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("letter", ["A", "C", "D once"] if claims.full() else ["C"])
def test_a_connection_that_always_breaks_ends_the_run_and_the_next_one_converges(
    letter: Letter, forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Refused, broken on arrival, and no answer ever: exit code 2 or 5, and all arrives when the network is back."""
    port = urlsplit(server.url).port
    assert port
    with FaultProxy(port) as proxy:
        cuts = http_cuts(letter, forge, server, tmp_path, proxy)
        start = cuts.begin("change")
        cuts.one(start, None, "connect: refused", edit=True)
        cuts.one(start, Fault("end", "answer", times=ALL), "answer: never one", edit=True)
        for kind in CUTTING if claims.full() else ():
            cuts.one(start, Fault(kind, "connect", times=ALL), "connect: accepted and broken", edit=True)
    figures(cuts, figure)


@pytest.fixture(scope="module")
def mariadb_url(mariadb_server: MariadbServer) -> Iterator[str]:
    """A database for all tests of this module."""
    with fresh_mariadb(mariadb_server) as url:
        yield url


def database_cuts(world: World, forge: Commands, folder: Path, proxy: FaultProxy, figure: claims.Figure) -> None:
    """Around COMMIT and the rows, which the protocol lets one see as text, and at bytes of the whole session."""
    cuts = Cuts(behind(world, proxy, lanes=1), forge, folder, proxy)
    start = cuts.begin("first")
    requests, answers = cuts.undisturbed(start)
    chance = random.Random(f"network {world.letter}")
    marked: list[tuple[Fault, str]] = []
    rows = min(MARKS[world.letter], key=lambda mark: mark == b"COMMIT")
    for turn, (mark, length) in enumerate(MARKS[world.letter].items()):
        places_of_mark: tuple[tuple[Side, int, str], ...] = (
            ("request", 0, "not said"),
            ("request", length // 2, "said in part"),
            ("request", length, "said, no answer waited for"),
            ("answer", 0, "said and done, no answer"),
        )
        for side, at, part in places_of_mark:
            kinds = CUTTING if claims.full() else (CUTTING[(turn + at) % 2],)
            marked += [(Fault(kind, side, at, mark=mark, after=rows), f"{mark.decode()} {part}") for kind in kinds]
    for fault, part in marked if claims.full() else marked[6:]:
        cuts.one(start, fault, part, edit=True)
    # the writer's is the session that said the most
    sides: tuple[tuple[Side, list[Message]], ...] = (("request", requests), ("answer", answers))
    for side, messages in sides:
        longest = max(messages, key=lambda message: message.size)
        size = min(longest.size, 5 * CUTS_FULL) if claims.full() else 0
        for place in sorted(chance.sample(range(longest.size), size)):
            kind = chance.choice(CUTTING)
            cuts.one(start, Fault(kind, side, place, longest.number), f"{side}: any byte", edit=bool(place % 2))
    figures(cuts, figure)


@pytest.mark.claim("NET")
@pytest.mark.timeout(3600)
def test_a_connection_to_postgres_cut_anywhere_leaves_rows_and_mark_together(
    forge: Commands, server: Destination, tmp_path: Path, postgres_url: str, figure: claims.Figure
) -> None:
    """In the middle of COPY, before COMMIT, and when COMMIT was done and its answer lost: each effect exactly once."""
    port = urlsplit(postgres_url).port
    assert port
    with FaultProxy(port, http=False) as proxy:
        database_cuts(World("T postgres", tmp_path / "project", server, postgres_url), forge, tmp_path, proxy, figure)


@pytest.mark.claim("NET")
@pytest.mark.needs("mariadb")
@pytest.mark.timeout(3600)
def test_a_connection_to_mariadb_cut_anywhere_leaves_rows_and_mark_together(
    forge: Commands, server: Destination, tmp_path: Path, mariadb_url: str, figure: claims.Figure
) -> None:
    """The same where rows go as INSERT."""
    port = urlsplit(mariadb_url).port
    assert port
    with FaultProxy(port, http=False) as proxy:
        world = World("T mariadb", tmp_path / "project", server, mariadb=mariadb_url)
        database_cuts(world, forge, tmp_path, proxy, figure)
