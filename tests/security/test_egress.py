"""S13: nothing leaves the machine but to the addresses that a project names. No telemetry, no look for updates.

The command line in a real process: with every system call for the network witnessed by strace, and in a network
namespace of its own, in which there is nobody to talk to.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import claims
from levada_process import TIMEOUT_SECONDS, environment, small_project, write
from servers.records import records_server

DRIVER = """
import json, os, sys
from levada.cli.app import execute
for folder, arguments in json.load(open(sys.argv[1])):
    os.chdir(folder)
    print(json.dumps([arguments, execute(arguments)]), file=sys.stderr, flush=True)
"""
"""Commands one after the other in one process: to start one for each would cost a second of work each."""
STRAYING = """
import socket
# a name of this machine's own, so that nobody is asked for it; and UDP that is connected sends nothing
socket.getaddrinfo("localhost", 443)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 443))
"""
COMMANDS: Sequence[Sequence[str]] = (
    ["version"], ["connectors"], ["schema"], ["check"], ["preview", "customers_to_crm"], ["plan"], ["run"], ["run"],
    ["status"], ["runs"], ["records", "customers_to_crm"], ["resync", "customers_to_crm"], ["run"], ["doctor"],
    ["mark-synced", "customers_to_crm"], ["test"], ["init", "../another"],
)  # fmt: skip
MODEL = """/*
source: shop
key: id
*/
select c.id, c.email, c.score, strftime(o.at::timestamptz at time zone 'Asia/Tokyo', '%Y-%m-%d') as day
from customers c join orders o using (id)
"""
"""JSON, zones and formats: what DuckDB has extensions for, and would fetch if it were let."""
NAMES = ("/etc/hosts", "/etc/resolv.conf")
"""Files that are read when a name is looked up, and at no other time."""
USERS = "/var/run/nscd/socket"
"""Where the C library asks for the names of the machine's users, too."""
HEARING = ("accept", "accept4", "getsockname", "getpeername", "recvfrom", "recvmsg", "bind")
"""Calls that name an address and speak to nobody."""
HTTP = """type: http
base_url: {url}
objects:
  contacts:
    upsert: {{send: POST /records, body: "{{records}}"}}
"""


def project(folder: Path, destination: str = "") -> Path:
    """CSV and JSON into a SQLite file, or into what `destination` says."""
    made = small_project(folder, 30, {"model": MODEL, **({"destination": destination} if destination else {})})
    lines = [json.dumps({"id": n, "at": f"2026-03-{n:02} 23:00:00+00"}) for n in range(1, 31)]
    sync = "model: customers\nto: crm.contacts\nfields: {id: id, email: email, score: score, day: day}\n"
    sync += "match: {id: id}\n" if destination else "mode: mirror\n"
    return write(made, {"data/orders.jsonl": "\n".join(lines) + "\n", "syncs/customers_to_crm.yml": sync})


def witnessed(folder: Path, trace: Path, *program: str) -> tuple[frozenset[str], str]:
    """Run Python under strace; whom it spoke to (`127.0.0.1:80`, a socket's path, the kind of a strange socket), and
    what it said on stderr."""
    options = ["-f", "--seccomp-bpf", "-qq", "-s", "200", "-e", "trace=%network,openat", "-o", str(trace)]
    ended = subprocess.run(
        ["strace", *options, sys.executable, *program],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return frozenset(_addresses(trace.read_text(encoding="utf-8", errors="replace"))), ended.stderr


def _addresses(trace: str) -> set[str]:
    """Every address that a call was given, every socket that is neither of the internet nor of this machine, and the
    files that tell of a name that is looked up."""
    found: set[str] = set()
    for line in trace.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        if call is None or call[1] in HEARING:
            continue
        if call[1] == "openat":
            found.update(name for name in NAMES if f'"{name}"' in line)
            continue
        if call[1] in ("socket", "socketpair"):
            kind = re.search(r"\((AF_\w+)", line)
            assert kind, line
            # to list the machine's own addresses: a question to the kernel
            if kind[1] not in ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"):
                found.add(kind[1])
            continue
        for family, rest in re.findall(r"sa_family=(AF_\w+)([^}]*)\}", line):
            port = re.search(r"sin6?_port=htons\((\d+)\)", rest)
            host = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', rest)
            path = re.search(r'sun_path=@?"([^"]*)"', rest)
            if host:
                found.add(f"{host[1] or host[2]}:{port[1] if port else ''}")
            elif family not in ("AF_UNSPEC", "AF_NETLINK"):
                found.add(path[1] if path else family)
    return found - {USERS}


def commands(folder: Path, scratch: Path, arguments: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The driver's own arguments."""
    listed = scratch / "commands.json"
    listed.write_text(json.dumps([[str(folder), each] for each in arguments]))
    return "-c", DRIVER, str(listed)


def codes(said: str) -> dict[str, int]:
    """How each command ended; of one that was given twice the last."""
    return {" ".join(line[0]): line[1] for line in map(json.loads, re.findall(r"^\[\[.*\]$", said, re.MULTILINE))}


@pytest.mark.needs("strace")
def test_the_witness_sees_what_strays(tmp_path: Path) -> None:
    """A name that is looked up and an address of the open internet would be noticed."""
    found, _ = witnessed(tmp_path, tmp_path / "trace", "-c", STRAYING)
    assert {"192.0.2.1:443", *NAMES} <= found


@pytest.mark.claim("S13")
@pytest.mark.needs("strace")
def test_a_project_that_names_nobody_speaks_to_nobody(tmp_path: Path, figure: claims.Figure) -> None:
    """Every command of a project of files: not one connection, not one name looked up."""
    folder = project(tmp_path / "acme")
    found, said = witnessed(tmp_path, tmp_path / "trace", *commands(folder, tmp_path, COMMANDS))
    ended = codes(said)
    assert len(ended) == len({" ".join(each) for each in COMMANDS})
    assert {command: code for command, code in ended.items() if code} == {}, said
    assert found == frozenset()
    figure("S13", f"{len(COMMANDS)} commands of a project of files: 0 connections, 0 names looked up")


@pytest.mark.claim("S13")
@pytest.mark.needs("strace")
def test_a_project_that_names_a_host_speaks_to_it_alone(tmp_path: Path, figure: claims.Figure) -> None:
    """An HTTP destination: its address and port, and nothing else."""
    with records_server() as records:
        folder = project(tmp_path / "acme", HTTP.format(url=records.url))
        sent = [["check"], ["plan"], ["run"], ["run"], ["status"]]
        found, said = witnessed(tmp_path, tmp_path / "trace", *commands(folder, tmp_path, sent))
        assert set(codes(said).values()) == {0}, said
        assert len(records.held) == 30
    assert found == {records.url.removeprefix("http://")}
    figure("S13", f"{len(sent)} commands of a project with an HTTP destination: connections to its address alone")


@pytest.mark.claim("S13")
@pytest.mark.needs("netns")
def test_without_a_network_all_goes_on_as_with_one(tmp_path: Path, figure: claims.Figure) -> None:
    """In a network namespace without an interface nothing of a project of files is missing, and nothing waits."""
    folder = project(tmp_path / "acme")
    arguments = COMMANDS if claims.full() else [["check"], ["run"]]
    ended = subprocess.run(
        ["unshare", "--net", sys.executable, *commands(folder, tmp_path, arguments)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert {command: code for command, code in codes(ended.stderr).items() if code} == {}, ended.stderr
    assert len(codes(ended.stderr)) == len({" ".join(each) for each in arguments})
    figure("S13", f"{len(arguments)} commands without any network: all as with one")
