"""A listener on loopback that gives each connection to a thread of its own, and ends with all of them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

END_SECONDS = 10


@contextlib.contextmanager
def accepting(handle: Callable[[socket.socket], None], *, wait_seconds: float) -> Iterator[int]:
    """Yields the port. `handle` gets a connection whose calls wait so long; it may end by OSError or ValueError."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threads: list[threading.Thread] = []

    def handled(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(wait_seconds)
            handle(connection)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threads.append(threading.Thread(target=handled, args=(connection,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        # a thread in accept() is woken by shutdown, not by close
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(END_SECONDS)
