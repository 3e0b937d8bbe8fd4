"""What lies around a simulated process: the warehouse that it reads, its credential, and the network below its wire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from levada.delivery.wire import Lost, NotSent, Outgoing
from levada.destination import Credential, Response, Talk
from levada.errors import SourceError
from levada.source import Attachment, Column, SourceAbilities
from simulation.coverage import RUN
from simulation.process import Process
from simulation.server import SECRET, Asked, NoAnswer, NoConnection

if TYPE_CHECKING:
    from simulation.world import World

_FIELDS: list[pa.Field[Any]] = [
    pa.field("id", pa.int64()),
    pa.field("name", pa.string()),
    pa.field("score", pa.int64()),
]
SCHEMA = pa.schema(_FIELDS)


class ModelSource:
    """Fulfils `levada.source.Source` over the world's rows."""

    name = "warehouse"
    abilities = SourceAbilities("duckdb")

    def __init__(self, world: World) -> None:
        self._world = world

    def check(self) -> None:
        return

    def tables(self) -> tuple[str, ...]:
        return ("people",)

    def columns(self, query: str) -> tuple[Column, ...]:
        lost = self._world.stage.source == "loses_column"
        if lost:
            self._world.cells["loses_column", RUN] += 1
        return tuple(Column(f.name, f.type) for f in SCHEMA if not (lost and f.name == "name"))

    @contextmanager
    def read(self, query: str) -> Iterator[Iterator[pa.RecordBatch]]:
        yield self._batches()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        world = self._world
        table = world.table()
        if world.stage.source:
            world.cells[world.stage.source, RUN] += 1
        match world.stage.source:
            case "empty":
                table = table.slice(0, 0)
            case "breaks":
                yield table.slice(0, table.num_rows // 2).to_batches()[0] if table.num_rows > 1 else _none()
                raise SourceError("the connection to the warehouse broke", code="source.read")
        yield from table.to_batches() or [_none()]

    def attachment(self, query: str | None = None) -> Attachment | None:
        return None

    def interrupt(self) -> None:
        return

    def close(self) -> None:
        return


def _none() -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=SCHEMA)


class Token:
    """Each sign-in brings the token that is valid now."""

    refreshes = True

    def __init__(self, world: World) -> None:
        self._world = world

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        yield from ()
        return Credential({"Authorization": f"Bearer {SECRET}-{self._world.server.valid_token}"})

    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


class SimulatedWire:
    """Fulfils `levada.delivery.wire.Wire`."""

    def __init__(self, world: World, process: Process, between: Any) -> None:
        self._world = world
        self._process = process
        self._between = between

    async def send(self, outgoing: Outgoing) -> Response:
        world = self._world
        path = outgoing.url.removeprefix("http://127.0.0.1:9")
        document = json.loads(outgoing.body) if outgoing.body else {}
        asked = Asked(outgoing.method, path, outgoing.headers, outgoing.query, document)
        self._process.step("request.before")
        world.server.run = self._process.run
        number = world.numbered
        if asked.writes:
            kinds = [str(r.get("kind", "removed")) for r in asked.records]
            records = list(zip(kinds, world.server.keys(asked), strict=True))
            fault = world.next_fault(records, size=len(records))
        else:
            fault = world.next_fault((), size=len(document["ids"]), looks=True)
        try:
            answer = await world.server.exchange(asked, fault)
        except NoAnswer as error:
            raise Lost("no answer within 10 seconds") from error
        except NoConnection as error:
            raise NotSent("connection refused") from error
        self._process.step("request.answered")
        self._between(number)
        return Response(answer.status, answer.headers, answer.body)

    async def close(self) -> None:
        return
