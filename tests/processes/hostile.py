"""Answers that no good server gives, and a server which gives each of them once before it answers well."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

from servers.accepting import accepting

PIECE = b" " * 65_536
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MORE = b"X-More: " + b"a" * 4_000 + b"\r\n"
SLOW_SECONDS = 0.05
WAIT_SECONDS = 20
SAID_MAX = 50_000
"""So many pieces of what has no end are said at most: some gigabytes, or minutes."""

Said = bytes | float
"""What is said next; a number of seconds is a pause."""


def whole(body: bytes, head: bytes = HEAD) -> bytes:
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes, head: bytes = HEAD) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body


def without_end(*first: bytes, again: Said, slow: bool = False) -> Iterator[Said]:
    yield from first
    for _ in range(SAID_MAX):
        yield again
        if slow:
            yield SLOW_SECONDS


def bomb(coding: bytes, window: int) -> Iterator[Said]:
    """Blanks without end, ten megabytes of them in ten kilobytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, window)
    first, again = (packer.compress(b" " * 10_000_000) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return without_end(HEAD + b"Content-Encoding: " + coding + b"\r\n\r\n" + first, again=again)


def edited(good: bytes, *edits: tuple[bytes, bytes]) -> bytes:
    for old, new in edits:
        assert old in good, (old, good)
        good = good.replace(old, new)
    return good


ENDLESS: Mapping[str, Callable[[bytes], Iterable[Said]]] = {
    "endless body": lambda good: without_end(HEAD + b"\r\n" + good, again=PIECE),
    "endless chunks": lambda good: without_end(chunked(good), again=b"10000\r\n" + PIECE + b"\r\n"),
    "gzip bomb": lambda good: bomb(b"gzip", 31),
    "deflate bomb": lambda good: bomb(b"deflate", 15),
    "a small length and endless chunks": lambda good: without_end(
        chunked(good, head=HEAD + b"Content-Length: 10\r\n"), again=b"10000\r\n" + PIECE + b"\r\n"
    ),
    "endless body of a length": lambda good: without_end(
        HEAD + b"Content-Length: 1000000000000000000\r\n\r\n", again=PIECE
    ),
    "endless headers": lambda good: without_end(HEAD, again=MORE),
    "a header without end": lambda good: without_end(HEAD + b"X-More: ", again=PIECE.replace(b" ", b"a")),
    "a status line without end": lambda good: without_end(b"HTTP/1.1 200 ", again=PIECE.replace(b" ", b"a")),
    "a chunk's size without end": lambda good: without_end(CHUNKED, again=b"0" * 9_999),
    "trailers without end": lambda good: without_end(chunked(good, b"")[:-2], again=MORE),
    "lines before the status": lambda good: without_end(again=b"\r\n" * 1_000),
    "100 without end": lambda good: without_end(again=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "103 without end": lambda good: without_end(again=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100),
    "a header, byte by byte": lambda good: without_end(HEAD + b"X-More: ", again=b"a", slow=True),
    "a body, byte by byte": lambda good: without_end(HEAD + b"Content-Length: 90000\r\n\r\n", again=b" ", slow=True),
    "100, byte by byte": lambda good: without_end(again=b"HTTP/1.1 100 C\r\n\r\n", slow=True),
}  # fmt: skip
"""What would go on for ever."""

BROKEN: Mapping[str, Callable[[bytes], Iterable[Said]]] = {
    "gzip that is none": lambda good: [whole(good, HEAD + b"Content-Encoding: gzip\r\n")],
    "gzip cut off": lambda good: [whole(gzip.compress(good)[:-12], HEAD + b"Content-Encoding: gzip\r\n")],
    "length too long": lambda good: [HEAD + b"Content-Length: %d\r\n\r\n" % (len(good) + 9) + good],
    "length too short": lambda good: [HEAD + b"Content-Length: %d\r\n\r\n" % (len(good) - 9) + good],
    "two lengths": lambda good: [HEAD + b"Content-Length: 1\r\nContent-Length: %d\r\n\r\n" % len(good) + good],
    "length below nought": lambda good: [HEAD + b"Content-Length: -%d\r\n\r\n" % len(good) + good],
    "length with a sign": lambda good: [HEAD + b"Content-Length: +%d\r\n\r\n" % len(good) + good],
    "length in words": lambda good: [HEAD + b"Content-Length: many\r\n\r\n" + good],
    "chunks without the last": lambda good: [chunked(good)],
    "chunk of no size": lambda good: [CHUNKED + b"zz\r\n" + good + b"\r\n0\r\n\r\n"],
    "chunk below nought": lambda good: [CHUNKED + b"-5\r\n" + good + b"\r\n0\r\n\r\n"],
    "chunk of 2^80": lambda good: [CHUNKED + b"" + b"f" * 20 + b"\r\n" + good],
    "chunk longer than said": lambda good: [CHUNKED + b"5\r\n" + good + b"\r\n0\r\n\r\n"],
    "no UTF-8": lambda good: [whole(edited(good, (b'"ok"', b'"\xff\xfe": 1, "ok"')))],
    "JSON cut off": lambda good: [whole(good[:-1])],
    "two documents": lambda good: [whole(good + good)],
    "nested a million deep": lambda good: [whole(b"[" * 1_000_000)],
    "nested and closed": lambda good: [
        whole(good[:-1] + b', "x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}")
    ],
    "a number of a million digits": lambda good: [
        whole(edited(good, (b'"ok"', b'"x": ' + b"9" * 1_000_000 + b', "ok"')))
    ],
    "an exponent past all bounds": lambda good: [whole(edited(good, (b'"ok"', b'"x": 1e99999999999999999999, "ok"')))],
    "a number with a billion noughts": lambda good: [whole(edited(good, (b'"ok"', b'"x": 1e999999999, "ok"')))],
    "NaN": lambda good: [whole(edited(good, (b'"ok"', b'"x": NaN, "ok"')))],
    "a name twice": lambda good: [whole(good[:-1] + b', "results": [], ' + good[1:])],
    "a name twice in an entry": lambda good: [whole(edited(good, (b'"ok": true', b'"ok": false, "ok": true')))],
    "no head": lambda good: [good],
    "noise": lambda good: [bytes(range(256)) * 9],
    "another protocol": lambda good: [b"SSH-2.0-OpenSSH_9.2\r\n" + good],
    "a version that is none": lambda good: [whole(good).replace(b"HTTP/1.1", b"HTTP/x.1")],
    "a status of two digits": lambda good: [whole(good).replace(b" 200 ", b" 20 ")],
    "a status of four digits": lambda good: [whole(good).replace(b" 200 ", b" 2000 ")],
    "a header with a nought byte": lambda good: [whole(good, HEAD + b"X-More: a\0b\r\n")],
    "a header without a colon": lambda good: [whole(good, HEAD + b"More\r\n")],
    "another protocol, agreed": lambda good: [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + whole(good)
    ],
    "a page": lambda good: [whole(b"<html><body>ok</body></html>")],
    "nothing": lambda good: [whole(b"")],
    "no content": lambda good: [b"HTTP/1.1 204 No Content\r\n\r\n"],
    "null": lambda good: [whole(b"null")],
    "true": lambda good: [whole(b"true")],
    "text": lambda good: [whole(b'"ok"')],
    "a list": lambda good: [whole(b"[]")],
    "not modified": lambda good: [b"HTTP/1.1 304 Not Modified\r\n\r\n"],
    "a choice": lambda good: [whole(good).replace(b"200 OK", b"300 Multiple Choices")],
    "another one's record": lambda good: [whole(re.sub(rb'"id": \d+', b'"id": 999999', good))],
    "many small lists": lambda good: [whole(b'{"x": [' + b"[]," * 10_000_000 + b"0]}")],
}  # fmt: skip
"""What is broken, and closes the connection. None of them says of a record that it was taken."""

TRUE_BUT_ODD: Mapping[str, Callable[[bytes], Iterable[Said]]] = {
    "an id that is half a letter": lambda good: [whole(re.sub(rb'"rid": "\w+"', rb'"rid": "\\ud800"', good))],
    "an id with a nought byte": lambda good: [whole(re.sub(rb'"rid": "\w+"', rb'"rid": "a\\u0000b"', good))],
    "an id of a million letters": lambda good: [
        whole(re.sub(rb'"rid": "\w+"', b'"rid": "' + b"r" * 1_000_000 + b'"', good))
    ],
    "an id that is a list": lambda good: [whole(re.sub(rb'"rid": "\w+"', b'"rid": [{}]', good))],
    "an id of a large exponent": lambda good: [whole(re.sub(rb'"rid": "\w+"', b'"rid": 1e300', good))],
    "an id of a tiny exponent": lambda good: [whole(re.sub(rb'"rid": "\w+"', b'"rid": 1e-300', good))],
    "a name of the request that is no text": lambda good: [whole(good, HEAD + b"X-Request-Id: \xff\xfe\r\n")],
    "a thousand early words": lambda good: [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000 + whole(good)],
    "a word for another request after it": lambda good: [whole(good), 0.05, whole(forged())],
    "a word for another request with it": lambda good: [whole(good) + whole(forged())],
    "a request that timed out, in time": lambda good: [
        whole(good),
        0.05,
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    ],
}  # fmt: skip
"""Answers to what was done in truth, told oddly; and words that nobody asked for, on a connection that is kept."""


def forged() -> bytes:
    """Says of every record that may be asked for next that it was taken."""
    return json.dumps({"results": [{"id": n, "ok": True, "rid": "forged"} for n in range(1, 500)]}).encode()


def redirects(elsewhere: str) -> Mapping[str, bytes]:
    """Answers that lead to another place, by what they say."""
    places = {
        "another host": f"{elsewhere}/upsert",
        "a file": "file:///etc/passwd",
        "the same place": "/upsert",
        "another scheme": "gopher://127.0.0.1:1/",
        "a host without a scheme": elsewhere.removeprefix("http:"),
        "nowhere": "",
        "a name in front": f"http://user:pass@{elsewhere.removeprefix('http://')}/",
        "a long way": f"{elsewhere}/" + "a" * 7_000,
        "metadata": "http://169.254.169.254/latest/meta-data",
    }
    return {
        f"{status} to {name}": f"HTTP/1.1 {status} Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
        for status in (301, 302, 303, 307, 308)
        for name, place in places.items()
    }


@dataclass
class Hostile:
    """Stands before a real destination. `scripts`: for the id of a record, how the first request with it is answered.

    `done`: these requests are passed on first, and `good` is the destination's own answer; otherwise it is a forged one
    and nothing is done.
    """

    port: int = 0
    scripts: dict[int, tuple[str, Callable[[bytes], Iterable[Said]], bool]] = field(default_factory=dict)
    #: the path that is answered so; others are passed on
    path: str = "/upsert"
    #: requests to this path are done, and the connection is broken before the first answer
    lost: str = ""
    given: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    _once: set[tuple[str, int]] = field(default_factory=set)

    def forget(self) -> None:
        """As if nobody had asked yet."""
        with self.lock:
            self._once.clear()

    def first(self, path: str, key: int) -> bool:
        with self.lock:
            new = (path, key) not in self._once
            self._once.add((path, key))
            return new


@contextlib.contextmanager
def hostile_server(target: int) -> Iterator[Hostile]:
    """In front of the server at a port of this machine."""
    state = Hostile()

    def handle(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = client.makefile("rb")
        while line := reader.readline():
            method, path, _ = line.decode().split(" ", 2)
            headers = {}
            while (header := reader.readline()) not in (b"\r\n", b""):
                name, _, value = header.decode().strip().partition(": ")
                headers[name] = value
            length = int(headers.get("Content-Length", 0))
            if not _answered(client, state, target, method, path, headers, reader.read(length)):
                return

    with accepting(handle, wait_seconds=WAIT_SECONDS) as state.port:
        yield state


def _answered(
    client: socket.socket, state: Hostile, target: int, method: str, path: str, headers: Mapping[str, str], body: bytes
) -> bool:
    """Answer one request; False if the connection is to be closed."""

    def passed_on() -> tuple[int, bytes]:
        upstream = HTTPConnection("127.0.0.1", target, timeout=WAIT_SECONDS)
        upstream.request(method, path, body, dict(headers))
        answer = upstream.getresponse()
        text = answer.read()
        upstream.close()
        return answer.status, text

    keys = _keys(body)
    chosen = [key for key in keys if key in state.scripts]
    if path == state.lost and chosen and state.first(path, chosen[0]):
        passed_on()
        return False
    if path != state.path or not chosen or not state.first(path, chosen[0]):
        status, text = passed_on()
        client.sendall(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(text))
            + text
        )
        return True
    name, script, done = state.scripts[chosen[0]]
    good = passed_on()[1] if done else json.dumps(_forged(path, keys)).encode()
    with state.lock:
        state.given.append(name)
    for said in script(good):
        if isinstance(said, bytes):
            client.sendall(said)
        elif _gone(client, said):
            return False
    return done


def _gone(client: socket.socket, seconds: float) -> bool:
    """Wait, but not for a client that has gone."""
    client.settimeout(seconds)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except TimeoutError:
        return False
    finally:
        client.settimeout(WAIT_SECONDS)


def _keys(body: bytes) -> list[int]:
    document: Any = json.loads(body) if body else {}
    if "ids" in document:
        return [int(each) for each in document["ids"]]
    return [int(record.get("fields", record)["id"]) for record in document.get("records", [])]


def _forged(path: str, keys: list[int]) -> dict[str, Any]:
    return {"found": []} if path == "/search" else {"results": [{"id": key, "ok": True, "rid": "f"} for key in keys]}
