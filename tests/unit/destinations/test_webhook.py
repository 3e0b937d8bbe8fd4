"""Webhooks are signed as Standard Webhooks says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from levada.destination import Request, Response, Surroundings
from levada.destinations.example import example_batch
from levada.destinations.webhook import WebhookDestination, WebhookOptions, open_webhook, signature
from levada.errors import DestinationError

KEY = b"a key of twenty-four by."
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def webhook(**more: Any) -> WebhookDestination:
    options = WebhookOptions.model_validate({"url": "https://hooks.example.com/in?a=1", "secret": SECRET, **more})
    return open_webhook("inbox", options, Surroundings(Path()))


def sent(destination: WebhookDestination, verb: Any, records: list[dict[str, Any]], **more: Any) -> Request:
    batch = example_batch(
        records, object_name="orders", verb=verb, match=("id",), template=destination.template("orders", verb), **more
    )
    talk = destination.deliver(batch)
    request = next(talk)
    with pytest.raises(StopIteration) as stop:
        talk.send(Response(204))
    assert stop.value.value.of(0).end == "delivered"
    return request


def test_the_signature_is_over_id_time_and_body() -> None:
    """Computed here by hand from the specification: whsec_ is base64, other secrets are text."""
    expected = hmac.new(KEY, b'msg_1.1700000000.{"a":1}', hashlib.sha256).digest()
    assert signature(SECRET, "msg_1", 1700000000, b'{"a":1}') == "v1," + base64.b64encode(expected).decode()
    assert signature(SECRET, "m", 1, b"") == signature(KEY.decode(), "m", 1, b"")


def test_a_vector_of_the_specification() -> None:
    """The example that the reference libraries of Standard Webhooks test with."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_message_has_an_id_that_stays_and_a_time_of_sending() -> None:
    """The id is the operation's; the time and the signature come when the request is sent."""
    request = sent(webhook(), "upsert", [{"id": 1, "total": 2.5}])
    assert request.headers["webhook-id"] == "0" * 32 == request.headers["Idempotency-Key"]
    assert "webhook-timestamp" not in request.headers
    assert request.sign is not None
    headers = request.sign(1700000000)
    assert headers["webhook-timestamp"] == "1700000000"
    assert headers["webhook-signature"] == signature(SECRET, "0" * 32, 1700000000, request.body or b"")
    assert request.sign(1700000001)["webhook-signature"] != headers["webhook-signature"]


def test_the_event_says_what_happened_to_which_record() -> None:
    """Type, match, data, and for a change the values before."""
    added = json.loads(sent(webhook(), "upsert", [{"id": 1, "address.city": "x"}]).body or b"")
    assert added == {
        "id": "0" * 32,
        "type": "orders.added",
        "match": {"id": 1},
        "data": {"id": 1, "address": {"city": "x"}},
        "previous": None,
    }
    changed = sent(webhook(), "upsert", [{"id": 1, "t": 2}], changed=["t"], before=[{"id": 1, "t": 1}])
    body = json.loads(changed.body or b"")
    assert (body["type"], body["data"], body["previous"]) == ("orders.changed", {"id": 1, "t": 2}, {"id": 1, "t": 1})
    removed = json.loads(sent(webhook(), "delete", [{"id": 1, "t": 2}]).body or b"")
    assert (removed["type"], removed["data"]) == ("orders.removed", {"id": 1, "t": 2})
    assert "previous" not in removed


def test_a_batch_is_an_array_with_one_id() -> None:
    """With `batch` above one the body is an array, even of a single event."""
    destination = webhook(batch=10)
    assert destination.limits("orders", "upsert").records_per_request == 10
    request = sent(destination, "upsert", [{"id": 1}, {"id": 2}])
    assert [event["match"]["id"] for event in json.loads(request.body or b"")] == [1, 2]
    assert request.headers["webhook-id"] == "example"
    assert isinstance(json.loads(sent(destination, "upsert", [{"id": 1}]).body or b""), list)


def test_a_webhook_is_of_class_d_and_cannot_be_asked() -> None:
    """Nothing is known after an answer was lost; there is no look-up."""
    destination = webhook(headers={"X-Team": "ops-team"})
    assert {destination.spec.delivery_class("o", verb) for verb in ("upsert", "append", "delete")} == {"D"}
    batch = example_batch([{"id": 1}], object_name="o", verb="upsert", match=("id",), template=None)
    with pytest.raises(DestinationError):
        next(destination.look_up(batch))
    assert destination.auth is not None
    assert {SECRET, "ops-team"} <= set(destination.auth.secrets())
    assert SECRET not in repr(destination)


@pytest.mark.parametrize(
    "more", [{"secret": ""}, {"secret": "whsec_not base64!"}, {"secret": "whsec_"}, {"url": "ftp://x"}, {"batch": 0}]
)
def test_options_that_cannot_be_are_refused(more: dict[str, Any]) -> None:
    """An empty secret signs nothing."""
    with pytest.raises(ValidationError):
        webhook(**more)
