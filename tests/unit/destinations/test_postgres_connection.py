"""What the system is told of a connection to a PostgreSQL destination."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from levada.database import read_url
from levada.destinations.postgres import PostgresEngine
from levada.libpq import PARAMETERS

NAMES = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")


@pytest.mark.skipif(sys.platform != "linux", reason="a process lists its own sockets on Linux only")
@pytest.mark.parametrize(("query", "idle"), [("", 30), ("?keepalives_idle=7", 7)])
def test_a_server_that_vanishes_is_noticed_in_about_a_minute(query: str, idle: int, postgres_url: str) -> None:
    """Else the driver waits for hours for who is not there any more. The url may say otherwise."""
    port = urlsplit(postgres_url).port
    session = PostgresEngine(read_url(postgres_url + query, PARAMETERS, "destination.url")).connect()
    try:
        found = [
            tuple(connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in NAMES)
            for connection in own_connections(port)
        ]
    finally:
        session.close()
    assert found == [(idle, 10, 4, 70_000)]


def own_connections(port: int | None) -> Iterator[socket.socket]:
    """This process's connections to a port, whoever made them."""
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as found:
            if found.getpeername()[1] == port:
                yield found
