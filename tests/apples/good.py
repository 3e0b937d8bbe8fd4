"""A connector that keeps every check, written plainly, and its bench: what the wrong ones differ from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import quote, urlencode

from levada.batch import Batch
from levada.change import Verb
from levada.destination import (
    Auth,
    Credential,
    DeliveryClass,
    DestinationSpec,
    FieldSpec,
    Found,
    ObjectSpec,
    Request,
    Response,
    Talk,
)
from levada.errors import AuthError, ConfigError, DestinationError
from levada.limits import Limits
from levada.outcome import DELIVERED, Outcome, Outcomes, shortened
from levada.testing.destinations import ConnectorBench

SECRET = "shhh-0123456789-client"
BASE_URL = "https://crm.example.com"
RECORDS = [{"number": f"C-{n}", "name": f"Customer {n}", "visits": n} for n in range(4)]


@dataclass(frozen=True)
class Tokens:
    """Client credentials, as RFC 6749 has them."""

    secret: str = field(default=SECRET, repr=False)
    refreshes: bool = True

    def sign_in(self, kept: Mapping[str, str]) -> Talk[Credential]:
        form = {"grant_type": "client_credentials", "client_secret": self.secret}
        request = Request("POST", "/token", body=urlencode(form).encode(), safe=True, anonymous=True)
        answer = yield request
        try:
            token = answer.json()["access_token"]
        except (ValueError, KeyError, TypeError):
            raise AuthError(f"no token: answer {answer.status}") from None
        return Credential(headers={"Authorization": f"Bearer {token}"}, expires_in_seconds=3600)

    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


class Crm:
    """Fulfils `levada.destination.Destination`: customers, many in one request, named by their number."""

    name = "crm"
    base_url = BASE_URL
    title = "CRM"
    type = "crm"
    docs = "https://crm.example.com/developers"
    verbs: tuple[Verb, ...] = ("create", "update", "delete")
    classes: Mapping[Verb, DeliveryClass] = {"create": "C", "update": "A", "delete": "A"}
    account = Limits(records_per_request=50, requests_per_second=5)
    more: Mapping[str, Any] = {}

    @property
    def spec(self) -> DestinationSpec:
        return DestinationSpec(self.type, self.title, self.docs, self.account, dict(self.classes), **self.more)

    @property
    def auth(self) -> Auth | None:
        return Tokens()

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        if object_name != "customers":
            near = get_close_matches(object_name, ["customers"], n=1)
            raise ConfigError(f"crm has no object {object_name}", hint=f"did you mean {near}?" if near else "customers")
        answer = yield Request("GET", "/customers/fields", safe=True)
        try:
            names = [str(each["name"]) for each in answer.json()["fields"]] if answer.ok else None
        except (ValueError, KeyError, TypeError):
            names = None
        if names is None:
            raise DestinationError(f"the fields of {object_name}: answer {answer.status}")
        return ObjectSpec(object_name, tuple(FieldSpec(each) for each in names), verbs=self.verbs, match=("number",))

    def check(self) -> Talk[None]:
        answer = yield Request("GET", "/me", safe=True)
        if not answer.ok:
            raise DestinationError(f"GET /me: answer {answer.status}")

    def template(self, object_name: str, verb: Verb) -> Any:
        return None if verb == "delete" else "{fields_all}"

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.account.model_copy(update={"records_per_request": 1}) if verb == "delete" else self.account

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        answer = yield self.request(batch)
        return self.read(batch, answer)

    def request(self, batch: Batch) -> Request:
        headers = {"Idempotency-Key": self.key(batch), "Content-Type": "application/json"}
        if batch.verb == "delete":
            return Request("DELETE", f"/customers/{quote(batch.records[0]['number'], safe='')}", headers)
        return Request("POST", self.path(batch), headers, self.body(batch))

    def path(self, batch: Batch) -> str:
        return f"/customers/batch?first={quote(str(batch.records[0]['number']), safe='')}"

    def key(self, batch: Batch) -> str:
        return batch.idempotency_key

    def body(self, batch: Batch) -> bytes:
        return batch.json_array()

    def read(self, batch: Batch, answer: Response) -> Outcomes:
        if not answer.ok:
            return self.read_refusal(batch, answer)
        if batch.verb == "delete":
            return batch.delivered()
        try:
            found = answer.json()
            taken, failed = found["taken"], found["failed"]
            return self.matched(batch, taken, failed)
        except (ValueError, KeyError, TypeError, RecursionError):
            return batch.unknown("the answer cannot be read")

    def read_refusal(self, batch: Batch, answer: Response) -> Outcomes:
        if not 400 <= answer.status < 500:
            return batch.unknown(f"answer {answer.status}")
        if batch.verb == "delete" and answer.status == 404:
            return batch.delivered()
        return self.refuse(batch, self.words(answer))

    def refuse(self, batch: Batch, words: str) -> Outcomes:
        return batch.refused(words)

    def words(self, answer: Response) -> str:
        try:
            return str(answer.json()["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return f"answer {answer.status}"

    def matched(self, batch: Batch, taken: list[dict[str, Any]], failed: list[dict[str, Any]]) -> Outcomes:
        places = {row["number"]: index for index, row in enumerate(batch.records)}
        said = {places[each["number"]]: DELIVERED for each in taken if each["number"] in places}
        identifiers = {places[each["number"]]: str(each["id"]) for each in taken if each["number"] in places}
        for each in failed:
            index = places.get(each["number"])
            if index is not None:
                refusal = Outcome("rejected", shortened(str(each["message"])))
                said[index] = refusal if said.get(index) != DELIVERED else Outcome("unknown", "said twice")
                identifiers.pop(index, None)
        return batch.outcomes(said, common=Outcome("unknown", "not named"), identifiers=identifiers)

    def look_up(self, batch: Batch) -> Talk[Found]:
        body = json.dumps([row["number"] for row in batch.records]).encode()
        answer = yield Request("POST", "/customers/search", body=body, safe=True)
        return self.found(batch, answer)

    def found(self, batch: Batch, answer: Response) -> Found:
        try:
            entries: list[dict[str, Any]] = answer.json()["found" if answer.ok else "none"]
            ids = {each["number"]: str(each["id"]) for each in entries}
        except (ValueError, KeyError, TypeError):
            raise DestinationError(f"look-up: answer {answer.status}") from None
        return Found({n: ids[row["number"]] for n, row in enumerate(batch.records) if row["number"] in ids})


def told(value: object, status: int = 200) -> Response:
    return Response(status, {"x-request-id": "r-1"}, json.dumps(value).encode())


def numbers(request: Request) -> list[str]:
    """The customers that a request names: in its body, or in its address."""
    rows = json.loads(request.body or b"[]")
    return [row["number"] for row in rows if isinstance(row, dict) and "number" in row]


def accepted(request: Request) -> Response:
    return told({"taken": [{"number": each, "id": f"id-{each}"} for each in numbers(request)], "failed": []})


def one_refused(request: Request, index: int) -> Response:
    taken = [{"number": each, "id": f"id-{each}"} for n, each in enumerate(numbers(request)) if n != index]
    return told({"taken": taken, "failed": [{"number": numbers(request)[index], "message": "no"}]}, 207)


def finds(batch: Batch, request: Request) -> Response:
    rows = [{"number": row["number"], "id": f"id-{row['number']}"} for row in batch.records]
    return told({"found": rows[::-1]})


def bench_of(connector: Any, **changes: Any) -> ConnectorBench:
    facts: dict[str, Any] = {
        "object": "customers",
        "verb": "create",
        "records": RECORDS,
        "match": ("number",),
        "accepted": accepted,
        "one_refused": one_refused,
        "reads_answers": True,
        "describes": lambda request: told({"fields": [{"name": name} for name in RECORDS[0]]}),
        "finds": finds,
        "identifier": lambda record: f"id-{record['number']}",
        "secrets": (SECRET,),
        **changes,
    }
    return ConnectorBench(connector, **facts)
