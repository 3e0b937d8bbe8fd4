"""Webhooks: one signed request for each record, or for a batch of them.

The headers are those of the Standard Webhooks specification (https://www.standardwebhooks.com): `webhook-id`
stays the same however often a message is sent, `webhook-timestamp` is the time of sending, and
`webhook-signature` is `v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`. A receiver that keeps
the ids that it has seen takes each message once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from levada.addresses import server
from levada.batch import Batch
from levada.change import Verb
from levada.destination import (
    Auth,
    Credential,
    DestinationSpec,
    DestinationType,
    Found,
    ObjectSpec,
    Request,
    RequestFacts,
    Surroundings,
    Talk,
)
from levada.destinations.answers import Reader
from levada.destinations.auth import StaticAuth
from levada.destinations.reading import Reading
from levada.destinations.request_maker import idempotency_key
from levada.errors import DestinationError
from levada.limits import Limits
from levada.model import Address, Declaration
from levada.outcome import Outcomes
from levada.template import Node, parse, placeholders

VERBS: Final[tuple[Verb, ...]] = ("upsert", "append", "delete")
RECORDS_MAX: Final = 10_000

_EVENT = {"id": "{operation}", "type": "{object}.{kind}", "match": "{match}", "data": "{fields_all}"}
_TEMPLATES: Final[Mapping[str, Node]] = {
    "upsert": parse({**_EVENT, "previous": "{before}"}),
    "append": parse({**_EVENT, "previous": "{before}"}),
    "delete": parse(_EVENT),
}


class WebhookOptions(Declaration):
    """A receiver of webhooks. Any name is an object: it is the first half of the event's type."""

    url: Address
    """Where events are sent."""
    secret: str = Field(repr=False)
    """What events are signed with: `whsec_` and base64, or any text."""
    batch: int = Field(default=1, ge=1, le=RECORDS_MAX)
    """The most events in one request; with more than one, the body is an array."""
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    """Further headers of every request."""
    limits: Limits = Limits()
    """How much may be sent, and how fast."""
    max_server_seconds: float = Field(default=60.0, gt=0)
    """How long after being sent a request whose answer was lost may still have its effect."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How long to wait for an answer."""

    @field_validator("secret")
    @classmethod
    def _usable(cls, value: str) -> str:
        if not signing_key(value):
            raise ValueError("a secret is not empty")
        return value


def signing_key(secret: str) -> bytes:
    """The bytes of a secret: what follows `whsec_` is base64, anything else is itself. Raises ValueError."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError("what follows whsec_ is not base64") from None


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(signing_key(secret), signed, hashlib.sha256).digest()).decode()


def signer(secret: str, message_id: str, body: bytes) -> Callable[[int], Mapping[str, str]]:
    """What delivery calls at each sending with the time in unix seconds."""

    def sign(now: int) -> Mapping[str, str]:
        return {"webhook-timestamp": str(now), "webhook-signature": signature(secret, message_id, now, body)}

    return sign


@dataclass(frozen=True, slots=True)
class WebhookDestination:
    """Fulfils `levada.destination.Destination`; class D: what a lost answer means is the sync's to choose."""

    name: str
    spec: DestinationSpec
    options: WebhookOptions = field(repr=False)

    @property
    def base_url(self) -> str:
        return self.options.url

    @property
    def auth(self) -> Auth | None:
        key = self.options.secret
        values = (key, key.removeprefix("whsec_"), *self.options.headers.values())
        return StaticAuth(Credential(headers=self.options.headers), tuple(dict.fromkeys(values)))

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        yield from ()
        return ObjectSpec(object_name, open=True, verbs=VERBS)

    def check(self) -> Talk[None]:
        """There is no way to ask a receiver without sending it an event."""
        yield from ()

    def template(self, object_name: str, verb: Verb) -> Node | None:
        return _TEMPLATES[verb]

    def facts(self, object_name: str, verb: Verb) -> RequestFacts:
        """The address is not shown beyond its host and port: the path of a webhook is often a secret."""
        url = urlsplit(self.options.url)
        host = server(url.hostname or "", url.port) if url.port else url.hostname
        return RequestFacts("POST", f"{url.scheme}://{host}/…", tuple(placeholders(_TEMPLATES[verb])))

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.spec.limits

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        """One request. Only a 2xx is a receipt; its body is not read."""
        body = batch.joined(b"") if self.options.batch == 1 else batch.json_array()
        message_id = idempotency_key(batch)
        headers = {"Content-Type": "application/json", "webhook-id": message_id, "Idempotency-Key": message_id}
        sign = signer(self.options.secret, message_id, body)
        answer = yield Request("POST", self.options.url, headers=headers, body=body, sign=sign)
        return Reader(Reading(), batch.verb, addressed=False, any_body=True).read(batch, answer)

    def look_up(self, batch: Batch) -> Talk[Found]:
        yield from ()
        raise DestinationError(f"{self.name}: a webhook cannot be asked", code="destination.no_look_up")


def open_webhook(name: str, options: WebhookOptions, surroundings: Surroundings) -> WebhookDestination:
    limits = options.limits.model_copy(update={"records_per_request": options.batch})
    spec = DestinationSpec(
        "webhook",
        "Webhook",
        "docs/reference/webhooks.md",
        limits=limits,
        classes=dict.fromkeys(VERBS, "D"),
        max_server_seconds=options.max_server_seconds,
        timeout_seconds=options.timeout_seconds,
    )
    return WebhookDestination(name, spec, options)


TYPE = DestinationType("webhook", "Webhook", "docs/reference/webhooks.md", WebhookOptions, open_webhook)
