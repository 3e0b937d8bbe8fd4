"""A TCP proxy on loopback that cuts, stalls or dribbles a connection at one byte of one message.

With `http` a message is a request or an answer, and requests are numbered in the order in which they come, over all
connections; without, a message is all that one side says over one connection. The proxy reads lengths, changes nothing,
and notes the sizes of what passed, from which a test draws its places. It runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import struct
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal

Kind = Literal["reset", "end", "stall", "late", "dribble"]
"""`reset` and `end`: RST and FIN to both sides. `stall`: nothing more passes, nothing is closed. `late`: the same, and
what the client had said is passed on when it has given up. `dribble`: from here on, byte by byte."""
Side = Literal["connect", "request", "answer"]
DRIBBLE_SECONDS = 0.002
CHUNK = 65_536
ALL = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at byte `at` (0: before the first) of the messages numbered `first` and on, `times` of them.

    `connect`: the connection is accepted and broken at once; then the number is the connection's. `mark`: `at` is
    counted from where a client says this, the first time after it said `after`; for the side `answer`, it is
    the server's next bytes. Then the number is of no account.
    """

    kind: Kind
    side: Side
    at: int = 0
    first: int = 1
    times: int = 1
    mark: bytes = b""
    after: bytes = b""

    def hits(self, side: Side, number: int) -> bool:
        return side == self.side and self.first <= number < self.first + self.times

    def __str__(self) -> str:
        where = f"{self.mark.decode()} + {self.at}" if self.mark else f"byte {self.at}"
        return f"{self.kind} at {where} of {self.side} {self.first}{' and on' if self.times > 1 else ''}"


@dataclass(slots=True)
class Message:
    """The size of a message as it passed: all of it, and its head alone (0 for what is not HTTP)."""

    number: int
    size: int = 0
    head: int = 0


@dataclass(slots=True)
class _Stream:
    """One direction of one connection, cut into messages."""

    numbers: Iterator[int]
    http: bool
    passed: list[Message]
    message: Message | None = None
    _begun: bytearray = field(default_factory=bytearray)
    _length: int | None = None

    def pieces(self, data: bytes) -> Iterator[tuple[Message, int, bytes]]:
        """The message, the place in it and the bytes, for each message that the data holds a part of."""
        while data:
            if self.message is None:
                self.message = Message(next(self.numbers))
                self.passed.append(self.message)
                self._begun.clear()
                self._length = None
            message = self.message
            piece = data[: self._rest(message, data)]
            start = message.size
            message.size += len(piece)
            data = data[len(piece) :]
            if self._length is not None and message.size == self._length:
                self.message = None
            yield message, start, piece

    def _rest(self, message: Message, data: bytes) -> int:
        """How much of the data belongs to the message."""
        if not self.http:
            return len(data)
        if self._length is None:
            before = len(self._begun)
            self._begun += data
            end = self._begun.find(b"\r\n\r\n")
            if end < 0:
                return len(data)
            message.head = end + 4
            found = re.search(rb"\r\ncontent-length: *(\d+)", self._begun[:end], re.IGNORECASE)
            self._length = message.head + (int(found[1]) if found else 0)
            return min(len(data), self._length - before)
        return min(len(data), self._length - message.size)


@dataclass(slots=True)
class _Connection:
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    broken: Kind | None = None
    said: bytearray = field(default_factory=bytearray)
    #: the mark was said, and the server's next bytes answer it
    armed: bool = False
    kept: bytearray = field(default_factory=bytearray)


class FaultProxy:
    """Use as a context manager: `port` is where clients connect. `fault` may be set at any time between connections."""

    def __init__(self, port: int, *, http: bool = True) -> None:
        self._target = port
        self._http = http
        self.fault: Fault | None = None
        #: how often a fault was done
        self.struck = 0
        self.connections = 0
        self.requests: list[Message] = []
        self.answers: list[Message] = []
        self._numbers = itertools.count(1)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def listen(self) -> None:
        """Take connections, at the same port as before."""

        async def start() -> asyncio.Server:
            return await asyncio.start_server(self._serve, "127.0.0.1", self.port)

        self._server = asyncio.run_coroutine_threadsafe(start(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no connection any more: they are refused by the system."""

        async def stop() -> None:
            if self._server is not None:
                self._server.close()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(10)
        self._server = None

    def aim(self, fault: Fault | None) -> None:
        """Forget what passed, number anew, and do this from now on."""
        self.fault, self.struck, self.connections = fault, 0, 0
        self.requests, self.answers = [], []
        self._numbers = itertools.count(1)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connected(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            _close(writer, reset=True)
            self._tasks.discard(task)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.fault is not None and self.fault.hits("connect", self.connections):
            self.struck += 1
            _close(writer, reset=self.fault.kind == "reset")
            return
        server = await asyncio.open_connection("127.0.0.1", self._target)
        connection = _Connection((reader, writer), server)
        numbers: deque[int] = deque()
        counter = self._numbers if self._http else iter([self.connections])

        def numbered() -> Iterator[int]:
            for number in counter:
                numbers.append(number)
                yield number

        def answered() -> Iterator[int]:
            while True:
                yield numbers.popleft()

        requests = _Stream(numbered(), self._http, self.requests)
        answers = _Stream(answered() if self._http else iter([self.connections]), self._http, self.answers)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(connection, "request", requests))
                group.create_task(self._pass(connection, "answer", answers))
        finally:
            _close(server[1], reset=True)

    async def _pass(self, connection: _Connection, side: Side, stream: _Stream) -> None:
        source, target = connection.client[0], connection.server[1]
        if side == "answer":
            source, target = connection.server[0], connection.client[1]
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if connection.broken in ("stall", "late") and side == "request":
                    connection.kept += data
                if connection.broken not in (None, "dribble"):
                    continue
                for message, start, piece in stream.pieces(data):
                    await self._forward(connection, side, message, start, piece, target)
        if connection.broken == "late" and side == "request":
            # the client has given up: what it had said arrives, and what the server says goes nowhere
            with contextlib.suppress(OSError):
                connection.server[1].write(bytes(connection.kept))
                connection.server[1].write_eof()
            return
        for _, writer in (connection.client, connection.server):
            _close(writer, reset=connection.broken in ("reset", "stall"))

    async def _forward(
        self,
        connection: _Connection,
        side: Side,
        message: Message,
        start: int,
        piece: bytes,
        target: asyncio.StreamWriter,
    ) -> None:
        if connection.broken not in (None, "dribble"):
            if side == "request":
                connection.kept += piece
            return
        at = self._place(connection, side, message, start, piece)
        if at is None:
            await self._say(target, piece, slow=connection.broken == "dribble")
            return
        assert self.fault is not None
        await self._say(target, piece[:at], slow=False)
        connection.broken = self.fault.kind
        self.struck += 1
        if self.fault.kind == "dribble":
            await self._say(target, piece[at:], slow=True)
        elif self.fault.kind in ("stall", "late"):
            if side == "request":
                connection.kept += piece[at:]
        else:
            for _, writer in (connection.client, connection.server):
                _break(writer, reset=self.fault.kind == "reset")

    def _place(self, connection: _Connection, side: Side, message: Message, start: int, piece: bytes) -> int | None:
        """Where in this piece the fault is to be done, if it is."""
        fault = self.fault
        if fault is None or connection.broken is not None:
            return None
        if not fault.mark:
            found = fault.at - start
            return found if fault.hits(side, message.number) and 0 <= found <= len(piece) else None
        if self.struck >= fault.times:
            return None
        if side == "answer":
            return 0 if fault.side == "answer" and connection.armed else None
        connection.said += piece
        place = connection.said.find(fault.mark, connection.said.find(fault.after))
        if place < 0 or fault.after not in connection.said:
            return None
        if fault.side == "answer":
            connection.armed = True
            return None
        found = place + fault.at - (len(connection.said) - len(piece))
        return max(0, found) if found <= len(piece) else None

    @staticmethod
    async def _say(target: asyncio.StreamWriter, data: bytes, *, slow: bool) -> None:
        for piece in (data[n : n + 1] for n in range(len(data))) if slow else (data,):
            if piece:
                target.write(piece)
                await target.drain()
            if slow:
                await asyncio.sleep(DRIBBLE_SECONDS)


def _break(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """RST; or FIN, after which whatever the other side still says is read and dropped."""
    if reset:
        _close(writer, reset=True)
        return
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    connection = writer.get_extra_info("socket")
    if reset and connection is not None and connection.fileno() >= 0:
        # linger 0 makes close() a reset
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if reset:
        writer.transport.abort()
    else:
        writer.close()
