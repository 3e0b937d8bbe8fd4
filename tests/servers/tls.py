"""TLS in front of loopback servers, with a certificate of the test's choice; it notes what clients said in clear.

`tls_server` answers HTTP requests; `postgres_behind_tls` stands before a real PostgreSQL, asks for TLS as its protocol
does, and passes on what it decrypts: whoever connects cannot tell it from a PostgreSQL with TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from servers.accepting import accepting

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
SSL_REQUEST = (8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big")


@dataclass
class Said:
    """What a server learned: how many connections it had, and every byte that clients said after the handshake."""

    port: int = 0
    connections: int = 0
    heard: bytearray = field(default_factory=bytearray)


def context(files: tuple[Path, Path], version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server's side of TLS. `version`: this one alone, however old."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*files)
    if version is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            made.set_ciphers("ALL:@SECLEVEL=0")
            made.minimum_version = made.maximum_version = version
    return made


@contextlib.contextmanager
def _listening(handle: Callable[[socket.socket, Said], None]) -> Iterator[Said]:
    said = Said()

    def handled(connection: socket.socket) -> None:
        said.connections += 1
        handle(connection, said)

    with accepting(handled, wait_seconds=10) as said.port:
        yield said


@contextlib.contextmanager
def tls_server(terms: ssl.SSLContext | None) -> Iterator[Said]:
    """Answers every request with 200 and `{}`; without terms it speaks no TLS."""

    def handle(connection: socket.socket, said: Said) -> None:
        with terms.wrap_socket(connection, server_side=True) if terms else connection as clear:
            request = b""
            while b"\r\n\r\n" not in request and (terms or not request) and (data := clear.recv(65_536)):
                request += data
                said.heard += data
            if request:
                clear.sendall(ANSWER)

    with _listening(handle) as said:
        yield said


@contextlib.contextmanager
def postgres_behind_tls(terms: ssl.SSLContext, port: int) -> Iterator[Said]:
    """A PostgreSQL of this machine, reached by TLS alone."""

    def handle(connection: socket.socket, said: Said) -> None:
        first = connection.recv(8, socket.MSG_WAITALL)
        if first != SSL_REQUEST:
            said.heard += first
            return
        connection.sendall(b"S")
        with (
            terms.wrap_socket(connection, server_side=True) as clear,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            # one thread for each direction; a TLS socket takes one reader and one writer at a time
            back = threading.Thread(target=_pass_on, args=(server, clear, bytearray()), daemon=True)
            back.start()
            _pass_on(clear, server, said.heard)
            back.join(10)

    with _listening(handle) as said:
        yield said


def _pass_on(source: socket.socket, target: socket.socket, noted: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65_536):
            noted += data
            target.sendall(data)
    for each in (source, target):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
