"""The one place where requests leave the machine.

A `Wire` sends a request once: no retry, no redirect followed, no limit kept. It tells apart what decides
everything afterwards: `NotSent` (surely not applied: no byte of the request was sent) and `Lost` (the request
may have been applied). What to do about either is `levada.delivery.account`'s.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from levada.delivery.addresses import AddressPolicy
from levada.destination import Response
from levada.errors import ConfigError

if TYPE_CHECKING:
    import aiohttp
    import yarl

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""A longer answer is cut off and counts as lost."""
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 15.0
"""How long an unused connection is kept: shorter than most servers keep theirs, so that we close first."""


class NotSent(Exception):
    """Surely not applied: the connection was refused, or the name or the certificate did not hold."""


class Lost(Exception):
    """No whole answer came: the request may have been applied, or may yet be."""


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
    """HTTP over TCP and TLS, by aiohttp. Certificates are always verified."""

    def __init__(self, policy: AddressPolicy, connections: int = 64) -> None:
        self._policy = policy
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None
        self._checked: dict[str, yarl.URL] = {}

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
            ) as answer:
                body = await self._whole_body(answer)
                headers = {name.lower(): value for name, value in answer.headers.items()}
                return Response(answer.status, headers, body)
        except aiohttp.ClientConnectorError as error:
            raise NotSent(_plain(error)) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise NotSent("no connection within the time allowed") from error
        except TimeoutError as error:
            raise Lost(f"no answer within {outgoing.timeout_seconds:g} seconds") from error
        except (aiohttp.ClientError, OSError) as error:
            raise Lost(_plain(error)) from error

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

    @staticmethod
    async def _whole_body(answer: aiohttp.ClientResponse) -> bytes:
        length = answer.content_length
        if length is not None and length > ANSWER_BYTES_MAX:
            raise Lost(f"an answer of {length:,} bytes is more than is read")
        if length is not None and length <= 65_536 and "Content-Encoding" not in answer.headers:
            return await answer.read()
        parts: list[bytes] = []
        size = 0
        async for part in answer.content.iter_chunked(65_536):
            size += len(part)
            if size > ANSWER_BYTES_MAX:
                raise Lost(f"an answer of over {ANSWER_BYTES_MAX:,} bytes is more than is read")
            parts.append(part)
        return b"".join(parts)


def _plain(error: BaseException) -> str:
    """An exception's words without addresses of objects or headers."""
    reason = getattr(error, "os_error", None) or error
    text = str(reason).strip() or type(error).__name__
    return text.splitlines()[0][:200]


def _last_look_connector(**options: Any) -> aiohttp.TCPConnector:
    """A connector that asks, with the connection in its hand, whether the request may still leave.

    Making a connection takes long enough for a process to be stopped in between, and overtaken.
    """
    import aiohttp

    class LastLookConnector(aiohttp.TCPConnector):
        async def connect(self, *arguments: Any, **named: Any) -> Any:
            connection = await super().connect(*arguments, **named)
            if not _entitled.get()():
                connection.close()
                raise Overtaken
            return connection

    return LastLookConnector(**options)


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
