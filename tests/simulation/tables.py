"""A table that is written to in transactions (class T), with the same log as the HTTP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from levada.batch import Batch
from levada.change import Verb
from levada.destination import DestinationSpec, ObjectSpec, WriteOrder
from levada.errors import UnavailableError
from levada.limits import Limits
from levada.outcome import Outcome, Outcomes
from simulation.server import NO_FATE, Server
from simulation.world import World

REFUSED = Outcome("rejected", "not this one")


class Table:
    """Fulfils `TableDestination`. Marks of applied batches live in the table's own transaction."""

    name = "dest"

    def __init__(self, world: World, batch: int) -> None:
        self.world = world
        self.marks: set[tuple[str, int]] = set()
        self.lost: set[tuple[int, int]] = set()
        self.spec = DestinationSpec(
            type="table",
            title="Table",
            docs="",
            limits=Limits(records_per_request=batch),
            classes={"upsert": "T", "update": "T", "delete": "T", "create": "T"},
        )

    def describe(self, object_name: str, wanted: pa.Schema | None = None, match: Sequence[str] = ()) -> ObjectSpec:
        return ObjectSpec(object_name, open=True, verbs=("upsert", "create", "delete"))

    def check(self) -> None:
        return

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.spec.limits

    def open(self, order: WriteOrder) -> TableWriter:
        if self.world.server.weather == "down":
            raise UnavailableError("the database is away")
        return TableWriter(self, order)


class TableWriter:
    def __init__(self, table: Table, order: WriteOrder) -> None:
        self._table = table
        self._order = order

    @property
    def _server(self) -> Server:
        return self._table.world.server

    def applied(self, number: int) -> bool | None:
        return (self._order.plan_id, number) in self._table.marks

    def write(self, batch: Batch) -> Outcomes:
        world = self._table.world
        process = world.process
        process.step("request.before")
        number = world.numbered
        keys = [batch.key_of(index) for index in range(len(batch))]
        fault = world.next_fault([(batch.kind, key) for key in keys], size=len(keys))
        world.clock.advance(world.chance.uniform(0.01, 0.1))
        self._server.requests.append(
            {"at": world.clock.seconds, "method": "WRITE", "path": "/", "writes": True, "stage": self._server.stage}
            | {"fault": fault or self._server.fate(keys), "weather": self._server.weather}
        )
        if fault == "no_connection" or self._server.weather == "down":
            raise UnavailableError("the connection broke before the commit was sent")
        if fault == "lost_before":
            raise ConnectionError("the connection broke at the commit")
        if fault == "refuse_batch":
            return batch.refused("one of them is not to our liking")
        self._break_off(keys)
        ends = self._fated(keys)
        if fault == "refuse_record":
            ends[world.chance.randrange(len(batch))] = REFUSED
        self._apply(batch, keys, ends)
        process.step("request.answered")
        if world.between is not None:
            world.between(number)
        if fault == "lost_after":
            raise ConnectionError("the connection broke at the commit")
        return batch.outcomes(ends) if ends else batch.delivered()

    def _break_off(self, keys: Sequence[int]) -> None:
        """The first commit with a record that is never answered for is lost; with one whose fate is `away`, so is all
        that follows."""
        fates = self._server.fates
        for key in keys:
            fate = fates.get(key, NO_FATE)
            if "away" in fate:
                self._server.weather = "down"
                raise ConnectionError("the connection broke at the commit")
            if fate & {"unheard_before", "unheard_after"} and (self._server.stage, key) not in self._table.lost:
                self._table.lost |= {(self._server.stage, each) for each in keys}
                raise ConnectionError("the connection broke at the commit")

    def _fated(self, keys: Sequence[int]) -> dict[int, Outcome]:
        """What is refused after a lost commit may be there: so much for records that are never answered for."""
        ends = {}
        for index, key in enumerate(keys):
            fate = self._server.fates.get(key, NO_FATE)
            if fate & {"refused", "unheard_before", "unheard_after"}:
                ends[index] = REFUSED
            elif "suppressed" in fate:
                ends[index] = Outcome("suppressed", "not wanted", "unwanted")
        return ends

    def _apply(self, batch: Batch, keys: Sequence[int], ends: Mapping[int, Outcome]) -> None:
        server = self._server
        server.moment = self._table.world.clock.seconds
        for index, record in enumerate(batch.records):
            if index not in ends:
                server.apply(batch.verb, {"id": keys[index], "fields": {**record, "id": keys[index]}})
        self._table.marks.add((self._order.plan_id, batch.number))

    def finish(self) -> None:
        return

    def close(self) -> None:
        return
