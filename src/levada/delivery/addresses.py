"""Which addresses requests may go to.

A host is resolved once and every address is checked; the connection goes to a checked address (no second
look-up that could answer otherwise). Forms that hide an IPv4 address in an IPv6 one are unwrapped first.
Metadata services, link-local, multicast and unspecified addresses are refused for everyone, unless a host
is allowed by name. Private and loopback addresses are refused unless the policy admits them.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from levada.errors import ConfigError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NEVER = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("fd00:ec2::/32"),
)
_SHARED = ipaddress.ip_network("100.64.0.0/10")


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
        found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        if found.is_multicast or found.is_unspecified or found.is_link_local:
            return False
        if any(found.version == net.version and found in net for net in _NEVER):
            return False
        if found.is_loopback or found.is_private or (found.version == 4 and found in _SHARED) or not found.is_global:
            return self.private
        return True

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
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"{text!r} is not an http or https address", code="config.url")
        self.check_literal(parts.hostname)
        if parts.scheme == "http" and not self.admits_cleartext(parts.hostname):
            raise ConfigError(
                f"{parts.hostname}: credentials and records are not sent over http without encryption",
                code="config.cleartext",
                hint="use https, or allow the host by name: `network: {allow_hosts: [...]}` in levada.yml",
            )

    def check_literal(self, host: str) -> None:
        """Refuse a host that is written as a number and is not admitted. Raises ConfigError."""
        bare = host.strip("[]")
        try:
            ipaddress.ip_address(bare.partition("%")[0])
            literal = bare
        except ValueError:
            try:
                literal = socket.inet_ntoa(socket.inet_aton(bare))
            except OSError:
                return
        if not self.admits(host, literal):
            raise refused(host, literal)

    def admitted(self, host: str, addresses: Iterable[str]) -> list[str]:
        """The addresses of a host, all of them admitted. Raises ConfigError if any is not."""
        found = list(addresses)
        for address in found:
            if not self.admits(host, address):
                raise refused(host, address)
        return found


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
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
