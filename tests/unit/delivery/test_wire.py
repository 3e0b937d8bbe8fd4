"""The wire sends once and tells apart what was surely not sent from what may have been applied."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from levada.addresses import AddressPolicy
from levada.delivery.wire import HttpWire, Lost, NotSent, Outgoing, Overtaken
from levada.destination import Response
from levada.errors import ConfigError

HERE = AddressPolicy(private=True)
TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Request-Id: r1\r\n\r\n{}"


@contextmanager
def server(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answers the n-th request with the n-th bytes, as they are, and closes; empty bytes close at once."""
    seen: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    done = threading.Event()
    listener.settimeout(0.05)

    def accepted() -> socket.socket | None:
        while not done.is_set():
            try:
                return listener.accept()[0]
            except TimeoutError:
                continue
        return None

    def serve() -> None:
        for answer in answers:
            connection = accepted()
            if connection is None:
                return
            with connection:
                connection.settimeout(5)
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536)
                seen.append(request)
                connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        done.set()
        thread.join(5)
        listener.close()


def send(url: str, method: str = "POST", policy: AddressPolicy = HERE, timeout_seconds: float = 5.0) -> Response:
    async def once() -> Response:
        wire = HttpWire(policy)
        try:
            return await wire.send(Outgoing(method, url, body=b"{}", timeout_seconds=timeout_seconds))
        finally:
            await wire.close()

    return asyncio.run(once())


def test_what_became_of_a_connection_is_told_in_plain_words() -> None:
    """Nobody there, closed without an answer, an answer cut off: with the server's name and no words of a library."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(NotSent, match=rf"^connection refused: nothing listens at 127\.0\.0\.1:{port}$"):
            send(f"http://127.0.0.1:{port}/c")
    with server(b"") as (url, _), pytest.raises(Lost, match=r"^the connection was closed before an answer came$"):
        send(url)
    with server(OK.removesuffix(b"}")) as (url, _), pytest.raises(Lost, match=r"^the answer broke off before its end$"):
        send(url)


def test_an_answer_comes_whole_with_lower_case_headers() -> None:
    """Status, headers and body are the server's."""
    with server(OK) as (url, _):
        answer = send(url)
    assert (answer.status, answer.body, answer.request_id) == (200, b"{}", "r1")


@pytest.mark.parametrize("kept", [False, True], ids=["new connection", "kept connection"])
def test_a_process_that_is_overtaken_while_it_connects_sends_no_byte(kept: bool) -> None:
    """The right to send is asked for with the connection in hand; the server sees only what was sent before."""
    answers = iter([True] * kept + [False])

    async def asked(url: str) -> None:
        wire = HttpWire(HERE)
        try:
            if kept:
                await wire.send(Outgoing("POST", url, body=b"{}", entitled=lambda: next(answers)))
            with pytest.raises(Overtaken):
                await wire.send(Outgoing("POST", url, body=b"{}", entitled=lambda: next(answers)))
        finally:
            await wire.close()

    with server(*[OK] * kept) as (url, seen):
        asyncio.run(asked(url))
        assert len(seen) == kept
    assert next(answers, None) is None


def test_a_refused_connection_is_surely_not_sent() -> None:
    """Nobody listens: no byte left."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NotSent):
        send(f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("cut", [b"", OK[:9], OK[:30], OK[:-1]])
def test_a_cut_answer_is_lost_and_never_sent_again(method: str, cut: bytes) -> None:
    """Wherever the answer breaks, the write went out exactly once."""
    with server(cut, OK, OK) as (url, seen):
        with pytest.raises(Lost):
            send(url, method)
        assert len(seen) == 1


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_connection_that_breaks_while_a_large_body_is_sent_is_lost(reset: bool) -> None:
    """The body is larger than what the system holds for us: the break comes between two of our writes."""
    size = 32_000_000
    heard = 0

    def serve(listener: socket.socket) -> None:
        nonlocal heard
        with listener.accept()[0] as connection:
            while heard < 200_000:
                heard += len(connection.recv(65_536))
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def once(url: str) -> None:
        wire = HttpWire(HERE)
        try:
            await wire.send(Outgoing("POST", url, body=b" " * size, timeout_seconds=10))
        finally:
            await wire.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(Lost):
            asyncio.run(once(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join(5)
    assert 200_000 <= heard < size


def test_a_kept_connection_that_breaks_does_not_repeat_a_write() -> None:
    """The second PUT meets a connection that the server has closed: it is lost or not sent, never doubled."""

    async def twice(url: str) -> None:
        wire = HttpWire(HERE)
        try:
            await wire.send(Outgoing("PUT", url, body=b"{}"))
            await asyncio.sleep(0.05)
            try:
                await wire.send(Outgoing("PUT", url, body=b"{}"))
            except (Lost, NotSent):
                return
        finally:
            await wire.close()

    with server(OK, OK, OK) as (url, seen):
        asyncio.run(twice(url))
        assert len(seen) <= 2


@pytest.mark.parametrize("heard", [True, False], ids=["heard", "not yet read"])
@pytest.mark.parametrize("said", [OK.replace(b"r1", b"r2"), TIMED_OUT, b"x", b""])
def test_what_a_server_says_unasked_is_no_answer_to_the_next_request(said: bytes, heard: bool) -> None:
    """An answer twice, a time-out, a connection that ends: a new connection is made, and its answer is the answer."""
    unasked = threading.Event()
    ask = threading.Event()

    def serve(listener: socket.socket) -> None:
        for number in (1, 3):
            with listener.accept()[0] as connection:
                connection.settimeout(5)
                connection.recv(65_536)
                connection.sendall(OK.replace(b"r1", b"r%d" % number))
                if number == 1:
                    assert ask.wait(5)
                    connection.sendall(said) if said else connection.shutdown(socket.SHUT_WR)
                    unasked.set()
                    # until the client lets go of it, in whatever way
                    with contextlib.suppress(OSError):
                        connection.recv(1)

    async def twice(url: str) -> list[str]:
        wire = HttpWire(HERE)
        try:
            first = await wire.send(Outgoing("POST", url, body=b"{}", timeout_seconds=5))
            ask.set()
            # what stands in the way of the event loop keeps it from reading
            assert await asyncio.to_thread(unasked.wait, 5) if heard else unasked.wait(5)
            await asyncio.sleep(0.05 if heard else 0)
            return [
                first.request_id,
                (await wire.send(Outgoing("POST", url, body=b"{}", timeout_seconds=5))).request_id,
            ]
        finally:
            await wire.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        assert asyncio.run(twice(f"http://127.0.0.1:{listener.getsockname()[1]}")) == ["r1", "r3"]
        thread.join(5)


def test_no_answer_in_time_is_lost() -> None:
    """A server that accepts and says nothing may still apply what it got."""
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(Lost):
        send(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_seconds=0.2)


def test_redirects_are_not_followed() -> None:
    """A redirect is an answer for the connector to read; credentials go nowhere else."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    with server(moved) as (url, _):
        assert send(url).status == 302


FORBIDDEN = (
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1",
    "169.254.169.254", "192.0.0.192", "100.64.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "[::1]", "[::]",
    "[::ffff:127.0.0.1]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
    "[2001:0:0:0:0:0:80ff:fffe]",
)  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
def test_addresses_inside_are_refused_in_every_spelling(host: str) -> None:
    """For those who are not the machine's administrator, no spelling of an inner address passes."""
    with pytest.raises(ConfigError) as caught:
        send(f"https://{host}/", policy=AddressPolicy(private=False))
    assert caught.value.code == "config.address_refused"


def test_a_name_that_resolves_inwards_is_refused() -> None:
    """The resolved address is what counts."""
    with pytest.raises(ConfigError):
        send("https://localhost:1/", policy=AddressPolicy(private=False))


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0"])
def test_metadata_services_are_refused_for_everyone(host: str) -> None:
    """Even the command line's user does not reach them by mistake."""
    with pytest.raises(ConfigError):
        send(f"http://{host}/", policy=HERE)


def test_http_without_tls_goes_to_this_machine_only() -> None:
    """Records and credentials are not sent in clear text to others, unless a host is allowed by name."""
    with pytest.raises(ConfigError) as caught:
        send("http://crm.example.com/")
    assert caught.value.code == "config.cleartext"
    assert AddressPolicy(allowed_hosts=("crm.example.com",)).admits_cleartext("crm.example.com")
