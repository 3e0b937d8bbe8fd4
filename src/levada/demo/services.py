"""The demo's tools as one process on loopback: a CRM, an ad audience and a webhook inbox.

    python -m levada.demo.services --state FOLDER --ports-file FILE [--with-parent]

Tokens come from the environment (CRM_TOKEN, ADS_TOKEN, INBOX_SECRET). Once all three listen, FILE holds
`{"crm": port, "ads": port, "inbox": port}`; ports named in an older FILE are taken again if they are free.
Ends in order on SIGTERM or Ctrl-C, and with `--with-parent` also when its standard input is closed: the end of
the process that started it, however that came about.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aiohttp import web

from levada.clock import Clock, SystemClock
from levada.demo.ads import Ads
from levada.demo.crm import Crm
from levada.demo.inbox import Inbox
from levada.errors import UnavailableError

HOST = "127.0.0.1"
START_MAX_SECONDS = 20.0
STOP_MAX_SECONDS = 5.0
TOOLS = ("crm", "ads", "inbox")


@contextmanager
def services_running(state: Path, ports_file: Path, secrets: Mapping[str, str]) -> Iterator[dict[str, int]]:
    """The three tools in a child process, for as long as the block lasts; gives their ports.

    `secrets`: CRM_TOKEN, ADS_TOKEN and INBOX_SECRET. Raises UnavailableError if they do not come up.
    """
    state.mkdir(parents=True, exist_ok=True)
    ready = ports_file.with_suffix(".ready")
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "levada.demo.services", "--state", str(state), "--with-parent"]
    with (state / "services.log").open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 -- our own interpreter and module
            [*command, "--ports-file", str(ports_file)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **secrets},
        )
    try:
        _wait_until_ready(child, ready, state)
        yield json.loads(ports_file.read_text(encoding="utf-8"))
    finally:
        assert child.stdin is not None
        child.stdin.close()
        child.terminate()
        try:
            child.wait(STOP_MAX_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _wait_until_ready(child: subprocess.Popen[bytes], ready: Path, state: Path) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + START_MAX_SECONDS
    while not ready.exists():
        if child.poll() is not None or clock.monotonic() > deadline:
            raise UnavailableError("the demo's tools did not start", hint=f"see {state / 'services.log'}")
        try:
            child.wait(0.02)
        except subprocess.TimeoutExpired:
            continue


async def serve(
    state: Path,
    ports_file: Path,
    secrets: Mapping[str, str],
    stop: asyncio.Event,
    ready: Callable[[Mapping[str, int]], None] | None = None,
) -> None:
    """Listen until `stop` is set. `ready` is called with the ports once all three listen."""
    clock: Clock = SystemClock()
    tools: dict[str, Crm | Ads | Inbox] = {
        "crm": Crm(state / "crm.sqlite", secrets["CRM_TOKEN"], clock),
        "ads": Ads(state / "ads.sqlite", secrets["ADS_TOKEN"]),
        "inbox": Inbox(state / "inbox.sqlite", secrets["INBOX_SECRET"], clock),
    }
    wanted = _ports(ports_file)
    runners = []
    try:
        for name, tool in tools.items():
            runner = web.AppRunner(tool.application(), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            runners.append(runner)
            wanted[name] = await _listen(runner, wanted.get(name, 0))
        partial = ports_file.with_suffix(".partial")
        partial.write_text(json.dumps({name: wanted[name] for name in TOOLS}), encoding="utf-8")
        partial.replace(ports_file)
        ports_file.with_suffix(".ready").touch()
        if ready is not None:
            ready(wanted)
        await stop.wait()
    finally:
        for runner in runners:
            await runner.cleanup()
        for tool in tools.values():
            tool.cabinet.close()


def _ports(ports_file: Path) -> dict[str, int]:
    """The ports of an earlier time, if they can be read."""
    try:
        known = json.loads(ports_file.read_text(encoding="utf-8"))
        return {name: int(known[name]) for name in TOOLS}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


async def _listen(runner: web.AppRunner, wanted: int) -> int:
    """Listen on the wanted port, or on any if it is taken; returns which."""
    for port in (wanted, 0) if wanted else (0,):
        site = web.TCPSite(runner, HOST, port)
        try:
            await site.start()
        except OSError:
            if port == 0:
                raise
            continue
        return int(runner.addresses[0][1])
    raise AssertionError("port 0 always answers or raises")


def stopped_by_signal() -> asyncio.Event:
    """An event of the running loop that SIGTERM and Ctrl-C set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _main(state: Path, ports_file: Path, with_parent: bool) -> None:
    stop = stopped_by_signal()
    if with_parent:
        asyncio.get_running_loop().add_reader(
            sys.stdin.fileno(), lambda: stop.set() if not os.read(sys.stdin.fileno(), 1024) else None
        )
    await serve(state, ports_file, os.environ, stop)


def main() -> int:
    parser = argparse.ArgumentParser(prog="levada.demo.services", description="The tools of the demo, on loopback.")
    parser.add_argument("--state", type=Path, required=True, help="folder for what the tools are sent")
    parser.add_argument("--ports-file", type=Path, required=True, help="where to write the ports")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.state, arguments.ports_file, arguments.with_parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
