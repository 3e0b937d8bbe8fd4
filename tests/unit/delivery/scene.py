"""A plan on disk, a store, a small destination, and a wire that answers as a test says: for delivery's tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from levada import events
from levada.addresses import AddressPolicy
from levada.batch import Batch
from levada.change import Counts, Kind, Verb
from levada.clock import Clock, SystemClock
from levada.delivery.account import Patience
from levada.delivery.dispatcher import Dispatcher
from levada.delivery.order import DeliveryOrder, DeliveryReport
from levada.delivery.waiting import NOTHING, Waiting
from levada.delivery.wire import Outgoing
from levada.destination import Auth, Credential, DestinationSpec, Found, ObjectSpec, Request, Response, Talk
from levada.errors import ConfigError
from levada.halt import Halt
from levada.limits import Limits
from levada.mapping import FieldMapping
from levada.mapping import Mapping as FieldMappings
from levada.outcome import Outcome, Outcomes
from levada.plan import Plan, PlanFile
from levada.redaction import Redactor
from levada.retry import RetryPolicy
from levada.store import Lease
from levada.stores.sqlite import SqliteStore

FIELDS = ("email", "name")


class Token:
    """Credentials `token-1`, `token-2`, …: each sign-in brings the next one."""

    refreshes = True

    def __init__(self) -> None:
        self.sign_ins = 0

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        self.sign_ins += 1
        yield from ()
        return Credential({"Authorization": f"Bearer token-{self.sign_ins}"}, kept={"refresh": str(self.sign_ins)})

    def secrets(self) -> tuple[str, ...]:
        return ()


@dataclass
class Contacts:
    """Takes `{"records": [...]}`; answers `{"refused": {index: reason}}`; 422 refuses a batch whole."""

    spec: DestinationSpec
    auth: Auth | None = None
    name: str = "crm"
    base_url: str = "http://127.0.0.1:9"
    found: Callable[[list[dict[str, Any]]], Mapping[int, str]] | None = None
    lacks: Sequence[Verb] = ()

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        yield from ()
        return ObjectSpec(object_name, open=True, verbs=("create", "update", "upsert", "delete"))

    def check(self) -> Talk[None]:
        yield from ()

    def template(self, object_name: str, verb: Verb) -> Any:
        if verb in self.lacks:
            raise ConfigError(f"{object_name} has no verb {verb}", code="config.no_verb")
        return "{fields_all}"

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.spec.limits

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        body = b'{"records": ' + batch.json_array() + b"}"
        answer = yield Request("POST", f"/{batch.verb}", {"Idempotency-Key": batch.idempotency_key}, body)
        if answer.status == 422:
            return batch.refused("one of them is bad")
        if not answer.ok:
            return batch.rejected(answer.text)
        try:
            refused = answer.json().get("refused", {})
        except ValueError:
            return batch.unknown("not JSON")
        return batch.outcomes({int(i): Outcome("rejected", reason) for i, reason in refused.items()})

    def look_up(self, batch: Batch) -> Talk[Found]:
        answer = yield Request("POST", "/search", {}, b'{"records": ' + batch.json_array() + b"}", safe=True)
        return Found({int(i): name for i, name in answer.json().items()})


Answer = Response | Exception
Script = Callable[[Outgoing, list[dict[str, Any]]], Answer]


@dataclass
class ScriptedWire:
    """Answers every request by a function of the request and its records."""

    script: Script
    sent: list[Outgoing] = field(default_factory=list)
    answer_seconds: float = 0.0

    async def send(self, outgoing: Outgoing) -> Response:
        self.sent.append(outgoing)
        if self.answer_seconds:
            await asyncio.sleep(self.answer_seconds)
        records = json.loads(outgoing.body or b"{}").get("records", [])
        answer = self.script(outgoing, records)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        return


QUICK = Patience(RetryPolicy(attempts_max=5, base_seconds=0.001), contact_seconds=0.05, outage_seconds=0.2)


@dataclass
class Scene:
    """One sync's plan of `added` and `removed` rows, and what delivering it takes."""

    folder: Path
    script: Script
    added: int = 0
    removed: int = 0
    batch: int = 10
    lanes: int = 2
    delivery_class: str = "A"
    verbs: dict[Kind, Verb] = field(default_factory=lambda: {"added": "upsert", "removed": "delete"})
    auth: Auth | None = None
    repeats: Any = "at_least_once"
    patience: Patience = QUICK
    server_seconds: float = 0.01
    not_applied_statuses: frozenset[int] = frozenset()
    rate: float | None = None
    quota: int | None = None
    row_group: int | None = None
    mode: Any = "upsert"
    #: what the plan's column `operation` holds of the added rows, if it has one
    operations: Sequence[str | None] | None = None
    waiting: Waiting = NOTHING
    clock: Clock = field(default_factory=SystemClock)
    run_loop: Callable[[Coroutine[Any, Any, Any]], Any] = asyncio.run
    seen: list[events.Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = SqliteStore.open(self.folder / "state")
        self.lease: Lease = self.store.leases.acquire("s")
        self.wire = ScriptedWire(self.script)
        self.plan_folder = self.folder / "plan"
        self.plan_folder.mkdir(exist_ok=True)
        files = {kind: self._write(kind, rows) for kind, rows in self._rows().items() if rows}
        self.plan = Plan(
            sync="s",
            plan_id="s@0123456789ab",
            purpose="sync",
            generation=0,
            mapping_version="m",
            hash_version="h",
            keys=("id",),
            fields=FIELDS,
            match=("email",),
            counts=Counts(added=self.added, removed=self.removed),
            model_rows=self.added,
            files=files,
        )
        self.store.runs.create(self.lease, "run_1", "sync")
        self.store.runs.update(self.lease, "run_1", phase="delivering", plan_id=self.plan.plan_id, folder="plan")
        classes: Any = dict.fromkeys(("create", "update", "upsert", "delete"), self.delivery_class)
        spec = DestinationSpec(
            type="test",
            title="Test",
            docs="",
            not_applied_statuses=self.not_applied_statuses,
            limits=Limits(
                concurrent_requests=self.lanes,
                records_per_request=self.batch,
                requests_per_second=self.rate,
                requests_per_day=self.quota,
            ),
            object_classes={"contacts": classes},
            max_server_seconds=self.server_seconds,
        )
        self.destination = Contacts(spec, self.auth)
        self.halt: Halt | None = None

    def _rows(self) -> dict[Kind, Sequence[int]]:
        return {"removed": range(self.removed), "added": range(1000, 1000 + self.added)}

    def _write(self, kind: Kind, rows: Sequence[int]) -> PlanFile:
        side = "before" if kind == "removed" else "after"
        table = pa.table(
            {
                "key.id": pa.array(rows, pa.int64()),
                f"{side}.email": [f"user{i}@example.com" for i in rows],
                f"{side}.name": [f"User {i}" for i in rows],
            }
        )
        if kind == "added" and self.operations is not None:
            table = table.append_column("operation", pa.array(self.operations, pa.string()))
        path = self.plan_folder / f"{kind}.parquet"
        pq.write_table(table, path, row_group_size=self.row_group)
        return PlanFile(path.name, len(rows), path.stat().st_size, "")

    def deliver(self) -> DeliveryReport:
        order = DeliveryOrder(
            sync="s",
            run_id="run_1",
            plan=self.plan,
            folder=self.plan_folder,
            mapping=FieldMappings(tuple(FieldMapping(n, "column", n) for n in FIELDS), ("email",)),
            object="contacts",
            verbs=self.verbs,
            mode=self.mode,
            removal="delete",
            repeats=self.repeats,
            waiting=self.waiting,
        )
        self.halt = Halt()
        dispatcher = Dispatcher(
            self.store,
            self.clock,
            Redactor(()),
            halt=self.halt,
            policy=AddressPolicy(private=True),
            patience=self.patience,
            listener=self.seen.append,
            wire=lambda: self.wire,
            run_loop=self.run_loop,
        )
        return dispatcher.deliver(order, self.destination, self.lease, pa.schema([]), self.store)

    def paths(self) -> list[str]:
        return [outgoing.url.rsplit("/", 1)[1] for outgoing in self.wire.sent]


def ok(**more: Any) -> Response:
    return Response(200, {}, json.dumps(more).encode())


def always_ok(outgoing: Outgoing, records: list[dict[str, Any]]) -> Answer:
    return ok()
