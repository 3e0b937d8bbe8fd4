"""Every HTTP destination keeps the contract of `levada.destination`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from claims import Figure
from levada import demo
from levada import destination as destination_of
from levada.batch import Batch
from levada.declaration.yaml import parse
from levada.destination import Destination, Request, Response, Surroundings
from levada.destinations import destination_type
from levada.runner.connectors import find_destination_type
from levada.testing.destination_files import benches_of
from levada.testing.destinations import (
    CHECKS,
    MODULES,
    ConnectorBench,
    checks_for,
    name_of,
    noted,
    promise_of,
    run,
)
from levada.testing.plugin import NOTED

EXAMPLES = Path(__file__).parents[2] / "examples"
DEMO = Path(demo.__file__).parent / "project"
CUSTOMERS: list[dict[str, Any]] = [
    {"number": f"C-{n}", "name": f"Customer {n}", "credit_limit": Decimal("10.50")} for n in range(5)
]
TOKEN = "tok_0123456789abcdef"


def answer(value: object, status: int = 200) -> Response:
    return Response(status, {"x-request-id": "r-1"}, json.dumps(value).encode())


def opened(type_name: str, options: dict[str, Any], name: str = "crm") -> Destination:
    kind = destination_type(type_name)
    assert kind is not None
    found = kind.open(name, kind.options.model_validate(options), Surroundings(EXAMPLES))
    assert isinstance(found, Destination)
    return found


def http(objects: dict[str, Any], **more: Any) -> Destination:
    return opened(
        "http", {"base_url": "https://crm.example.com", "objects": objects, "auth": {"bearer": TOKEN}, **more}
    )


def erp() -> Destination:
    kind = find_destination_type(EXAMPLES, "acme_erp")
    assert kind is not None
    options = kind.options.model_validate({"tenant": "acme", "token": TOKEN})
    found = kind.open("erp", options, Surroundings(EXAMPLES))
    assert isinstance(found, Destination)
    return found


def sent(request: Request) -> Any:
    return json.loads(request.body or b"null")


def erp_customers() -> ConnectorBench:
    """The example connector: answers that name each record by its number."""

    def numbers(request: Request) -> list[str]:
        return [each["number"] for each in sent(request)["customers"]]

    def one_refused(request: Request, index: int) -> Response:
        saved = [{"number": number, "id": n} for n, number in enumerate(numbers(request)) if n != index]
        failed = [{"number": numbers(request)[index], "problem": {"text": "no", "code": "X"}}]
        return answer({"saved": saved, "failed": failed}, 207)

    return ConnectorBench(
        erp(),
        "customers",
        "upsert",
        CUSTOMERS,
        ("number",),
        accepted=lambda request: answer({"saved": [{"number": n, "id": 1} for n in numbers(request)], "failed": []}),
        one_refused=one_refused,
        reads_answers=True,
    )


def erp_archive() -> ConnectorBench:
    """One record a request, named in the path, judged by its status."""
    return ConnectorBench(erp(), "customers", "archive", CUSTOMERS, ("number",), accepted=lambda request: Response(204))


def erp_orders() -> ConnectorBench:
    """One record a request, judged by its status, with the tool's id in the answer."""
    records = [{"reference": f"O-{n}", "total": n} for n in range(3)]
    return ConnectorBench(
        erp(), "orders", "create", records, ("reference",), accepted=lambda request: answer({"order": {"id": 9}}, 201)
    )


def erp_prices() -> ConnectorBench:
    """A job, polled to its end, with a file of rejects."""
    records = [{"sku": f"S-{n}", "price": Decimal(n)} for n in range(4)]

    def told(request: Request, rejects: str = "sku,reason\n") -> Response:
        if request.method == "POST":
            return answer({"import": {"id": 5}}, 202)
        if request.url.endswith("/rejects"):
            return Response(200, {}, rejects.encode())
        return answer({"import": {"state": "finished"}})

    def one_refused(request: Request, index: int) -> Response:
        sink = io.StringIO()
        csv.writer(sink).writerows([["sku", "reason"], [f"S-{index}", "too dear, or too cheap"]])
        return told(request, sink.getvalue())

    return ConnectorBench(
        erp(), "prices", "upsert", records, ("sku",), accepted=told, one_refused=one_refused, null_is_empty=True
    )


def http_simple() -> ConnectorBench:
    """The shortest declared destination: one line for an object."""
    return ConnectorBench(
        http({"customers": {"upsert": "POST /customers"}}, **{"class": "A"}),
        "customers",
        "upsert",
        CUSTOMERS,
        ("number",),
        accepted=lambda request: Response(200),
    )


def http_items() -> ConnectorBench:
    """One entry for each record, in the order of the request, under OAuth 2."""

    def items(request: Request, refused: int | None = None) -> Response:
        return answer(
            {
                "results": [
                    {"success": n != refused, "error": "no" if n == refused else None}
                    for n, _ in enumerate(sent(request))
                ]
            }
        )

    objects = {
        "customers": {
            "upsert": {"send": "PUT /customers", "outcomes": {"items": {"list": "results", "ok": "success"}}},
            "delete": "DELETE /customers/{number}",
        }
    }
    oauth = {"token_url": "https://crm.example.com/token", "client_id": "levada", "client_secret": TOKEN}
    return ConnectorBench(
        http(objects, auth={"oauth2": oauth}, limits={"records_per_request": 50}),
        "customers",
        "upsert",
        CUSTOMERS,
        ("number",),
        accepted=items,
        one_refused=items,
        by_name=False,
        reads_answers=True,
    )


def http_indexed() -> ConnectorBench:
    """Refusals by position inside a 2xx, successes only counted, fields discovered."""

    def told(request: Request, refused: int | None = None) -> Response:
        count = len(sent(request)["inputs"])
        errors = [] if refused is None else [{"index": refused, "message": "no"}]
        return answer({"num_received": count - len(errors), "errors": errors})

    upsert = {
        "send": "POST /{object}/batch",
        "record": "{fields_all}",
        "body": {"inputs": "{records}"},
        "records_per_request": 4,
        "outcomes": {"accepted": {"count": "num_received"}, "refused": {"list": "errors", "index": "index"}},
    }
    described = answer({"fields": [{"name": name, "type": "string"} for name in CUSTOMERS[0]]})
    return ConnectorBench(
        http(
            {"customers": {"match": "number", "upsert": upsert}},
            discover={"fields": {"send": "GET /{object}/fields", "list": "fields", "type": "type"}},
        ),
        "customers",
        "upsert",
        CUSTOMERS,
        ("number",),
        accepted=told,
        one_refused=told,
        by_value=False,
        reads_answers=True,
        describes=lambda request: described if "customers" in request.url else Response(404),
    )


def webhook(batch: int = 1) -> ConnectorBench:
    options = {"url": "https://hooks.example.com/in", "secret": "whsec_" + "c2VjcmV0" * 4, "batch": batch}
    return ConnectorBench(
        opened("webhook", options),
        "customers",
        "upsert",
        CUSTOMERS,
        ("number",),
        accepted=lambda request: Response(202),
        any_body=True,
    )


def webhook_batch() -> ConnectorBench:
    return webhook(batch=4)


def python_function() -> ConnectorBench:
    @destination_of(records_per_request=3, class_="A", auth={"bearer": TOKEN})
    def loyalty(batch: Any) -> Any:
        """Loyalty"""
        told = yield batch.post("https://loyalty.example.com/members", json=batch.records)
        if 300 <= told.status < 400:
            return batch.unknown("elsewhere")
        return batch.delivered() if told.ok else batch.refused(told.text)

    return ConnectorBench(loyalty, "members", "upsert", CUSTOMERS, ("number",), any_body=True)


def http_keys() -> ConnectorBench:
    """A create under an idempotency key (class B), with the tool's id in the answer."""
    action = {
        "send": "POST /customers",
        "records_per_request": 1,
        "idempotency_header": "Idempotency-Key",
        "outcomes": {"success": "ok", "identifier": "id"},
    }
    return ConnectorBench(
        http({"customers": {"create": action}}),
        "customers",
        "create",
        CUSTOMERS,
        ("number",),
        accepted=lambda request: answer({"ok": True, "id": f"id-{sent(request)['number']}"}),
        reads_answers=True,
        identifier=lambda record: f"id-{record['number']}",
    )


def http_looked_up() -> ConnectorBench:
    """Creates after a look-up of many records at once (class C)."""
    objects = {
        "customers": {
            "match": "number",
            "create": {
                "send": "POST /customers",
                "records_per_request": 3,
                "outcomes": {"items": {"list": "made", "ok": "ok", "match": "number", "identifier": "id"}},
            },
            "update": {"send": "PATCH /customers/{destination_id}"},
            "look_up": {
                "send": "POST /customers/search",
                "body": {"numbers": "{records}"},
                "list": "found",
                "match": "number",
                "identifier": "id",
                "records_per_request": 10,
            },
        }
    }

    def told(request: Request, refused: int | None = None) -> Response:
        return answer(
            {
                "made": [
                    {"number": each["number"], "id": f"id-{each['number']}", "ok": n != refused}
                    for n, each in enumerate(sent(request))
                ]
            }
        )

    def found(batch: Batch, request: Request) -> Response:
        rows = [{"number": row["number"], "id": f"id-{row['number']}"} for row in batch.records]
        return answer({"found": rows[::-1]})

    return ConnectorBench(
        http(objects),
        "customers",
        "create",
        CUSTOMERS,
        ("number",),
        accepted=told,
        one_refused=told,
        reads_answers=True,
        finds=found,
        identifier=lambda record: f"id-{record['number']}",
    )


BENCHES = (
    erp_customers, erp_archive, erp_orders, erp_prices, http_simple, http_items, http_indexed, http_keys,
    http_looked_up, webhook, webhook_batch, python_function,
)  # fmt: skip


def all_benches() -> dict[str, ConnectorBench]:
    """Those made by hand, and those that declared ones make by themselves: one for each of their verbs."""
    declared = benches_of("connectors/acme_erp.yml", EXAMPLES / "test_acme_erp.py", {})
    for name in ("ads", "crm"):
        declared += benches_of(of_the_demo(name), DEMO, {})
    found = {each.__name__: each() for each in BENCHES}
    return found | {f"{each.destination.name} {each.object} {each.verb}": each for each in declared}


def of_the_demo(name: str) -> Destination:
    """A destination of the demo's project, with its credentials filled in."""
    text = (DEMO / "destinations" / f"{name}.yml").read_text(encoding="utf-8")
    text = re.sub(r"\$\{\w+_URL\}", "https://demo.example.com", text)
    options = parse(re.sub(r"\$\{\w+\}", TOKEN, text), name).value
    return opened(options.pop("type"), options, name)


@pytest.mark.claim("KIT")
def test_every_destination_keeps_its_contract(figure: Figure, record_property: Callable[[str, object], None]) -> None:
    """Each check's own docstring says its promise; what does not apply is named at the end of the output."""
    benches = all_benches()
    record_property(NOTED, noted(benches))
    held, broken = 0, []
    for name, bench in benches.items():
        for check in checks_for(bench):
            try:
                run(check, bench)
                held += 1
            except pytest.fail.Exception as failed:
                broken.append(f"{name}: {failed}")
    assert broken == []
    apart = len(CHECKS) * len(benches) - held
    figure("KIT", f"{len(CHECKS)} checks × {len(benches)} connectors: {held} held, {apart} do not apply, each by name")


def test_every_check_is_run_over_some_destination() -> None:
    """No check is left without a destination that it says something of."""
    assert {check for bench in all_benches().values() for check in checks_for(bench)} == set(CHECKS)


def test_the_contract_has_all_its_checks() -> None:
    """The checks are gathered by their name: none is left out unnoticed, and each says its promise."""
    sources = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in MODULES)
    assert len(CHECKS) == sources.count("(bench: ConnectorBench) -> None:") >= 70
    assert [name_of(check) for check in CHECKS if not promise_of(check).endswith(".")] == []
