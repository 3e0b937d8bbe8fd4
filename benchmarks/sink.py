"""The counting HTTP sink where no C compiler is: the same answers as sink.c, as an asyncio protocol.

`python sink.py PORT`. Slower than sink.c by an order of magnitude: ratios measured with it flatter the slower side.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys

ID = re.compile(rb'"id"[ :"]*([0-9]+)')
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
TAKEN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"taken": true}'
SORTS = ("upserts", "removals")
BODY_BYTES_MAX = 64 << 20

tally = {sort: {"requests": 0, "bytes": 0, "rows": 0, "ids": 0} for sort in SORTS}


class Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        while (blank := self.data.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.data[: blank + 2])
            length = LENGTH.search(head)
            size = int(length[1]) if length else 0
            if size > BODY_BYTES_MAX:
                self.transport.close()
                return
            if len(self.data) < blank + 4 + size:
                return
            body = bytes(self.data[blank + 4 : blank + 4 + size])
            del self.data[: blank + 4 + size]
            self.transport.write(answer(head, body))


def answer(head: bytes, body: bytes) -> bytes:
    method, path = head.split(b" ", 2)[:2]
    if method == b"GET":
        text = json.dumps(tally).encode()
        if path == b"/reset":
            for counted in tally.values():
                counted.update(dict.fromkeys(counted, 0))
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)
    counted = tally["removals" if method == b"DELETE" or b"delete" in path else "upserts"]
    ids = [int(found) for found in ID.findall(body)]
    counted["requests"] += 1
    counted["bytes"] += len(body)
    counted["rows"] += len(ids)
    counted["ids"] += sum(ids)
    return TAKEN


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
