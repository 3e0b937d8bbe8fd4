"""Why a connection came to nothing, in plain words: no number of the system, and the server by its name."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from levada.addresses import unreached
from levada.database import read_url
from levada.destinations.mysql import PARAMETERS as MYSQL
from levada.destinations.mysql import MysqlEngine
from levada.destinations.postgres import PostgresEngine
from levada.errors import LevadaError
from levada.libpq import PARAMETERS
from levada.sources.postgres import TYPE


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('::1', 9, 0, 0)"), "nothing listens at"),
        (OSError(errno.ECONNREFUSED, "Multiple exceptions: [Errno 111] …"), "connection refused: nothing listens at"),
        (ConnectionResetError(), "connection reset: crm.example:443 broke it off"),
        (OSError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)), "connection reset: crm.example:443 broke it off"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "connection reset: crm.example:443 broke it off"),
        (TimeoutError("timed out"), "timed out: crm.example:443 does not answer"),
        (OSError(errno.ETIMEDOUT, "x"), "timed out: crm.example:443 does not answer"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route: nothing leads from this machine to crm.example:443"),
        (OSError(errno.ENETUNREACH, "x"), "no route: nothing leads from this machine to crm.example:443"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name not found: crm.example has no address"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "name not found: crm.example has no address just now"),
        (f"Lost connection ([Errno {errno.ECONNRESET}] Connection reset by peer)", "connection reset: crm.example"),
        ('server at "::1" failed: ' + os.strerror(errno.ETIMEDOUT), "timed out: crm.example:443 does not answer"),
        ('server at "::1", port 1 failed: timeout expired', "timed out: crm.example:443 does not answer"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError("x..y is not the name of a host"), "x..y is not the name of a host"),
        ("MySQL server has gone away", "MySQL server has gone away"),
    ],
)
def test_an_error_of_the_network_is_told_in_plain_words(error: BaseException | str, words: str) -> None:
    """Whoever raised it: the system, the event loop, or a driver of which there are only words."""
    found = unreached(error, "crm.example:443")
    assert words in found
    assert "Errno" not in found


@pytest.fixture
def port() -> Iterator[int]:
    """A port at which nothing listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def _source(port: int) -> None:
    TYPE.open("shop", TYPE.options.model_validate({"url": f"postgresql://me@127.0.0.1:{port}/shop"}), Path()).check()


def _postgres(port: int) -> None:
    PostgresEngine(read_url(f"postgresql://me@127.0.0.1:{port}/shop", PARAMETERS, "x")).connect()


def _mysql(port: int) -> None:
    MysqlEngine(read_url(f"mysql://me@127.0.0.1:{port}/shop", MYSQL, "x")).connect()


@pytest.mark.parametrize("connect", [_source, _postgres, _mysql])
def test_a_database_that_nothing_listens_for_is_told_so(port: int, connect: Callable[[int], None]) -> None:
    """The server is named once, and the way on is another line."""
    with pytest.raises(LevadaError) as caught:
        connect(port)
    assert "connection refused: nothing listens " in caught.value.message
    assert caught.value.message.count(f"127.0.0.1:{port}") == 1
    assert caught.value.hint
    assert caught.value.exit_code == 5
