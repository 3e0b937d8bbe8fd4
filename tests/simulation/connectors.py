"""The simulated destination as connectors of the real language, one for each class."""

from __future__ import annotations

from functools import cache
from typing import Any

from levada.batch import Batch
from levada.change import Verb
from levada.destination import Auth, DestinationSpec, Found, ObjectSpec, Talk
from levada.destinations.declared import DeclaredDestination, spec_of
from levada.destinations.language import HttpOptions
from levada.limits import Limits
from levada.outcome import Outcomes
from simulation.server import IDEMPOTENCY_SECONDS, LAG_SECONDS, SERVER_SECONDS, TIMEOUT_SECONDS

_ENDS = {"ends": {"unwanted": "suppressed"}}
_ENTRY = {"list": "results", "match": "id", "ok": "ok", "message": "message", "code": "code", "identifier": "rid"}
_ITEMS = {"items": _ENTRY, **_ENDS}
_DONE = {"success": [{"path": "done", "equals": True}], "identifier": "rid", "code": "code", **_ENDS}
_BATCH = {"body": {"records": "{records}"}, "outcomes": _ITEMS}
_FULL = {"kind": "{kind}", "fields": "{fields_all}"}
_GONE = {"kind": "{kind}", "id": "{key}"}


_MADE = {"created": {"path": "made", "equals": True}}


def _verbs(letter: str, bulk: bool, told: bool) -> dict[str, Any]:
    if letter == "A":
        outcomes = {"items": {**_ENTRY, **_MADE}, **_ENDS} if told else _ITEMS
        return {
            "upsert": {"send": "POST /upsert", "record": _FULL, **_BATCH, "outcomes": outcomes},
            "delete": {"send": "POST /delete", "record": _GONE, **_BATCH},
        }
    if letter == "D":
        return {"append": {"send": "POST /append", "record": _FULL, **_BATCH}}
    by_rid: dict[str, Any] = {
        "update": {
            "send": "PATCH /records/{destination_id}",
            "record": {"kind": "{kind}", "fields": "{fields}"},
            "outcomes": _DONE,
        },
        "delete": {
            "send": "DELETE /records/{destination_id}",
            "outcomes": _DONE,
        },
    }
    if bulk:
        named = {"kind": "{kind}", "id": "{key}", "rid": "{destination_id}"}
        by_rid = {
            "update": {"send": "POST /update", "record": {**named, "fields": "{fields}"}, **_BATCH},
            "delete": {"send": "POST /delete", "record": named, **_BATCH},
        }
    if letter == "B":
        create: dict[str, Any] = {
            "send": "POST /create",
            "record": _FULL,
            "idempotency_header": "Idempotency-Key",
            "outcomes": _DONE,
        }
        return {"create": {**create, "records_per_request": 1}, **by_rid}
    search = {
        "send": "POST /search",
        "body": {"ids": "{records}"},
        "list": "found",
        "match": "id",
        "identifier": "rid",
        "records_per_request": 4,
    }
    return {"create": {"send": "POST /create", "record": _FULL, **_BATCH}, "look_up": search, **by_rid}


@cache
def options(
    letter: str, batch: int, lanes: int, rate: float | None, quota: int | None, bulk: bool, told: bool
) -> HttpOptions:
    limits: dict[str, Any] = {"records_per_request": batch, "concurrent_requests": lanes}
    if rate is not None:
        limits["requests_per_second"] = rate
    if quota is not None:
        limits["requests_per_day"] = quota
    return HttpOptions.model_validate(
        {
            "base_url": "http://127.0.0.1:9",
            "limits": limits,
            "max_server_seconds": SERVER_SECONDS,
            "index_lag_seconds": LAG_SECONDS,
            "idempotency_seconds": IDEMPOTENCY_SECONDS,
            "timeout_seconds": TIMEOUT_SECONDS,
            "objects": {"people": _verbs(letter, bulk, told)},
        }
    )


class Signed:
    """A declared destination with an auth of the simulation's own."""

    def __init__(self, declared: DeclaredDestination, auth: Auth) -> None:
        self._declared = declared
        self.auth = auth
        self.name = "dest"
        self.spec: DestinationSpec = declared.spec
        self.base_url = declared.base_url

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        return self._declared.describe(object_name)

    def check(self) -> Talk[None]:
        return self._declared.check()

    def template(self, object_name: str, verb: Verb) -> Any:
        return self._declared.template(object_name, verb)

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self._declared.limits(object_name, verb)

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        return self._declared.deliver(batch)

    def look_up(self, batch: Batch) -> Talk[Found]:
        return self._declared.look_up(batch)


@cache
def declared(
    letter: str, batch: int, lanes: int, rate: float | None, quota: int | None, bulk: bool, told: bool
) -> DeclaredDestination:
    found = options(letter, batch, lanes, rate, quota, bulk, told)
    return DeclaredDestination("dest", spec_of("http", "HTTP", "", found), found).checked()
