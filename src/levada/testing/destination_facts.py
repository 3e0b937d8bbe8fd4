"""What a connector says of itself and of its tool, before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, get_args

from levada.change import Verb
from levada.destination import Destination, DestinationSpec, ObjectSpec, Request, Response
from levada.errors import ConfigError, DestinationError, LevadaError
from levada.limits import Limits
from levada.template import field_steps
from levada.testing.destination_bench import (
    ConnectorBench,
    Need,
    always,
    ends,
    expect,
    has_look_up,
    held,
    is_declared,
    needs,
    several,
    shown,
)
from levada.wording import plural

TYPE_NAME = re.compile(r"^(python:)?[A-Za-z_][A-Za-z0-9_]*$")
GATEWAYS = frozenset({502, 504})
"""Sent by what stands before the tool, which does not know what the tool did."""
UNTRUE = (
    Response(400, {}, b'{"message": "no"}'),
    Response(404, {}, b""),
    Response(200, {}, b"<html>Sign in</html>"),
    Response(200, {}, b""),
    Response(200, {}, b'{"records": ['),
    Response(200, {}, b'"yes"'),
)
"""Answers that tell of nothing what was asked."""


def _described(bench: ConnectorBench) -> ObjectSpec:
    found: ObjectSpec = held(bench.destination.describe(bench.object), bench.describes)[0]
    return found


def _asks(talk_of: Callable[[ConnectorBench], Any], answers: Callable[[ConnectorBench], Any], why: str) -> Need:
    def need(bench: ConnectorBench) -> str:
        return "" if held(talk_of(bench), answers(bench))[1] else why

    return need


describes_by_asking = _asks(
    lambda bench: bench.destination.describe(bench.object), lambda bench: bench.describes, "its objects are declared"
)
checks_by_asking = _asks(
    lambda bench: bench.destination.check(), lambda bench: bench.checked, "its tool has no way to prove a credential"
)


def check_it_is_a_destination(bench: ConnectorBench) -> None:
    """It has all that the contract names, a title, and a limit to how long a lost request may still be applied."""
    expect(
        isinstance(bench.destination, Destination),
        "a levada.destination.Destination",
        type(bench.destination),
        "give it every property and method of the protocol",
    )
    spec = bench.destination.spec
    expect(
        isinstance(spec, DestinationSpec) and isinstance(spec.limits, Limits),
        "a DestinationSpec with Limits",
        spec,
        "make spec a levada.destination.DestinationSpec",
    )
    expect(spec.title.strip(), "a title", spec.title, "set title to the tool's name, as people write it")
    expect(
        spec.max_server_seconds > 0 and spec.timeout_seconds > 0,
        "times above 0",
        (spec.max_server_seconds, spec.timeout_seconds),
        "set max_server_seconds and timeout_seconds",
    )


def check_it_names_the_page_that_it_was_made_from(bench: ConnectorBench) -> None:
    """Whoever maintains it finds the vendor's page, or the page that describes it."""
    docs = bench.destination.spec.docs
    expect(
        docs.startswith(("https://", "http://")) or docs.endswith(".md"),
        "a link to the vendor's page",
        docs,
        "set docs: to the page that says how these requests are made",
    )


def check_its_names_follow_the_rule(bench: ConnectorBench) -> None:
    """A type is letters, digits and underscores; objects are told in one word; fields are paths; verbs are ours."""
    spec = bench.destination.spec
    expect(TYPE_NAME.match(spec.type), "a type such as acme_erp", spec.type, "name it with letters, digits and _")
    expect(
        bench.object and bench.object == bench.object.strip() and bench.object.isprintable(),
        "an object's name",
        bench.object,
        "leave out spaces around it and what cannot be printed",
    )
    found = _described(bench)
    strange = set(found.verbs) - set(get_args(Verb))
    expect(not strange, f"verbs among {', '.join(get_args(Verb))}", strange, "use the words of levada.change.Verb")
    for each in found.fields:
        try:
            field_steps(each.name)
        except ConfigError as error:
            expect(False, "fields such as city, address.city or phones[0].number", each.name, str(error.hint))


def check_it_describes_its_object(bench: ConnectorBench) -> None:
    """The object has the verb, and every record's fields are among those that it takes."""
    found = _described(bench)
    expect(isinstance(found, ObjectSpec), "an ObjectSpec", found, "return one from describe")
    expect(bench.verb in found.verbs, f"the verb {bench.verb}", found.verbs, "name every verb that deliver knows")
    if not found.open:
        missing = {name for record in bench.records for name in record} - {each.name for each in found.fields}
        expect(
            not missing,
            "all fields of the records",
            f"{sorted(missing)} are missing",
            "list them, or describe the object as open",
        )


@needs(describes_by_asking)
def check_describing_changes_nothing(bench: ConnectorBench) -> None:
    """What describe sends only asks, so that it may be repeated at will."""
    _, requests = held(bench.destination.describe(bench.object), bench.describes)
    _only_asks(requests, "describe")


@needs(describes_by_asking)
def check_a_failed_discovery_is_no_description(bench: ConnectorBench) -> None:
    """An answer that does not tell of fields is an error, never an object that takes anything."""
    for answer in UNTRUE:
        try:
            found, _ = held(bench.destination.describe(bench.object), always(answer))
        except LevadaError:
            continue
        expect(
            False,
            f"a DestinationError for {answer.status} {answer.body[:30]!r}",
            found,
            "raise DestinationError unless the answer holds the list of fields",
        )


def check_every_verb_has_a_class(bench: ConnectorBench) -> None:
    """What may be done after an answer was lost is said for every verb of the object."""
    spec = bench.destination.spec
    missing = set(_described(bench).verbs) - set(spec.object_classes.get(bench.object, spec.classes))
    expect(
        not missing,
        "a class for each verb",
        f"none for {sorted(missing)}",
        "say in spec.classes (or spec.object_classes) what may be done after a lost answer: A, B, C or D",
    )


def check_every_verb_can_be_sent(bench: ConnectorBench) -> None:
    """Each verb that the object has makes a request of a record, and has limits."""
    for verb in _described(bench).verbs:
        destination = bench.destination
        expect(destination.limits(bench.object, verb).records_per_request >= 1, f"limits of {verb}", "none", "set them")
        _, requests = bench.deliver(bench.batch(1, verb=verb), always(Response(400)))
        expect(requests, f"a request for the verb {verb}", "none", f"deliver {verb}, or leave it out of the verbs")


def check_a_verb_keeps_the_rates_of_its_account(bench: ConnectorBench) -> None:
    """A verb may have batches of its own size; how fast requests follow each other is the account's."""
    own, account = bench.destination.limits(bench.object, bench.verb), bench.destination.spec.limits
    expect(
        own.seconds_per_request == account.seconds_per_request,
        f"{account.seconds_per_request} s a request",
        own.seconds_per_request,
        "give limits() the account's requests_per_second and the like",
    )


def check_statuses_that_never_applied_are_the_tools_own(bench: ConnectorBench) -> None:
    """`not_applied_statuses` are of 5xx, and none that a gateway sends: it does not know what the tool did."""
    wrong = {each for each in bench.destination.spec.not_applied_statuses if not 500 <= each < 600} | (
        GATEWAYS & bench.destination.spec.not_applied_statuses
    )
    expect(
        not wrong,
        "statuses of 5xx but 502 and 504",
        sorted(wrong),
        "leave them out: a request that met them may have been applied",
    )


def _mistyped(bench: ConnectorBench) -> LevadaError | None:
    name = f"{bench.object}z"
    try:
        found, _ = held(bench.destination.describe(name), bench.describes)
    except (ConfigError, DestinationError) as error:
        return error
    expect(found.open, f"an error for the object {name}", "it was described", "raise ConfigError for unknown objects")
    return None


def _open_to_any(bench: ConnectorBench) -> str:
    name = f"{bench.object}z"
    try:
        found, _ = held(bench.destination.describe(name), bench.describes)
    except LevadaError:
        return ""
    return "any name is an object of its" if found.open else ""


@needs(_open_to_any)
def check_an_unknown_object_is_a_configuration_error(bench: ConnectorBench) -> None:
    """An object that there is not is named when the project is checked."""
    error = _mistyped(bench)
    expect(
        error is not None and f"{bench.object}z" in str(error),
        f"an error that names {bench.object}z",
        str(error),
        "say in the message which object there is not",
    )


@needs(_open_to_any)
def check_a_mistyped_object_is_helped(bench: ConnectorBench) -> None:
    """The error for an unknown object says what to do: the nearest name, or those there are."""
    error = _mistyped(bench)
    if isinstance(error, ConfigError):
        expect(
            error.hint and bench.object in error.hint,
            f"a hint with {bench.object}",
            error.hint,
            "give ConfigError the nearest name as hint (levada.nearest.nearest_hint)",
        )


@needs(checks_by_asking)
def check_checking_sends_no_write(bench: ConnectorBench) -> None:
    """What check sends only asks: `levada check` changes nothing in the tool."""
    _, requests = held(bench.destination.check(), bench.checked)
    _only_asks(requests, "check")


@needs(checks_by_asking)
def check_a_failed_check_is_an_error(bench: ConnectorBench) -> None:
    """A check that is answered with 4xx does not pass."""
    for status in (400, 404, 422):
        try:
            held(bench.destination.check(), always(Response(status)))
        except LevadaError:
            continue
        expect(False, f"a DestinationError for {status}", "the check passed", "raise one unless the answer is ok")


@needs(has_look_up)
def check_looking_up_changes_nothing(bench: ConnectorBench) -> None:
    """What look_up sends only asks."""
    batch = bench.batch()
    _, requests = held(bench.destination.look_up(batch), bench.finding(batch))
    _only_asks(requests, "look_up")


@needs(has_look_up)
def check_a_look_up_finds_what_is_there(bench: ConnectorBench) -> None:
    """Every record that the tool has is found, with the tool's id."""
    batch = bench.batch()
    found, _ = held(bench.destination.look_up(batch), bench.finding(batch))
    lacking = [index for index in range(len(batch)) if not found.identifiers.get(index)]
    expect(
        not lacking,
        f"{plural(len(batch), 'record')} found",
        f"not found: {lacking}",
        "return Found({index: id}) for each record of the answer",
    )


@needs(has_look_up)
def check_a_failed_look_up_is_never_absent(bench: ConnectorBench) -> None:
    """An answer that does not tell is an error: taken for "there is none", it would make a second record."""
    for answer in UNTRUE:
        if answer.status == 404:
            continue
        try:
            found, _ = held(bench.destination.look_up(bench.batch()), always(answer))
        except LevadaError:
            continue
        expect(
            False,
            f"a DestinationError for {answer.status} {answer.body[:30]!r}",
            found,
            "raise DestinationError unless the answer holds the list that was asked for",
        )


@needs(has_look_up, several)
def check_a_look_up_misplaces_nothing(bench: ConnectorBench) -> None:
    """Records are found by what they are, whatever the order of the answer; a foreign one is nobody's."""
    whole, part = bench.batch(), bench.batch(bench.size - 1, 1)
    alone = [bench.batch(1, place) for place in range(1, bench.size)]
    right = {
        n: held(bench.destination.look_up(one), bench.finding(one))[0].identifiers[0] for n, one in enumerate(alone)
    }
    for told in (part, whole):
        found, _ = held(bench.destination.look_up(part), bench.finding(told))
        expect(
            dict(found.identifiers) == right,
            f"{right}, as one by one",
            dict(found.identifiers),
            "compare the value in each entry with the record's, not its place",
        )


def check_an_absent_record_needs_no_deletion(bench: ConnectorBench) -> None:
    """A removal of what is not there (404) has an end: delivered, or refused with words; never in doubt for ever."""
    for verb in ("delete", "archive", "remove"):
        if verb not in _described(bench).verbs:
            continue
        outcomes, _ = bench.deliver(
            bench.batch(1, verb=verb), lambda request: Response(404, {}, b'{"message": "none"}')
        )
        (end,) = ends(outcomes, 1)
        expect(
            end in ("delivered", "suppressed") or (end == "rejected" and outcomes.of(0).reason),
            f"{verb} of an absent record delivered, or rejected with a reason",
            shown(outcomes, 1),
            "read 404 for what it is: end with batch.delivered()",
        )


@needs(is_declared)
def check_its_cases_hold(bench: ConnectorBench) -> None:
    """Every case of its file passes, as in `levada test`."""
    failed = [f"{each.case}: {each.failure}" for each in bench.cases if not each.passed]
    wanted = plural(len(bench.cases), "case that passes", "cases that pass")
    expect(not failed, wanted, "; ".join(failed), "mend the request, or the case")


@needs(is_declared)
def check_each_verb_has_its_cases(bench: ConnectorBench) -> None:
    """The verb is shown at work: a case in which a record is taken, and one in which it is not."""
    assert bench.connector is not None
    own = [case for case in bench.connector.cases if getattr(case, bench.verb) == bench.object]
    found = {outcome.partition(":")[0] for case in own for outcome in case.outcomes}
    expect(
        "delivered" in found,
        f"a case of {bench.verb} with the outcome delivered",
        sorted(found) or "no case",
        "add one under cases:, with the answer that the vendor's page shows",
    )
    expect(
        found - {"delivered"},
        f"a case of {bench.verb} with another outcome than delivered",
        sorted(found),
        "add one under cases:, with a refusal that the vendor's page shows",
    )


def _only_asks(requests: list[Request], what: str) -> None:
    writes = [
        f"{each.method} {each.url}" for each in requests if not each.safe or each.method in ("PUT", "PATCH", "DELETE")
    ]
    expect(not writes, f"{what} sends requests that are safe", writes, "ask with GET, and mark the request safe=True")
