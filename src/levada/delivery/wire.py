"""The one place where requests leave the machine.

A `Wire` sends a request once: no retry, no redirect followed, no limit kept. It tells apart what decides
everything afterwards: `NotSent` (surely not applied: no byte of the request was sent) and `Lost` (the request
may have been applied). What to do about either is `levada.delivery.account`'s.
"""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from levada.addresses import AddressPolicy, server, unreached
from levada.destination import Response
from levada.errors import ConfigError
from levada.outcome import readable

if TYPE_CHECKING:
    import aiohttp
    import yarl

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""A longer answer is cut off and counts as lost."""
ANSWERS_BYTES_MAX = 2 * ANSWER_BYTES_MAX
"""So much of all answers that are under way at once; the one that goes past it is lost."""
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 15.0
"""How long an unused connection is kept: shorter than most servers keep theirs, so that we close first."""
NO_COMMON_TLS = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_VERSION_NUMBER"})
"""What OpenSSL says of a server that speaks no TLS, or none of 1.2 and above."""


class NotSent(Exception):
    """Surely not applied: the connection was refused, or the name or the certificate did not hold."""

    #: how long the attempt took
    seconds = 0.0


class Untrusted(NotSent):
    """Surely not applied: who answered has no certificate that holds for its name, or no TLS that is safe."""


class Lost(Exception):
    """No whole answer came: the request may have been applied, or may yet be."""

    #: how long it was waited for
    seconds = 0.0


class Overtaken(Exception):
    """Surely not applied: when the connection was there, this process was not entitled to send any more."""


def _always() -> bool:
    return True


_entitled: ContextVar[Callable[[], bool]] = ContextVar("entitled", default=_always)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed request with an absolute URL, ready to be sent. Its repr shows no header and no body.

    `entitled` is asked at the last moment, when the connection is there and before a byte of the request leaves.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0
    entitled: Callable[[], bool] = field(default=_always, repr=False)


class Wire(Protocol):
    async def send(self, outgoing: Outgoing) -> Response:
        """Send once. Raises NotSent, Lost or Overtaken."""
        ...

    async def close(self) -> None: ...


class HttpWire:
    """HTTP over TCP and TLS (1.2 at least), by aiohttp. Certificates are always verified.

    `authorities`: for a host in lower case, the file of the authorities that its certificate is checked by.
    """

    def __init__(
        self, policy: AddressPolicy, authorities: Mapping[str, Path] | None = None, connections: int = 64
    ) -> None:
        self._policy = policy
        self._authorities = authorities or {}
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._checked: dict[str, yarl.URL] = {}
        self._trusts: dict[Path | None, ssl.SSLContext] = {}
        self._under_way = 0

    async def send(self, outgoing: Outgoing) -> Response:
        import aiohttp

        session = self.open()
        url = self._checked.get(outgoing.url) or self._check(outgoing.url)
        timeout = aiohttp.ClientTimeout(total=outgoing.timeout_seconds, sock_connect=CONNECT_SECONDS)
        _entitled.set(outgoing.entitled)
        try:
            async with session.request(
                outgoing.method,
                url,
                params=outgoing.query or None,
                data=outgoing.body,
                headers=outgoing.headers,
                allow_redirects=False,
                timeout=timeout,
                ssl=self._trust(url),
            ) as answer:
                body = await self._whole_body(answer)
                # what is no UTF-8 comes as halves of characters
                headers = {name.lower(): readable(value) for name, value in answer.headers.items()}
                return Response(answer.status, headers, body)
        except aiohttp.ClientConnectorCertificateError as error:
            raise Untrusted(_of_certificate(error.certificate_error)) from error
        except aiohttp.ClientConnectorSSLError as error:
            reason = getattr(error.os_error, "reason", None) or ""
            raise (Untrusted if reason in NO_COMMON_TLS else NotSent)(_plain(error, url)) from error
        except aiohttp.ClientConnectorError as error:
            raise NotSent(_plain(error, url)) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSent("no connection within the time allowed") from error
        except TimeoutError as error:
            raise Lost(f"no answer within {outgoing.timeout_seconds:g} s") from error
        except aiohttp.ServerDisconnectedError as error:
            raise Lost("the connection was closed before an answer came") from error
        except aiohttp.ClientPayloadError as error:
            raise Lost("the answer broke off before its end") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(_plain(error, url)) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def open(self) -> aiohttp.ClientSession:
        """What takes a while, done once: before the first turn is taken, so that no turn passes meanwhile."""
        import aiohttp

        if self._session is not None:
            return self._session
        connector = _last_look_connector(
            limit=self._connections,
            keepalive_timeout=IDLE_SECONDS,
            resolver=_checking_resolver(self._policy),
            ttl_dns_cache=60,
        )
        session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=True,
            raise_for_status=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            headers={"User-Agent": "levada"},
        )
        # aiohttp repeats PUT and DELETE by itself when a kept connection breaks; a write is never repeated
        # here (tests/unit/delivery/test_wire.py proves that it is not).
        session._retry_connection = False
        self._session = session
        return session

    def _check(self, text: str) -> yarl.URL:
        from yarl import URL

        self._policy.check_url(text)
        try:
            url = URL(text, encoded=True)
        except ValueError as error:
            raise ConfigError(f"the address cannot be read: {error}", code="config.url") from None
        if len(self._checked) < 1_000:
            self._checked[text] = url
        return url

    def _trust(self, url: yarl.URL) -> ssl.SSLContext | bool:
        """How the certificate of a URL's host is checked. Raises ConfigError where its file cannot be used."""
        if url.scheme != "https":
            return True
        file = self._authorities.get((url.raw_host or "").lower().rstrip("."))
        if file not in self._trusts:
            self._trusts[file] = trusting(file)
        return self._trusts[file]

    async def _whole_body(self, answer: aiohttp.ClientResponse) -> bytes:
        length = answer.content_length
        if length is not None and length > ANSWER_BYTES_MAX:
            raise Lost(f"an answer of {length:,} bytes is more than is read")
        if length is not None and length <= 65_536 and "Content-Encoding" not in answer.headers:
            return await answer.read()
        parts: list[bytes] = []
        size = 0
        try:
            async for part in answer.content.iter_chunked(65_536):
                size += len(part)
                self._under_way += len(part)
                if size > ANSWER_BYTES_MAX:
                    raise Lost(f"an answer of over {ANSWER_BYTES_MAX:,} bytes is more than is read")
                if self._under_way > ANSWERS_BYTES_MAX:
                    raise Lost(f"answers of over {ANSWERS_BYTES_MAX:,} bytes at once are more than is read")
                parts.append(part)
            return b"".join(parts)
        finally:
            self._under_way -= size


def trusting(file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 at least, the host's name checked, by the authorities of a file or else the system's."""
    try:
        context = ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the authorities' certificates in {file} cannot be read: {unreached(error)}",
            code="config.ca_file",
            hint="`network: ca_files:` in levada.yml names a PEM file, relative to the project's folder",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _of_certificate(error: BaseException) -> str:
    reason = getattr(error, "verify_message", None) or str(error)
    return f"the certificate is not trusted: {str(reason).rstrip('.')}"


def _plain(error: BaseException, url: yarl.URL) -> str:
    """An exception's words without numbers, addresses of objects, or headers."""
    return unreached(getattr(error, "os_error", None) or error, server(url.host or "", url.port))


def _last_look_connector(**options: Any) -> aiohttp.TCPConnector:
    """A connector that asks, with the connection in its hand, whether the request may still leave.

    Making a connection takes long enough for a process to be stopped in between, and overtaken. And a kept connection
    on which the server has spoken meanwhile (a time-out, an answer twice), or has gone, is not used: its words would be
    taken for the answer to the next request.
    """
    import aiohttp

    class LastLookConnector(aiohttp.TCPConnector):
        async def connect(self, *arguments: Any, **named: Any) -> Any:
            connection = await super().connect(*arguments, **named)
            while _has_spoken(connection):
                connection.close()
                connection = await super().connect(*arguments, **named)
            if not _entitled.get()():
                connection.close()
                raise Overtaken
            return connection

    return LastLookConnector(**options)


def _has_spoken(connection: aiohttp.connector.Connection) -> bool:
    """Has anything come over a connection that nobody asked for: words, or its end?

    A connection is used once before it counts as kept. On a new one TLS still says things of its own.
    """
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        return False
    kept = getattr(protocol, "_levada_kept", False)
    protocol._levada_kept = True  # type: ignore[attr-defined]
    if not kept:
        return False
    if protocol.should_close:
        return True
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), select.POLLIN)
    return bool(poll.poll(0))


def _checking_resolver(policy: AddressPolicy) -> Any:
    """A resolver whose every answer the policy has admitted."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class CheckingResolver(AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            loop = asyncio.get_running_loop()
            infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, family=family)
            addresses = policy.admitted(host, (str(info[4][0]) for info in infos))
            return [
                ResolveResult(hostname=host, host=address, port=port, family=info[0], proto=info[2], flags=0)
                for address, info in zip(addresses, infos, strict=True)
            ]

        async def close(self) -> None:
            return

    return CheckingResolver()
