"""Where a database is and who asks: addresses, taken apart once, so that no part of one is passed on unread.

Sources and destinations declare an address in one of two forms: a `url`, or `host`, `user`, `database` and so on as
options of their own. It names one host, one database and one account, and parameters from a list. Sockets, files of
passwords, services and options of the server cannot be named: a project file reaches nothing that its author could not.
An error says nothing of a URL but the names of known parameters: what cannot be read may be a password. What is not
here: how a driver is told (`levada.libpq`), and which hosts may be asked (`levada.addresses`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote_to_bytes

from pydantic import Field

from levada.addresses import AddressPolicy, server
from levada.errors import ConfigError
from levada.model import Declaration

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^/?#@:]*)(?::(?P<password>[^/?#@]*))?@)?"
    r"(?P<host>\[[0-9A-Fa-f:.%A-Za-z_-]*\]|[^/?#@:\[\]]*)(?::(?P<port>[0-9]{0,5}))?/(?P<database>[^/?#@]*)"
    r"(?:\?(?P<query>[^#@?]*))?"
)
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNWRITABLE = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?|[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?")
_ENCODE = (
    "in a url write special letters as %XX (`@` is %40, `/` %2F, `#` %23, `?` %3F, `%` %25, `:` %3A), or leave out"
    " `url:` and write `host:`, `user:`, `password:` and `database:`, where every letter stands for itself"
)


class DatabaseOptions(Declaration):
    """The address, in one of its two forms."""

    url: str = Field(default="", repr=False)
    """The address as one text: `scheme://user:password@host:port/database?parameter=value`. Special letters of user and
    password are percent-encoded: `p@ss/word` is `p%40ss%2Fword`."""
    host: str = ""
    """Instead of `url`: the server's name or address. The options below belong to it."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The server's port; the database's usual one if absent."""
    user: str = ""
    """The account."""
    password: str = Field(default="", repr=False)
    """Its password, letter by letter: nothing is encoded."""
    database: str = ""
    """The database's name."""
    parameters: dict[str, str] = Field(default_factory=dict)
    """What may follow `?` in a url, such as `{sslmode: require}`."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a kind of database takes: the schemes of its URLs, its port, its parameters and which of them name files."""

    schemes: tuple[str, ...]
    port: int
    known: frozenset[str]
    files: frozenset[str]
    #: words that stand where a file's name could
    words: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """The parts of an address. Its repr shows no password."""

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(default=None, repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_loopback(self) -> bool:
        """Is the host this machine, by its own words?"""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def shown(self) -> str:
        """Where it leads, for messages: nothing secret."""
        return f"{self.server}/{self.database}"

    @property
    def server(self) -> str:
        return server(self.host, self.port)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.password,) if self.password else ()

    def place(self, schema: str, table: str) -> str:
        """Where a table is, whoever asks."""
        host = "localhost" if self.is_loopback else self.host.lower()
        return repr((host, self.port, self.database, schema, table))


def database_address(
    options: DatabaseOptions, kind: Parameters, *, code: str, root: Path, policy: AddressPolicy
) -> DatabaseAddress:
    """The address that the options declare.

    Raises ConfigError `code`: both forms or none, a URL that cannot be read for certain, a missing host, user or
    database, several hosts, a socket, a parameter that is not known; `config.address_refused` for a host that `policy`
    does not admit as it is written. Its `path` leads to the option.
    """
    apart = ("host", "port", "user", "password", "database", "parameters")
    given = [name for name in apart if getattr(options, name)]
    form = f"{kind.schemes[0]}://USER:***@HOST:{kind.port}/DATABASE"
    if options.url and given:
        raise _wrong(code, given[0], f"`url` and `{given[0]}` say the same thing", "write one of them")
    if options.url:
        found = read_url(options.url, kind, code)
        path = "url"
    elif options.host:
        port = options.port or kind.port
        found = DatabaseAddress(
            options.host, port, options.database, options.user, options.password or None, dict(options.parameters)
        )
        path = "host"
    else:
        raise _wrong(
            code, given[0] if given else "type", "there is no address", f"write `url: {form}`, or `host:` and so on"
        )
    _check(found, kind, code, path, form)
    settings = {name: _checked(name, value, kind, code, path, root, policy) for name, value in found.settings.items()}
    try:
        policy.check_literal(found.host)
    except ConfigError as error:
        error.path = (path,)
        raise
    return DatabaseAddress(found.host, found.port, found.database, found.user, found.password, settings)


def read_url(text: str, kind: Parameters, code: str) -> DatabaseAddress:
    """The parts of a URL that can be read in one way only. Raises ConfigError, with nothing of it in its words."""
    match = _URL.fullmatch(text)
    if match is None or _UNWRITABLE.search(text) or _ESCAPE.search(text):
        raise _wrong(code, "url", "the url cannot be read for certain", _ENCODE)
    if match["scheme"].lower() not in kind.schemes:
        raise _wrong(
            code,
            "url",
            f"the url does not begin with {kind.schemes[0]}://",
            "see the kinds of sources and destinations",
        )
    settings: dict[str, str] = {}
    for part in (match["query"] or "").split("&"):
        name, equals, value = part.partition("=")
        if not part:
            continue
        if not equals or name in settings or name not in kind.known:
            # the name may be a piece of a password that holds a question mark
            named = (
                f": {name}" if re.fullmatch(r"[a-z_]{2,30}", name) and equals and "@" in text.partition("?")[0] else ""
            )
            raise _wrong(code, "url", f"the url has a parameter that is not known{named}", _known(kind))
        settings[name] = _decoded(value, code)
    host = match["host"]
    return DatabaseAddress(
        host[1:-1] if host.startswith("[") else _decoded(host, code),
        int(match["port"] or kind.port),
        _decoded(match["database"], code),
        _decoded(match["user"] or "", code),
        None if match["password"] is None else _decoded(match["password"], code),
        settings,
    )


def _check(found: DatabaseAddress, kind: Parameters, code: str, path: str, form: str) -> None:
    hint = f"write {form}" if path == "url" else None
    if not _HOST.fullmatch(found.host):
        raise _wrong(
            code, path, "there is no host, or one that is not allowed (a socket, several hosts)", hint or _ENCODE
        )
    if not 1 <= found.port <= 65_535:
        raise _wrong(code, path, "a port is a number from 1 to 65535", hint)
    if not found.database or "/" in found.database:
        raise _wrong(code, path, "no database is named", hint or "add `database:`")
    if not found.user:
        raise _wrong(code, path, "no user is named", hint or "add `user:`")
    for name, value in (("database", found.database), ("user", found.user), ("password", found.password or "")):
        if "\0" in value or "\n" in value or "\r" in value:
            raise _wrong(code, path, f"the {name} holds a line break or NUL", hint)


def _checked(name: str, value: str, kind: Parameters, code: str, path: str, root: Path, policy: AddressPolicy) -> str:
    """A parameter's value; of a file, its whole path. Who is not this machine's own user names files of the project."""
    if name not in kind.known:
        raise _wrong(code, "parameters", f"there is no parameter {name}", _known(kind))
    if _UNWRITABLE.search(value):
        raise _wrong(code, path, f"the parameter {name} holds a character that it cannot have", None)
    if name not in kind.files or value in kind.words or not value:
        return value
    file = (root / Path(value).expanduser()).absolute()
    if not policy.private and root.resolve() not in file.resolve().parents:
        raise _wrong(
            code, path, f"{name} names a file outside of the project", "put the file into the project's folder"
        )
    return str(file)


def _decoded(text: str, code: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise _wrong(code, "url", "the url has letters in %XX that are not UTF-8", _ENCODE) from None


def _known(kind: Parameters) -> str:
    return (
        f"known are {', '.join(sorted(kind.known))}; user and password stand before the `@`, or in options of their own"
    )


def _wrong(code: str, path: str, message: str, hint: str | None) -> ConfigError:
    error = ConfigError(message, code=code, hint=hint)
    error.path = (path,)
    return error
