"""Connectors that are wrong in one way each, with the check that must say so.

Each differs from `apples.good.Crm` by what an author might well write. `APPLES` holds them all; those of what is
declared and sent are here, those of answers and of delivery in `apples.answers`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import quote

from apples.good import SECRET, Crm, bench_of
from levada.batch import Batch
from levada.change import Verb
from levada.destination import FieldSpec, Found, ObjectSpec, Request, Response, Talk
from levada.errors import ConfigError, DestinationError
from levada.limits import Limits
from levada.outcome import Outcomes
from levada.testing.destinations import ConnectorBench


@dataclass(frozen=True)
class Apple:
    """A wrong connector: the check that must fail, and how its bench differs."""

    check: str
    connector: Callable[[], Any]
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bench(self) -> ConnectorBench:
        return bench_of(self.connector(), **self.changes)

    def __str__(self) -> str:
        return getattr(self.connector, "__name__", "connector")


APPLES: list[Apple] = []
T = TypeVar("T")


def caught_by(check: str, **changes: Any) -> Callable[[type[T]], type[T]]:
    """This connector must be caught by this check."""

    def noted(connector: type[T]) -> type[T]:
        APPLES.append(Apple(check, connector, changes))
        return connector

    return noted


# What it says of itself.


@caught_by("check_it_is_a_destination")
class WithoutATitle(Crm):
    title = ""


@caught_by("check_it_is_a_destination")
class WithoutALookUp:
    name, base_url, spec, auth = "crm", "", Crm().spec, None


@caught_by("check_it_names_the_page_that_it_was_made_from")
class WithoutAPage(Crm):
    docs = ""


@caught_by("check_its_names_follow_the_rule")
class WithASpaceInItsType(Crm):
    type = "my crm!"


@caught_by("check_its_names_follow_the_rule")
class WithAVerbOfItsOwn(Crm):
    verbs = ("create", "update", "delete", "merge")  # type: ignore[assignment]


@caught_by("check_it_describes_its_object")
class DescribesNothing(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        spec = yield from super().describe(object_name)
        return replace(spec, fields=(FieldSpec("number"),))


@caught_by("check_describing_changes_nothing")
class DescribesByWriting(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        yield Request("POST", "/customers/test", body=b"{}")
        return (yield from super().describe(object_name))


@caught_by("check_a_failed_discovery_is_no_description")
class TakesAnythingWhenUnsure(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        try:
            return (yield from super().describe(object_name))
        except DestinationError:
            return ObjectSpec(object_name, open=True, verbs=self.verbs)


@caught_by("check_every_verb_has_a_class")
class WithoutAClass(Crm):
    classes = {"create": "C"}  # noqa: RUF012


@caught_by("check_every_verb_can_be_sent")
class PromisesAVerb(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        if batch.verb == "update":
            return batch.unknown("not yet")
        return (yield from super().deliver(batch))


@caught_by("check_a_verb_keeps_the_rates_of_its_account")
class WithARateOfItsOwn(Crm):
    def limits(self, object_name: str, verb: Verb) -> Limits:
        return Limits(records_per_request=50)


@caught_by("check_statuses_that_never_applied_are_the_tools_own")
class TrustsItsGateway(Crm):
    more = {"not_applied_statuses": frozenset({503, 504})}  # noqa: RUF012


@caught_by("check_an_unknown_object_is_a_configuration_error")
class KnowsEveryObject(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        return (yield from super().describe("customers"))


@caught_by("check_an_unknown_object_is_a_configuration_error")
class DoesNotNameTheObject(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        if object_name != "customers":
            raise ConfigError("no such object", hint="there are customers")
        return (yield from super().describe(object_name))


@caught_by("check_a_mistyped_object_is_helped")
class LeavesThemAlone(Crm):
    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        if object_name != "customers":
            raise ConfigError(f"crm has no object {object_name}")
        return (yield from super().describe(object_name))


@caught_by("check_checking_sends_no_write")
class ChecksByWriting(Crm):
    def check(self) -> Talk[None]:
        yield Request("POST", "/customers", body=b'{"number": "test"}')


@caught_by("check_a_failed_check_is_an_error")
class ChecksAndForgets(Crm):
    def check(self) -> Talk[None]:
        yield Request("GET", "/me", safe=True)


@caught_by("check_looking_up_changes_nothing")
class LooksUpAsAWrite(Crm):
    def look_up(self, batch: Batch) -> Talk[Found]:
        answer = yield Request("POST", "/customers/search", body=b"{}")
        return self.found(batch, answer)


@caught_by("check_a_look_up_finds_what_is_there")
class FindsOnlyTheFirst(Crm):
    def found(self, batch: Batch, answer: Response) -> Found:
        return Found({0: super().found(batch, answer).identifiers[0]})


@caught_by("check_a_failed_look_up_is_never_absent")
class FindsNobodyWhenUnsure(Crm):
    def found(self, batch: Batch, answer: Response) -> Found:
        try:
            return super().found(batch, answer)
        except DestinationError:
            return Found()


@caught_by("check_a_look_up_misplaces_nothing")
class FindsByPlace(Crm):
    def found(self, batch: Batch, answer: Response) -> Found:
        super().found(batch, answer)
        return Found({n: str(each["id"]) for n, each in enumerate(answer.json()["found"][: len(batch)])})


@caught_by("check_an_absent_record_needs_no_deletion")
class DeletesForEver(Crm):
    def read_refusal(self, batch: Batch, answer: Response) -> Outcomes:
        return batch.unknown("gone?") if answer.status == 404 else super().read_refusal(batch, answer)


# What it sends.


@caught_by("check_a_request_has_an_address")
class WithASpaceInItsAddress(Crm):
    def path(self, batch: Batch) -> str:
        return "/customers/all at once"


@caught_by("check_a_request_has_an_address")
class WithALineBreakInAHeader(Crm):
    def request(self, batch: Batch) -> Request:
        made = super().request(batch)
        return replace(made, headers={**made.headers, "X-Names": "\n".join(batch.match * 2)})


@caught_by("check_requests_go_to_one_host")
class TellsAnother(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        yield Request("POST", "https://statistics.example/seen", body=b"1")
        return (yield from super().deliver(batch))


@caught_by("check_no_address_holds_a_secret")
class WithASecretInItsAddress(Crm):
    def path(self, batch: Batch) -> str:
        return f"/customers/batch?api_key={SECRET}"


@caught_by("check_no_request_holds_a_secret")
class SignsByItself(Crm):
    def request(self, batch: Batch) -> Request:
        made = super().request(batch)
        return replace(made, headers={**made.headers, "X-Api-Key": SECRET})


@caught_by("check_it_can_be_shown")
class ShowsItself(Crm):
    def __repr__(self) -> str:
        return f"ShowsItself(secret={SECRET})"


@caught_by("check_the_same_batch_makes_the_same_requests")
class CountsItsAttempts(Crm):
    def key(self, batch: Batch) -> str:
        return f"{batch.idempotency_key}-{batch.attempt}"


@caught_by("check_the_same_batch_makes_the_same_requests")
class CountsItsRequests(Crm):
    count = itertools.count()

    def key(self, batch: Batch) -> str:
        return f"{batch.idempotency_key}-{next(self.count)}"


@caught_by("check_different_records_have_different_keys")
class WithOneKeyForAll(Crm):
    def key(self, batch: Batch) -> str:
        return "levada"


@caught_by("check_class_b_sends_its_key")
class WithoutItsKey(Crm):
    classes = {"create": "B", "update": "A", "delete": "A"}  # noqa: RUF012

    def request(self, batch: Batch) -> Request:
        return replace(super().request(batch), headers={})


@caught_by("check_class_c_can_look")
class CannotLook(Crm):
    def look_up(self, batch: Batch) -> Talk[Found]:
        yield from ()
        return Found()


@caught_by("check_writes_are_not_safe")
@caught_by("check_a_lost_answer_is_not_sent_again")
@caught_by("check_a_server_error_is_unknown")
class WritesAtWill(Crm):
    def request(self, batch: Batch) -> Request:
        return replace(super().request(batch), safe=True)


@caught_by("check_every_record_is_sent")
class LeavesTheLastOut(Crm):
    def body(self, batch: Batch) -> bytes:
        return batch.slice(0, max(1, len(batch) - 1)).json_array()


@caught_by("check_no_record_is_sent_twice")
class SendsTwiceToBeSure(Crm):
    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        yield self.request(batch)
        return (yield from super().deliver(batch))


@caught_by("check_a_full_batch_is_sent_whole")
class TakesTwentyAtMost(Crm):
    def body(self, batch: Batch) -> bytes:
        return batch.slice(0, min(20, len(batch))).json_array()


@caught_by("check_a_body_is_no_longer_than_was_measured")
class WrapsEachRecord(Crm):
    def body(self, batch: Batch) -> bytes:
        rows = [{**json.loads(text), "trace": "x" * 500} for text in (batch.rendered or [])]
        return json.dumps(rows).encode()


@caught_by("check_a_value_cannot_change_the_address")
class BelievesItsValues(Crm):
    def path(self, batch: Batch) -> str:
        return f"/customers/{quote(str(batch.records[0]['number']), safe='/?&=.#')}"


class OfRows(Crm):
    """Makes its bodies of values, as a connector without a template does."""

    def template(self, object_name: str, verb: Verb) -> Any:
        return None

    def body(self, batch: Batch) -> bytes:
        rows = [{name: self.value(each) for name, each in row.items()} for row in batch.records]
        return json.dumps([self.row(row) for row in rows], default=str).encode()

    def value(self, value: Any) -> Any:
        return value

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        return row


@caught_by("check_numbers_arrive_exactly")
class CountsInFloats(OfRows):
    def value(self, value: Any) -> Any:
        is_number = not isinstance(value, str | bool) and hasattr(value, "__float__")
        return float(value) if is_number else value


@caught_by("check_text_arrives_exactly")
class TidiesText(OfRows):
    def value(self, value: Any) -> Any:
        return " ".join(value.split()) if isinstance(value, str) else value


@caught_by("check_dates_and_instants_arrive_exactly")
class DropsTheZone(OfRows):
    def value(self, value: Any) -> Any:
        return value.strftime("%Y-%m-%dT%H:%M:%S") if hasattr(value, "hour") else value


@caught_by("check_null_is_not_empty_text")
class TakesNullForEmpty(OfRows):
    def value(self, value: Any) -> Any:
        return "" if value is None else value


@caught_by("check_null_clears_a_field")
class LeavesNullsOut(OfRows):
    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if value is not None}
