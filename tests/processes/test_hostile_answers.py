"""S17: an answer that means harm, or is broken, costs bounded memory and time and is believed in nothing.

Real runs against a server that answers the first request for each record in a way of its own; `hostile` has the list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import claims
from levada.addresses import AddressPolicy
from levada.delivery.wire import HttpWire, Outgoing
from processes import judge
from processes.command import Commands, Ended
from processes.destination import Destination
from processes.hostile import BROKEN, ENDLESS, TRUE_BUT_ODD, Hostile, Said, hostile_server, redirects
from processes.matrix import RUN
from processes.worlds import Letter, World
from servers.tls import tls_server

Script = Callable[[bytes], Iterable[Said]]
TIMEOUT_SECONDS = 2.0
MEMORY_BYTES_MAX = 512 * 1024 * 1024
"""The peak of a run over all of them, four at a time (H9)."""
SECRET = "s3cret-Token"


@pytest.fixture
def peaks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most memory of each command, in bytes, as the system tells when it has ended."""
    found: list[int] = []
    told = Commands._told

    def noted(self: Commands) -> dict[str, int]:
        words = told(self)
        if "peak" in words:
            found.append(words["peak"] * 1024)
        return words

    monkeypatch.setattr(Commands, "_told", noted)
    return found


def world_of(
    letter: Letter, folder: Path, server: Destination, hostile: Hostile, scripts: Mapping[str, tuple[Script, bool]]
) -> World:
    """One record for each script, one record in a request."""
    hostile.scripts = {n: (name, *script) for n, (name, script) in enumerate(scripts.items(), 1)}
    first = {n: {"id": n, "name": f"p{n}", "score": n} for n in hostile.scripts}
    world = World(letter, folder / "project", server, lanes=4, batch=1, first=first, timeout_seconds=TIMEOUT_SECONDS)
    world.through = f"http://127.0.0.1:{hostile.port}"
    world.prepare()
    return world


def just(said: bytes) -> Script:
    """Says this, whatever was asked."""
    return lambda good: [said]


def judged(world: World, forge: Commands, first: Ended) -> None:
    """It ended well, and what it tells is what the destination knows."""
    assert "Traceback" not in first.talk, first.talk
    assert first.code == 0, (first.out, first.talk)
    mark, quiet_from = len(world.log()), world.writes()
    quiet = forge.run(world.folder, *RUN)
    assert quiet.code == 0, quiet.talk
    log = [(one.request, one.verb, one.key, one.values, one.rid) for one in world.log()]
    evidence = judge.Evidence(
        world.letter, world.history, log, world.held(), world.reports(), [mark], world.writes() - quiet_from
    )
    assert list(judge.findings(evidence)) == []


@pytest.mark.claim("S17")
@pytest.mark.timeout(600)
def test_no_hostile_answer_to_a_write_is_believed(
    forge: Commands, server: Destination, tmp_path: Path, peaks: list[int], figure: claims.Figure
) -> None:
    """What was not done is sent again, what was done is remembered; no traceback, no memory without end."""
    port = urlsplit(server.url).port
    assert port
    with hostile_server(port) as hostile:
        scripts = {name: (script, False) for name, script in {**ENDLESS, **BROKEN}.items()}
        scripts |= {name: (script, True) for name, script in TRUE_BUT_ODD.items()}
        world = world_of("A", tmp_path, server, hostile, scripts)
        first = forge.run(world.folder, *RUN)
        judged(world, forge, first)
        assert sorted(hostile.given) == sorted(scripts)
    assert max(peaks) < MEMORY_BYTES_MAX
    figure("S17", f"{len(scripts)} answers to writes: 0 believed, peak {max(peaks) / 2**20:,.0f} MiB")


@pytest.mark.claim("S17")
@pytest.mark.timeout(600)
def test_no_hostile_answer_to_a_look_up_is_taken_for_an_absence(
    forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """Class C: the create was done, its answer lost, and the question after it is answered badly: no second record."""
    port = urlsplit(server.url).port
    assert port
    with hostile_server(port) as hostile:
        hostile.path, hostile.lost = "/search", "/create"
        # what has no `ok` to be edited, and what says nothing of a record, is another thing to a look-up
        left_out = ("another one's", "a name twice in", "no UTF-8", "a number", "an exponent", "NaN")
        scripts = {name: (script, False) for name, script in BROKEN.items() if not name.startswith(left_out)}
        if claims.full():
            scripts |= {name: (script, False) for name, script in ENDLESS.items()}
        world = world_of("C", tmp_path, server, hostile, scripts)
        judged(world, forge, forge.run(world.folder, *RUN))
        assert set(hostile.given) <= set(scripts)
        assert len(hostile.given) > len(scripts) // 5
    figure("S17", f"{len(hostile.given)} answers to look-ups: 0 taken for an absence")


@pytest.mark.claim("S17")
@pytest.mark.timeout(600)
def test_no_redirect_is_followed_and_no_credential_goes_along(
    forge: Commands, server: Destination, tmp_path: Path, figure: claims.Figure
) -> None:
    """To another host, a file, a metadata service, or round in a circle: nobody there hears a word, and the run says
    where it was sent."""
    port = urlsplit(server.url).port
    assert port

    async def answer(name: str) -> int:
        wire = HttpWire(AddressPolicy(private=True))
        url = f"http://127.0.0.1:{hostile.port}{hostile.path}"
        headers = {"Authorization": f"Bearer {SECRET}"}
        hostile.scripts = {1: (name, just(answers[name]), False)}
        try:
            body = b'{"records": [{"id": 1}]}'
            return (await wire.send(Outgoing("POST", url, headers, body=body, timeout_seconds=10))).status
        finally:
            await wire.close()

    with tls_server(None) as elsewhere, hostile_server(port) as hostile:
        answers = redirects(f"http://127.0.0.1:{elsewhere.port}")
        for name in answers:
            hostile.forget()
            assert asyncio.run(answer(name)) == int(name[:3]), name
        runs = 0
        for name in list(answers) if claims.full() else ["302 to another host", "307 to the same place"]:
            hostile.forget()
            world = world_of("A", tmp_path, server, hostile, {name: (just(answers[name]), False)})
            first = forge.run(world.folder, *RUN)
            assert first.code in (2, 5), (name, first.out, first.talk)
            assert "redirects to" in first.talk, name
            assert not world.log()
            judged(world, forge, forge.run(world.folder, *RUN))
            runs += 1
        assert (elsewhere.connections, bytes(elsewhere.heard)) == (0, b"")
    figure(
        "S17", f"{len(answers)} redirects, 0 followed; {runs} runs that met one said so, and the next ones converged"
    )
