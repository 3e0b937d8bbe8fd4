"""Which addresses requests may go to.

A host is resolved once and every address is checked; the connection goes to a checked address (no second
look-up that could answer otherwise). Forms that hide an IPv4 address in an IPv6 one are unwrapped first, and a
host that two readers of URLs could read differently is refused. Metadata services, link-local, multicast and
unspecified addresses are refused for everyone, unless a host is allowed by name. Private and loopback addresses
are refused unless the policy admits them.

Also, in plain words, why a connection to one came to nothing.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from levada.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _networks(*texts: str) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CARRIES_IPV4 = (_NAT64, *_networks("::/96", "::ffff:0:0:0/96"))
"""Their last 32 bits are an IPv4 address: NAT64, and the old forms "compatible" and "translated"."""
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NEVER = _networks(
    "192.0.0.0/24",
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::/32",
    "fd00:42::42/128",
    "fd20:ce::254/128",
)
"""Metadata services of clouds, besides those at link-local addresses."""
_NOT_PUBLIC = _networks("100.64.0.0/10", "192.88.99.0/24", "3fff::/20")
"""Carriers' shared addresses, a relay that is no more, documentation: what `is_global` does not know everywhere."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMBER = re.compile(r"\d+|0[xX][0-9A-Fa-f]*")


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """`private`: whoever configured the destination may use this machine and its networks (the command line).

    `allowed_hosts` are always admitted, whatever they resolve to.
    """

    private: bool = False
    allowed_hosts: tuple[str, ...] = ()

    def admits(self, host: str, address: str) -> bool:
        """May a request to `host` go to `address`?"""
        if host.lower().rstrip(".") in self.allowed_hosts:
            return True
        outer = ipaddress.ip_address(address.partition("%")[0])
        found = _unwrapped(outer)
        if found.is_multicast or found.is_unspecified or found.is_link_local or _among(found, _NEVER):
            return False
        return self.private or (_is_public(found) and _leads_out(outer))

    def admits_cleartext(self, host: str) -> bool:
        """May http without TLS be spoken to a host? This machine, private literals and allowed names only."""
        bare = host.lower().strip("[]").rstrip(".")
        if bare in self.allowed_hosts or bare == "localhost" or bare.endswith(".localhost"):
            return True
        try:
            found = _unwrapped(ipaddress.ip_address(bare))
        except ValueError:
            return False
        return found.is_loopback or found.is_private

    def check_url(self, text: str) -> None:
        """Refuse what can be refused of an address before its name is resolved. Raises ConfigError."""
        scheme, host = _taken_apart(text)
        self.check_literal(host)
        if scheme == "http" and not self.admits_cleartext(host):
            raise ConfigError(
                f"{host}: credentials and records are not sent over http without encryption",
                code="config.cleartext",
                hint="use https, or allow the host by name: `network: {allow_hosts: [...]}` in levada.yml",
            )

    def check_literal(self, host: str) -> None:
        """Refuse a host that needs no look-up and is not admitted, or is a number in a crooked form.

        Raises ConfigError.
        """
        bare = host.strip("[]").lower().rstrip(".")
        literal = "127.0.0.1" if bare == "localhost" or bare.endswith(".localhost") else _literal(bare)
        if literal is None:
            return
        if not self.admits(host, literal):
            raise refused(host, literal)
        if _NUMBER.fullmatch(bare.rpartition(".")[2]) and host != literal:
            raise ConfigError(f"{host} is {literal}, oddly written", code="config.url", hint=f"write {literal}")

    def admitted(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses of a host, all of them admitted. Raises ConfigError if any is not."""
        found = list(addresses)
        for address in found:
            if not self.admits(host, address):
                raise refused(host, address)
        return found


OWN_MACHINE = AddressPolicy(private=True)
"""Of whoever works on this machine."""


def refused(host: str, address: str) -> ConfigError:
    return ConfigError(
        f"requests to {host} are refused: {address} is not a public address",
        code="config.address_refused",
        hint="an administrator can allow the host by name: `network: {allow_hosts: [...]}` in levada.yml",
    )


def _unwrapped(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if _among(address, _CARRIES_IPV4) and not address.is_loopback and not address.is_unspecified:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _among(address: Address, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _is_public(address: Address) -> bool:
    """Is an address, unwrapped, one of the open internet?"""
    if address.is_loopback or address.is_private or not address.is_global or _among(address, _NOT_PUBLIC):
        return False
    return address.version == 4 or address in _GLOBAL_UNICAST


def _leads_out(address: Address) -> bool:
    """Is an address in a form that leads to the open internet today?"""
    if isinstance(address, ipaddress.IPv4Address) or address.ipv4_mapped is not None:
        return True
    return address in _GLOBAL_UNICAST or address in _NAT64


def _literal(host: str) -> str | None:
    """The address that a host is in any of the forms that a system's resolver reads as a number, or None.

    Raises ConfigError for what looks like a number and is none: who reads it may differ in how.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return host
    if not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except OSError:
        raise _unreadable(host) from None


def _taken_apart(text: str) -> tuple[str, str]:
    """Scheme and host of a URL that every reader of URLs reads alike. Raises ConfigError for all others."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _unreadable() from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"{text!r} is not an http or https address", code="config.url")
    if any(letter <= " " or letter in "\\\x7f" for letter in text):
        raise _unreadable(host)
    if "@" in parts.netloc:
        raise ConfigError(
            f"the address of {host} holds a user's name, which does not belong there",
            code="config.url",
            hint="a credential is written under `auth:`, such as `auth: {basic: {username: …, password: …}}`",
        )
    in_brackets = "[" in parts.netloc
    name_is_sound = ":" in host if in_brackets else len(host) <= 254 and _NAME.fullmatch(host) is not None
    if not name_is_sound or (in_brackets and _literal(host) is None):
        raise _unreadable(host)
    return parts.scheme, host


def _unreadable(host: str = "") -> ConfigError:
    return ConfigError(
        f"the host of an address cannot be read for certain{': ' + repr(host[:200]) if host else ''}",
        code="config.url",
        hint="a host is a name of letters, digits and hyphens (others as xn--…), an IPv4 address of four decimal "
        "numbers, or an IPv6 address in brackets; a port is at most 65535",
    )


def look_up(host: str, port: int, policy: AddressPolicy) -> list[str]:
    """The addresses of a host, looked up once and all of them admitted. Raises ConfigError if one is not, OSError if
    there is none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (UnicodeError, ValueError) as error:
        raise OSError(f"{host} is not the name of a host") from error
    return policy.admitted(host, list(dict.fromkeys(str(each[4][0]) for each in found)))


def reach(host: str, port: int, policy: AddressPolicy, seconds: float) -> socket.socket:
    """A connection to the first address of a host that answers. Raises as `look_up` does, and OSError if none does."""
    failed = OSError(f"{host} has no address")
    for address in look_up(host, port, policy):
        try:
            found = socket.create_connection((address, port), seconds)
        except OSError as error:
            failed = error
            continue
        found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found
    raise failed


_WORDS: dict[int, str] = {
    errno.ECONNREFUSED: "connection refused: nothing listens {at}",
    **dict.fromkeys((errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE), "connection reset: {server} broke it off"),
    errno.ETIMEDOUT: "timed out: {server} does not answer",
    **dict.fromkeys(
        (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN),
        "no route: nothing leads from this machine to {server}",
    ),
}
_NUMBERED = re.compile(r"\[Errno (-?\d+)\] ?")
_SAID_OF_TIME = "timeout expired"
"""libpq's words for `connect_timeout`."""


def server(host: str, port: int | None) -> str:
    """`host:port`, as messages name a server."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unreached(error: BaseException | str, place: str = "") -> str:
    """Why nothing came of a connection, in plain words. `place`: `host:port`, where the message does not name it.

    An error that is no socket's is told in its own words, without a number; a driver's words are read for the system's.
    """
    if isinstance(error, socket.gaierror):
        host = place.rpartition(":")[0] or "the host"
        now = " just now" if error.errno == socket.EAI_AGAIN else ""
        return f"name not found: {host} has no address{now}"
    words = _WORDS.get(_number(error) or 0)
    if words is not None:
        return words.format(at=f"at {place}" if place else "there", server=place or "the server")
    text = _NUMBERED.sub("", str(error)).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _number(error: BaseException | str) -> int | None:
    """The system's number of an error: its own, that of its class, or that of a driver's words."""
    match error:
        case OSError(errno=int(number)):
            return number
        case ConnectionRefusedError():
            return errno.ECONNREFUSED
        case ConnectionError():
            return errno.ECONNRESET
        case TimeoutError():
            return errno.ETIMEDOUT
        case str():
            if told := _NUMBERED.search(error):
                return int(told[1])
            if _SAID_OF_TIME in error:
                return errno.ETIMEDOUT
            return next((number for number in _WORDS if os.strerror(number) in error), None)
        case _:
            return None
