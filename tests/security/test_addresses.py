"""No notation of an inner address gets through, and no name that leads inwards (the policy of lower roles).

Nothing leaves the machine: the event loop's own `getaddrinfo` and `sock_connect` are replaced by witnesses, which
answer from a table and note where a connection would have gone. Everything between is the real wire.
"""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import claims
from levada.addresses import AddressPolicy
from levada.delivery.wire import HttpWire, Lost, NotSent, Outgoing
from levada.errors import ConfigError, LevadaError
from levada.runner.project import Project
from levada_process import write

OUTSIDE = AddressPolicy(private=False)
ADMINISTRATOR = AddressPolicy(private=True)

INNER = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1",
    "192.168.255.254", "169.254.169.254", "169.254.0.1", "100.64.0.1", "100.100.100.200", "192.0.0.192", "0.0.0.0",
    "0.1.2.3", "255.255.255.255", "240.0.0.1", "198.18.0.1", "168.63.129.16", "224.0.0.1",
)  # fmt: skip
"""One IPv4 address of each kind that is not of the open internet."""


def spellings(address: str) -> Iterator[str]:
    """The ways in which systems let one write an IPv4 address, or hide it in an IPv6 one."""
    number = int(ipaddress.IPv4Address(address))
    a, b, c, d = address.split(".")
    high, low = number >> 16, number & 0xFFFF
    yield from (address, f"{address}.", str(number), hex(number), f"0X{number:X}", f"0{number:o}")
    yield from (f"{a}.{(int(b) << 16) + (int(c) << 8) + int(d)}", f"{a}.{b}.{(int(c) << 8) + int(d)}")
    yield ".".join(f"0{int(part):o}" for part in (a, b, c, d))
    yield ".".join(hex(int(part)) for part in (a, b, c, d))
    yield f"0x{int(a):x}.{b}.0{int(c):o}.{d}"
    yield from (f"[::ffff:{address}]", f"[::ffff:{high:x}:{low:x}]", f"[0:0:0:0:0:FFFF:{high:x}:{low:x}]")
    yield from (f"[::{high:x}:{low:x}]", f"[::ffff:0:{high:x}:{low:x}]", f"[64:ff9b::{address}]")
    yield from (f"[64:ff9b:1::{high:x}:{low:x}]", f"[2002:{high:x}:{low:x}::1]")
    yield f"[2001:0:c000:204::{high ^ 0xFFFF:x}:{low ^ 0xFFFF:x}]"


WRITTEN = (
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::]", "[::1%25lo]", "[::1%lo]",
    "[fe80::1]", "[fe80::1%25eth0]", "[fe80::1%eth0]", "[febf::1]", "[fc00::1]", "[fdff::1]", "[fec0::1]",
    "[ff02::1]",
    "[ff0e::1]", "[fd00:ec2::254]", "[fd00:42::42]", "[fd20:ce::254]", "[100::1]", "[2001:db8::1]", "[3fff::1]",
    "[5f00::1]", "[64:ff9b:1::808:808]", "[::808:808]", "[::ffff:0:808:808]", "192.88.99.1", "192.0.2.1",
    "203.0.113.9",
    # parts of a URL that mislead the eye
    "api.example.com@127.0.0.1", "api.example.com:443@127.0.0.1", "127.0.0.1:443", "[::1]:443",
    "127.0.0.1#api.example.com",
    "127.0.0.1?@api.example.com", "user:pass%40api.example.com@10.0.0.1", "127.0.0.1/..//api.example.com",
    "api.example.com\\@127.0.0.1", "127.0.0.1\\@api.example.com", "127.0.0.1\\.api.example.com",
    "user@public.example.com", "user:secret@public.example.com", "@public.example.com",
    # other alphabets and encodings of digits, dots and letters
    "１２７.0.0.1", "①②⑦.0.0.1", "１２７．０．０．１", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "١٢٧.0.0.1",
    "ⓛocalhost", "ｌocalhost", "127%2e0%2e0%2e1", "%31%32%37.0.0.1", "%6c%6f%63%61%6c%68%6f%73%74", "127.0.0.1%00",
    "127.0.0.1%00.example.com", "127.0.0.1\x00.example.com", "127.0.0.1\t", "127.0.0.1\n", "127.0.\n0.1",
    " 127.0.0.1",
    "127.0.0.1 api.example.com", "127.0.0.1\u200b", "127.0.0.1\u00ad", "127.0.0.1\x7f",
    # names of this machine
    "localhost", "LOCALHOST", "localhost.", "LocalHost.", "a.localhost", "a.localhost.", "localhost:443",
    # numbers that are none, or that readers disagree on
    "0177.0.0.0.1", "256.0.0.1", "127.0.0.1.1", "4294967296", "0x", "08.0.0.1", "127..0.1", "127.1.", "0x7f.1.",
    "api.example.com.1", "99999999999999999999", "[127.0.0.1]", "[v1.x]", "[::1", "::1", "[::1]]", "[::g]",
    "[1:2:3:4:5:6:7:8:9]", "127.0.0.1:99999", "127.0.0.1:-1", "127.0.0.1:x", "", ".", "-a.example.com",
    "a..example.com",
    "a" * 64 + ".example.com", ".".join(["a" * 60] * 5), "*.example.com", "a,b.example.com", "exa mple.com",
)  # fmt: skip
"""Hosts as they may stand in a URL."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "inwards.example.com": ("127.0.0.1",),
    "private.example.com": ("10.1.2.3",),
    "metadata.example.com": ("169.254.169.254",),
    "metadata6.example.com": ("fd00:ec2::254",),
    "carrier.example.com": ("100.64.3.4",),
    "mapped.example.com": ("::ffff:127.0.0.1",),
    "translated.example.com": ("64:ff9b::7f00:1",),
    "tunnel.example.com": ("2002:7f00:1::1",),
    "zone.example.com": ("fe80::1%2",),
    "one-of-two.example.com": ("93.184.215.14", "192.168.1.1"),
    "one-of-many.example.com": ("93.184.215.14", "2606:2800::1", "::1"),
    "0x7f000001.example.com": ("127.0.0.1",),
    "127.0.0.1.nip.example.com": ("127.0.0.1",),
    "xn--localhost-.example.com": ("127.0.0.1",),
}
"""Names which lead inwards, with what a resolver says of them."""

ADMITTED: Mapping[str, str] = {
    "93.184.215.14": "93.184.215.14", "8.8.8.8": "8.8.8.8", "1.1.1.1:8443": "1.1.1.1",
    "100.63.255.255": "100.63.255.255",
    "100.128.0.0": "100.128.0.0", "172.15.255.255": "172.15.255.255", "172.32.0.1": "172.32.0.1",
    "11.0.0.1": "11.0.0.1",
    "9.255.255.255": "9.255.255.255", "192.167.255.255": "192.167.255.255", "192.169.0.1": "192.169.0.1",
    "169.253.0.1": "169.253.0.1", "169.255.0.1": "169.255.0.1", "223.255.255.254": "223.255.255.254",
    "192.0.1.1": "192.0.1.1", "128.0.0.1": "128.0.0.1", "126.255.255.255": "126.255.255.255",
    "[2606:4700:4700::1111]": "2606:4700:4700::1111", "[2a00:1450:4001::200e]:443": "2a00:1450:4001::200e",
    "[::ffff:8.8.8.8]": "::ffff:8.8.8.8", "[64:ff9b::808:808]": "64:ff9b::808:808",
    "[2002:808:808::1]": "2002:808:808::1",
    "public.example.com": "93.184.215.14", "PUBLIC.example.com": "93.184.215.14",
    "public.example.com.": "93.184.215.14",
    "public6.example.com": "2606:2800::1", "xn--bcher-kva.example.com": "93.184.215.15",
    "a_b.example.com": "93.184.215.16",
    "10.example.com": "93.184.215.17",
    "localhost.example.com": "93.184.215.18",
    "2130706433.example.com": "93.184.215.19",
}  # fmt: skip
"""Hosts of the open internet, with the address that a connection goes to."""

PUBLIC_NAMES: Mapping[str, tuple[str, ...]] = {
    name: (address,) for name, address in ADMITTED.items() if "example" in name
}


@dataclass
class Witness:
    """What the wire asked the system for: names to resolve, and addresses to connect to (all are refused)."""

    names: dict[str, list[tuple[str, ...]]]
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)

    async def getaddrinfo(self, loop: Any, host: str, port: int, **options: Any) -> list[Any]:
        self.asked.append(host)
        answers = self.names.get(host.lower().rstrip("."))
        if answers is None:
            # what is written as a number is read by the system itself; no other name is asked for anywhere
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for address in answer for entry in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)]

    async def sock_connect(self, loop: Any, sock: socket.socket, address: tuple[Any, ...]) -> None:
        self.connected.append(str(address[0]))
        raise ConnectionRefusedError


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    known = {**NAMES, **PUBLIC_NAMES}
    seen = Witness({name.lower().rstrip("."): [addresses] for name, addresses in known.items()})
    loop = asyncio.new_event_loop()
    loop.close()
    for name in ("getaddrinfo", "sock_connect"):
        method = getattr(seen, name)

        async def called(self: Any, *args: Any, _method: Any = method, **named: Any) -> Any:
            return await _method(self, *args, **named)

        monkeypatch.setattr(type(loop), name, called)
    return seen


async def tried(host: str, policy: AddressPolicy) -> str:
    """How a request to a host ends: `refused`, or `gone` if a connection was tried."""
    wire = HttpWire(policy)
    try:
        await wire.send(Outgoing("POST", f"https://{host}/", {"Authorization": "Bearer secret"}, body=b"{}"))
    except ConfigError as error:
        return "refused" if error.code in ("config.address_refused", "config.url") else error.code
    except NotSent:
        return "gone"
    except Lost as error:
        return f"lost: {error}"
    finally:
        await wire.close()
    return "sent"


def verdicts(hosts: list[str], policy: AddressPolicy) -> dict[str, str]:
    async def all_of_them() -> dict[str, str]:
        return {host: await tried(host, policy) for host in hosts}

    return asyncio.run(all_of_them())


@pytest.mark.claim("S15")
def test_every_notation_of_an_inner_address_is_refused_and_public_ones_pass(
    witness: Witness, figure: claims.Figure
) -> None:
    """Refused without a connection tried; admitted hosts are connected to at the very address that was checked."""
    refused = list(dict.fromkeys([*(form for address in INNER for form in spellings(address)), *WRITTEN, *NAMES]))
    found = verdicts(refused, OUTSIDE)
    assert {host: verdict for host, verdict in found.items() if verdict != "refused"} == {}
    assert witness.connected == []
    assert verdicts(list(ADMITTED), OUTSIDE) == dict.fromkeys(ADMITTED, "gone")
    # a connection to a name may be tried at its address more than once
    assert set(witness.connected) == set(ADMITTED.values())
    assert len(refused) >= 200
    figure("S15", f"{len(refused)} forms of inner addresses refused, {len(ADMITTED)} public ones admitted, 0 wrong")


@pytest.mark.parametrize("policy", [OUTSIDE, ADMINISTRATOR], ids=["lower roles", "administrator"])
def test_no_policy_admits_a_metadata_service_in_any_notation(witness: Witness, policy: AddressPolicy) -> None:
    """Credentials of the machine itself are to be had there: refused for the administrator as well."""
    services = [address for address in INNER if address.startswith(("169.254.", "192.0.0.", "100.100.", "168.63."))]
    assert len(services) == 5
    # 64:ff9b:1::/48 is each network's own: where its IPv4 part stands only that network knows
    forms = [form for address in services for form in spellings(address) if not form.startswith("[64:ff9b:1::")]
    forms += ["[fd00:ec2::254]", "[fd00:42::42]", "[fd20:ce::254]", "metadata.example.com", "metadata6.example.com"]
    assert {host: verdict for host, verdict in verdicts(forms, policy).items() if verdict != "refused"} == {}
    assert witness.connected == []


def test_an_answer_that_changes_after_the_check_changes_nothing(witness: Witness) -> None:
    """The connection goes to the address that was checked; a second look-up is checked like the first."""
    witness.names["changing.example.com"] = [("93.184.215.14",), ("127.0.0.1",)]
    assert verdicts(["changing.example.com"], OUTSIDE) == {"changing.example.com": "gone"}
    assert (set(witness.connected), len(witness.asked)) == ({"93.184.215.14"}, 1)
    witness.connected.clear()
    assert verdicts(["changing.example.com"], OUTSIDE) == {"changing.example.com": "refused"}
    assert witness.connected == []


def test_a_host_allowed_by_name_is_allowed_by_no_other_name(witness: Witness) -> None:
    """`allow_hosts` opens one name, in any case and with or without the root's dot; its address stays shut."""
    policy = AddressPolicy(allowed_hosts=("private.example.com",))
    assert set(verdicts(["private.example.com", "PRIVATE.example.com."], policy).values()) == {"gone"}
    closed = [
        "10.1.2.3",
        "a.private.example.com.inwards.example.com",
        "inwards.example.com",
        "private.example.com@10.1.2.3",
    ]
    witness.names["a.private.example.com.inwards.example.com"] = [("10.1.2.3",)]
    assert verdicts(closed, policy) == dict.fromkeys(closed, "refused")


def test_no_proxy_of_the_environment_is_used(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to addresses that nobody checked."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://192.168.7.7:3128")
    assert verdicts(["public.example.com"], OUTSIDE) == {"public.example.com": "gone"}
    assert set(witness.connected) == {"93.184.215.14"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.1.2.3", "169.254.169.254", socket.gethostname()])
@pytest.mark.parametrize(
    ("role", "kind"), [("sources", "postgres"), ("destinations", "postgres"), ("destinations", "mysql")]
)
def test_databases_are_asked_where_requests_may_go(tmp_path: Path, role: str, kind: str, host: str) -> None:
    """A project that is opened for others than this machine's user reaches no database of its network, by number or by
    name, unless the host is allowed."""
    write(
        tmp_path,
        {"levada.yml": "name: t\n", f"{role}/it.yml": f"type: {kind}\nhost: {host}\nport: 9\nuser: u\ndatabase: d\n"},
    )
    with Project.open(tmp_path, private_addresses=False) as project, pytest.raises(ConfigError) as caught:
        (project.world.source("it") if role == "sources" else project.world.destination("it")).check()
    assert caught.value.code == "config.address_refused"
    write(tmp_path, {"levada.yml": f"name: t\nnetwork: {{allow_hosts: ['{host}']}}\n"})
    if host == "127.0.0.1":
        with Project.open(tmp_path, private_addresses=False) as project, pytest.raises(LevadaError) as refused:
            (project.world.source("it") if role == "sources" else project.world.destination("it")).check()
        assert refused.value.code in ("source.unreachable", "destination.unavailable")
