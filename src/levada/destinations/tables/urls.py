"""URLs of databases, taken apart and checked, so that no part of one is passed on unread.

A URL names one host and one database. Sockets of this machine, files of passwords and the like cannot be
named by it: a project file must not reach what its author could not.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from levada.errors import ConfigError


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """The parts of a URL. Its repr shows no password."""

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_loopback(self) -> bool:
        """Is the host this machine, by its own words?"""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def shown(self) -> str:
        """Where it leads, for messages: nothing secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}/{self.database}"

    def place(self, schema: str, table: str) -> str:
        """Where a table is, whoever asks."""
        host = "localhost" if self.is_loopback else self.host.lower()
        return repr((host, self.port, self.database, schema, table))

    def written(self, scheme: str, settings: Mapping[str, str]) -> str:
        """The URL as a driver takes it, password and all."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        secret = "" if self.password is None else f":{quote(self.password, safe='')}"
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in settings.items())
        account = f"{quote(self.user, safe='')}{secret}@" if self.user else ""
        return f"{scheme}://{account}{host}:{self.port}/{quote(self.database, safe='')}{query and '?' + query}"


def database_url(text: str, schemes: tuple[str, ...], port: int, settings: frozenset[str]) -> DatabaseUrl:
    """Read a URL `scheme://user:password@host:port/database?setting=value`.

    Raises ConfigError, without a secret in its words, for another scheme, a missing host or database, several
    hosts, a socket, or a setting that is not one of `settings`.
    """
    form = f"{schemes[0]}://user:password@host:{port}/database"
    try:
        parts = urlsplit(text)
        found_port = parts.port or port
        host = unquote(parts.hostname or "")
    except ValueError:
        raise _wrong("the url cannot be read", f"write {form}; special characters of a password as %XX") from None
    if parts.scheme not in schemes:
        raise _wrong(f"the url does not begin with {schemes[0]}://", f"write {form}")
    if not host or "/" in host or "," in host or "\\" in host or host.startswith("@"):
        raise _wrong("the url names no host, or one that is not allowed (a socket, several hosts)", f"write {form}")
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database or "\0" in database:
        raise _wrong("the url names no database", f"write {form}")
    found = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in found:
        if name not in settings:
            raise _wrong(f"the url has a setting that is not known: {name}", f"known are {', '.join(sorted(settings))}")
    password = None if parts.password is None else unquote(parts.password)
    return DatabaseUrl(host, found_port, database, unquote(parts.username or ""), password, found)


def _wrong(message: str, hint: str) -> ConfigError:
    return ConfigError(message, code="destination.url", hint=hint)
