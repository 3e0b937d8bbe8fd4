"""A table that is written to in transactions (class T), with the same log as the HTTP server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from levada.batch import Batch
from levada.change import Verb
from levada.destination import DestinationSpec, ObjectSpec, WriteOrder
from levada.errors import UnavailableError
from levada.limits import Limits
from levada.outcome import DELIVERED, Effect, Effects, Outcome, Outcomes
from simulation.server import NO_FATE, Server
from simulation.world import World


def _effect(verb: Verb, fields: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> Effect:
    """What a write changes, as a database finds it in its transaction."""
    if verb == "delete":
        return "gone" if held else "same"
    if verb == "create" or not held:
        return "created"
    return "same" if all(held[0].get(name) == value for name, value in fields.items()) else "updated"


REFUSED = Outcome("rejected", "not this one")
EXISTS = Outcome("rejected", "there is one already", "exists")


class Table:
    """Fulfils `TableDestination`. Marks of applied records live in the table's own transaction: what is written again
    is not applied again, and is answered as the first time."""

    name = "dest"

    def __init__(self, world: World, batch: int) -> None:
        self.world = world
        #: by plan and operation: how it ended, and what it changed
        self.marks: dict[tuple[str, int], tuple[Outcome, Effect]] = {}
        self.batches: set[tuple[str, int]] = set()
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
        return (self._order.plan_mark, number) in self._table.batches

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
        if fault == "refuse_batch" and self._unwritten(batch):  # what is written already is answered for by its mark
            return batch.refused("one of them is not to our liking")
        self._break_off(keys)
        ends = self._fated(keys)
        if fault == "refuse_record":
            ends[world.chance.randrange(len(batch))] = REFUSED
        self._keep(batch, keys, ends)
        self._apply(batch, keys, ends)
        process.step("request.answered")
        if world.between is not None:
            world.between(number)
        if fault == "lost_after":
            raise ConnectionError("the connection broke at the commit")
        told = [self._table.marks[self._order.plan_mark, batch.sequence + index] for index in range(len(batch))]
        refused = {index: outcome for index, (outcome, _) in enumerate(told) if outcome != DELIVERED}
        return batch.outcomes(refused, effects=Effects.each([effect for _, effect in told]))

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

    def _unwritten(self, batch: Batch) -> list[int]:
        """The indexes of the records of which the table has no mark."""
        return [i for i in range(len(batch)) if (self._order.plan_mark, batch.sequence + i) not in self._table.marks]

    def _keep(self, batch: Batch, keys: Sequence[int], ends: Mapping[int, Outcome]) -> None:
        """Give away what stood there, of the part that is not written yet."""
        keep, schema, server = self._order.keep, self._order.schema, self._server
        new = self._unwritten(batch)
        if keep is None or not new:
            return
        said = {"added": None, "changed": batch.before, "removed": batch.table}[batch.kind]
        rows: list[dict[str, Any]] = []
        for index in new:
            held = next((each for each in server.records.values() if each["id"] == keys[index]), None)
            stood = {name: (held or {}).get(name) for name in schema.names}
            if held and index not in ends and (said is None or said.slice(index, 1).to_pylist() != [stood]):
                old = {f"before.{name}": value for name, value in stood.items()}
                rows.append({"sequence": batch.sequence + index, **old, "unkept": []})
        types = {f"before.{name}": schema.field(name).type for name in schema.names}
        shape = pa.schema({"sequence": pa.int64(), **types, "unkept": pa.list_(pa.string())})
        keep(batch.sequence + new[0], pa.Table.from_pylist(rows, schema=shape) if rows else None)

    def _apply(self, batch: Batch, keys: Sequence[int], ends: Mapping[int, Outcome]) -> None:
        server, marks, plan = self._server, self._table.marks, self._order.plan_mark
        server.moment, server.acting = self._table.world.clock.seconds, self._table.world.process.run
        for index, record in enumerate(batch.records):
            key, mark = keys[index], (plan, batch.sequence + index)
            if mark in marks:
                continue
            held = [each for each in server.records.values() if each["id"] == key]
            end = ends.get(index, EXISTS if held and batch.verb == "create" else DELIVERED)
            effect: Effect = "untold"
            if end == DELIVERED:
                fields = {**record, "id": key}
                effect = _effect(batch.verb, fields, held)
                server.apply(batch.verb, {"id": key, "fields": fields})
            marks[mark] = end, effect
        if all(marks[plan, batch.sequence + index][0] == DELIVERED for index in range(len(batch))):
            self._table.batches.add((plan, batch.number))

    def finish(self) -> None:
        return

    def close(self) -> None:
        return
