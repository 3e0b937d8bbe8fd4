"""What a connector sends: addresses, bodies, keys, and nothing besides what it is asked to send."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from levada.batch import Batch
from levada.destination import ObjectSpec, Request
from levada.errors import LevadaError
from levada.mapping import FieldType
from levada.testing.destination_bench import (
    FULL_MAX,
    ConnectorBench,
    ends,
    expect,
    held,
    matches_by_text,
    needs,
    sent_text,
    shown,
    signs_in,
)
from levada.wording import plural

KEY_HEADER = re.compile(r"idempoten|webhook-id|request-id|dedup", re.IGNORECASE)
ENVELOPE_BYTES = 1_000
"""So much may stand around the records of a request without being declared."""
EXTRA_FIELD = "levada_value"
CONTROL = "levada_control"
"""A value by which it is seen whether a verb sends a field at all."""
NUMBERS: Sequence[tuple[FieldType, Any]] = (
    ("integer", 2**53 + 1),
    ("integer", -(2**63)),
    ("decimal", Decimal("12345678901234567890.123456789")),
    ("decimal", Decimal("-0.10")),
    ("number", 0.1),
    ("boolean", True),
)
TEXTS = (
    "Zoë \u2014 \U0001f9ff \u05d0",
    ' "quoted" \\ back',
    "two\nlines\tand a tab",
    " spaces around ",
    "{fields} %s $1",
    "00123",
    "null",
)
MOMENTS: Sequence[tuple[FieldType, Any]] = (
    ("date", date(2024, 2, 29)),
    ("timestamp_tz", datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)),
    ("timestamp", datetime(2026, 3, 29, 2, 30)),  # noqa: DTZ001 - a local time has no zone
)


def _sent(bench: ConnectorBench, batch: Batch) -> list[Request]:
    return bench.taken(batch)[1]


def writes(requests: Sequence[Request]) -> list[Request]:
    """The requests that may change something."""
    return [request for request in requests if not request.safe]


def check_a_request_has_an_address(bench: ConnectorBench) -> None:
    """A URL is a path below the base URL, or whole; there are no spaces and no line breaks in it."""
    requests = _sent(bench, bench.batch())
    expect(
        requests, "at least one request", "none", "yield a Request for every batch: what sends nothing delivers nothing"
    )
    for request in requests:
        good = request.url.startswith(("/", "http://", "https://")) and not re.search(r"\s", request.url)
        expect(
            good,
            "a path from / on, or a whole URL, without spaces",
            request.url,
            "encode values: urllib.parse.quote(value, safe='')",
        )
        lines = [name for name, value in request.headers.items() if "\n" in value or "\r" in value]
        expect(not lines, "headers of one line", lines, "encode values that stand in headers")


def check_requests_go_to_one_host(bench: ConnectorBench) -> None:
    """The credential goes with every request: all of a delivery go to the destination's own host."""
    home = urlsplit(bench.destination.base_url).netloc
    hosts = {urlsplit(request.url).netloc or home for request in _sent(bench, bench.batch()) if not request.anonymous}
    allowed = {home} if home else set(sorted(hosts)[:1])
    expect(
        hosts <= allowed,
        f"requests to {', '.join(allowed)} alone",
        sorted(hosts),
        "send to paths below base_url; what must go elsewhere is another destination, or anonymous",
    )


def check_no_address_holds_a_secret(bench: ConnectorBench) -> None:
    """URLs are logged by every machine on the way: no credential stands in one, of token requests neither."""
    requests = _sent(bench, bench.batch())
    auth = bench.destination.auth
    if auth is not None:
        requests = [*requests, *held(auth.sign_in({}), bench.signs_in)[1]]
    addresses = [unquote(f"{each.url} {dict(each.query)}") for each in requests]
    found = [each for each in addresses if any(secret in each for secret in bench.secret_values)]
    found += [each for each in addresses if "@" in urlsplit(each.split(" ")[0]).netloc]
    expect(
        not found, "addresses without secrets", found, "send secrets in a header: auth: {bearer: …} or {header: {…}}"
    )


def check_no_request_holds_a_secret(bench: ConnectorBench) -> None:
    """Credentials are delivery's to add: what a connector makes may be shown to a person."""
    text = repr(_sent(bench, bench.batch()))
    found = [secret[:3] + "…" for secret in bench.secret_values if secret in text]
    expect(
        not found,
        "requests without secrets",
        f"a secret that begins with {found}",
        "declare it as auth, or as a secret option, and leave signing to delivery",
    )


@needs(signs_in)
def check_it_can_be_shown(bench: ConnectorBench) -> None:
    """The destination and its auth, printed, show no secret: they end up in logs and error reports."""
    auth = bench.destination.auth
    text = repr(bench.destination) + repr(auth) + str(bench.destination)
    found = [secret[:3] + "…" for secret in bench.secret_values if secret in text]
    expect(not found, "a repr without secrets", f"a secret that begins with {found}", "dataclasses: field(repr=False)")


def check_the_same_batch_makes_the_same_requests(bench: ConnectorBench) -> None:
    """A repeat is the same to the byte, its idempotency key included: attempt and time do not show."""
    first = _sent(bench, bench.batch())
    second = _sent(bench, replace(bench.batch(), attempt=2))
    expect(
        first == second,
        f"the same again: {first}",
        second,
        "make requests of the batch alone: no time, no random number, no counter, no attempt",
    )


def check_different_records_have_different_keys(bench: ConnectorBench) -> None:
    """An idempotency key is of these records and no others: two batches, or the halves of one, never share it."""
    size = bench.size
    whole, half = bench.batch(), (size + 1) // 2
    pairs = [
        (bench.batch(1), bench.batch(1, 1)),
        (whole, bench.batch(records=bench.records[:size][::-1], start=size)),
        (whole.slice(0, half), whole.slice(half, size - half)),
    ]
    for one, other in pairs:
        if len(one) and len(other):
            shared = _keys(_sent(bench, one)) & _keys(_sent(bench, other))
            expect(not shared, "a key for each batch", sorted(shared), "take batch.idempotency_key")


@needs(lambda bench: "" if bench.delivery_class() == "B" else "it is not of class B")
def check_class_b_sends_its_key(bench: ConnectorBench) -> None:
    """A verb of class B may be repeated because a key goes with it."""
    keys = _keys(_sent(bench, bench.batch(1)))
    expect(
        keys, "a header such as Idempotency-Key", "none", "send batch.idempotency_key in the header that the tool knows"
    )


@needs(lambda bench: "" if bench.delivery_class() == "C" else "it is not of class C")
def check_class_c_can_look(bench: ConnectorBench) -> None:
    """A verb of class C may be repeated after a look: there is a look-up that asks."""
    talk = bench.destination.look_up(bench.batch(1))
    try:
        asked = next(talk, None)
    except LevadaError as error:
        asked = None
        expect(False, "a look-up", str(error), "yield the request that finds the records, or declare another class")
    finally:
        talk.close()
    expect(asked is not None, "a look-up that asks the tool", "no request", "yield the request that finds the records")


def check_writes_are_not_safe(bench: ConnectorBench) -> None:
    """A request that writes is never marked as one that may be repeated at will."""
    requests = _sent(bench, bench.batch())
    expect(writes(requests), "a request that is not safe", requests, "leave safe=True to requests that change nothing")
    wrong = [request.method for request in requests if request.safe and request.method in ("PUT", "PATCH", "DELETE")]
    expect(not wrong, "safe requests that only ask", wrong, "leave safe=True to requests that change nothing")


def check_every_record_is_sent(bench: ConnectorBench) -> None:
    """Each record's match value is in the requests."""
    text = _plain(_sent(bench, bench.batch()))
    missing = [
        value for record in bench.records[: bench.size] if _plain_value(value := record[bench.match[0]]) not in text
    ]
    expect(
        not missing,
        "every record's match value in the requests",
        f"not sent: {missing}",
        "send all records of the batch",
    )


def check_no_record_is_sent_twice(bench: ConnectorBench) -> None:
    """A record is written by one request of a delivery, once."""
    requests = writes(_sent(bench, bench.batch()))
    for record in bench.records[: bench.size]:
        value = record[bench.match[0]]
        times = sum(_plain_value(value) in _plain([request]) for request in requests)
        expect(
            times <= 1,
            f"one request that writes {value}",
            f"{times} requests",
            "send a record once: repeats are delivery's",
        )


@needs(matches_by_text)
def check_a_full_batch_is_sent_whole(bench: ConnectorBench) -> None:
    """A batch of just as many records as the limit allows (up to 500 are tried) is sent to its last record."""
    batch = bench.batch(records=bench.full(min(bench.limit, FULL_MAX)))
    outcomes, requests, _ = bench.taken(batch)
    text = _plain(requests)
    missing = [row[bench.match[0]] for row in batch.records if _plain_value(row[bench.match[0]]) not in text]
    expect(
        not missing,
        f"{plural(len(batch), 'record')} sent",
        f"not sent: {missing[:5]}",
        "send the whole batch, or lower records_per_request",
    )
    lacking = [index for index, end in enumerate(ends(outcomes, len(batch))) if end != "delivered"]
    expect(
        not lacking,
        f"{plural(len(batch), 'record')} delivered",
        f"not delivered: {lacking[:5]}",
        "read the answer to its end",
    )


@needs(
    lambda bench: "" if bench.template(bench.verb) is not None else "it makes its bodies itself",
    matches_by_text,
)
def check_a_body_is_no_longer_than_was_measured(bench: ConnectorBench) -> None:
    """Delivery cuts batches by the size of the rendered records: what is sent besides is declared, or below 1 kB."""
    batch = bench.batch(records=bench.full(min(bench.limit, FULL_MAX)))
    own, account = bench.destination.limits(bench.object, bench.verb), bench.destination.spec.limits
    around = max(ENVELOPE_BYTES, account.bytes_per_request - own.bytes_per_request)
    measured = len(batch.json_array())
    longest = max(len(request.body or b"") for request in _sent(bench, batch))
    expect(
        longest <= measured + around,
        f"a body of at most {measured + around:,} bytes",
        f"{longest:,} bytes",
        "put what belongs to each record into the template, and take the rest off bytes_per_request",
    )


@needs(matches_by_text)
def check_a_value_cannot_change_the_address(bench: ConnectorBench) -> None:
    """A match value with /, ?, # or .. in it stays a value: the request has the same path, query and host."""
    plain, hostile = ({**bench.records[0], bench.match[0]: value} for value in ("plain", "../x?a=b&c#d;e%2F"))
    for tame, wild in zip(*(_sent(bench, bench.batch(records=[each])) for each in (plain, hostile)), strict=False):
        first, second = (urlsplit(each.url) for each in (tame, wild))
        same = (first.netloc, first.path.count("/"), [k for k, _ in parse_qsl(first.query, True)]) == (
            second.netloc,
            second.path.count("/"),
            [k for k, _ in parse_qsl(second.query, True)],
        )
        expect(
            same and not second.fragment and "/../" not in wild.url,
            f"an address like {tame.url}",
            wild.url,
            "encode it: urllib.parse.quote(value, safe='')",
        )


def check_numbers_arrive_exactly(bench: ConnectorBench) -> None:
    """Integers beyond 2^53, decimals of many digits, floating point and booleans are sent as they are."""
    for type_, value in NUMBERS:
        _arrives(bench, type_, value)


def check_text_arrives_exactly(bench: ConnectorBench) -> None:
    """Letters of any script, quotes, line breaks, spaces at the ends, braces and digits are sent as they are."""
    for value in TEXTS:
        _arrives(bench, "text", value)


def check_dates_and_instants_arrive_exactly(bench: ConnectorBench) -> None:
    """Dates are sent in ISO 8601, instants in UTC with `Z`, local times without an offset, fractions included."""
    for type_, value in MOMENTS:
        _arrives(bench, type_, value)


@needs(lambda bench: "null_is_empty: its encoding has no NULL" if bench.null_is_empty else "")
def check_null_is_not_empty_text(bench: ConnectorBench) -> None:
    """NULL and empty text are two values: what is sent of one is not what is sent of the other."""
    name = _field_for(bench, "text")
    if name is not None:
        empty, null, control = (_with(bench, name, value) for value in ("", None, CONTROL))
        if empty is not None and null is not None and CONTROL in _plain(control or ()):
            expect(_bodies(empty) != _bodies(null), "two requests", _bodies(null), "send None as null, and '' as it is")


@needs(lambda bench: "null_is_empty: its encoding has no NULL" if bench.null_is_empty else "")
def check_null_clears_a_field(bench: ConnectorBench) -> None:
    """A field that is NULL is sent as such, unless the sync says otherwise: left out, it would keep its old value."""
    name = _field_for(bench, "text")
    if name is not None:
        requests = _with(bench, name, None)
        if requests is not None and CONTROL in _plain(_with(bench, name, CONTROL) or ()):
            leaf = _leaf(name)
            expect(leaf in _plain(requests), f"{leaf} in the request", _bodies(requests), "send null for what is None")


# How values are found in requests.


def _leaf(name: str) -> str:
    """The last step of a field's name, as it stands in a body."""
    return name.rpartition(".")[2].partition("[")[0]


def _field_for(bench: ConnectorBench, type_: FieldType) -> str | None:
    """A field that takes such a value: any, where the object is open, else one that is declared for it."""
    found: ObjectSpec = held(bench.destination.describe(bench.object), bench.describes)[0]
    if found.open and not found.fields:
        return EXTRA_FIELD
    for each in found.fields:
        free = each.limits.choices is None and each.limits.decimal_digits is None and each.limits.integer_bits is None
        if each.name not in bench.match and each.writable and free and each.type in (type_, "any"):
            return each.name
    return EXTRA_FIELD if found.open else None


def _with(bench: ConnectorBench, name: str, value: Any) -> list[Request] | None:
    """What is sent of a record with this value; None where it is refused by name before anything is sent."""
    try:
        batch = bench.batch(records=[{**bench.records[0], name: value}])
        outcomes, requests, _ = bench.taken(batch)
    except (LevadaError, ValueError) as error:
        expect(str(error), "a refusal with words", repr(error), "say which value of which field cannot be sent")
        return None
    if not requests:
        expect(
            ends(outcomes, 1) == ["rejected"] and outcomes.of(0).reason,
            "the record rejected by name",
            shown(outcomes, 1),
            "end with batch.rejected(…) that names the field",
        )
        return None
    return requests


def _arrives(bench: ConnectorBench, type_: FieldType, value: Any) -> None:
    name = _field_for(bench, type_)
    if name is None:
        return
    requests = _with(bench, name, value)
    control = _with(bench, name, CONTROL) if type_ == "text" else requests
    if requests is None or control is None or _leaf(name) not in _plain(control):
        return  # this verb does not send this field
    found = any(_same(value, leaf) for leaf in _leaves(requests))
    expect(
        found,
        f"{value!r} in the request, as it is",
        _bodies(requests),
        "send values by the batch's template, or with json=",
    )


def _leaves(requests: Sequence[Request]) -> Iterator[Any]:
    """Every single value in the requests' bodies, queries and addresses."""
    for request in requests:
        yield from request.query.values()
        yield from (value for _, value in parse_qsl(urlsplit(request.url).query, True))
        yield from (unquote(step) for step in urlsplit(request.url).path.split("/"))
        text = (request.body or b"").decode("utf-8", "replace")
        try:
            yield from _tree(json.loads(text, parse_float=Decimal))
            continue
        except ValueError:
            pass
        lines = [line for line in text.split("\n") if line.strip()]
        try:
            for line in lines:
                yield from _tree(json.loads(line, parse_float=Decimal))
            continue
        except ValueError:
            pass
        yield from (value for _, value in parse_qsl(text, True))
        yield from (cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row)


def _tree(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _tree(each)
    elif isinstance(value, list):
        for each in value:
            yield from _tree(each)
    else:
        yield value


def _same(value: Any, leaf: Any) -> bool:
    """Is a value that was sent the one that was meant, to the last digit?"""
    if isinstance(value, bool) or isinstance(leaf, bool):
        return leaf is value or (isinstance(leaf, str) and leaf == str(value).lower())
    if isinstance(value, datetime):
        try:
            read = datetime.fromisoformat(leaf) if isinstance(leaf, str) else None
        except ValueError:
            return False
        return read == value and (read is not None and (read.tzinfo is None) == (value.tzinfo is None))
    if isinstance(value, date):
        return bool(leaf == value.isoformat())
    if isinstance(value, str):
        return bool(leaf == value)
    try:
        return Decimal(repr(value) if isinstance(value, float) else value) == Decimal(str(leaf))
    except ArithmeticError:
        return False


def _keys(requests: Sequence[Request]) -> set[str]:
    """The values of headers by which tools know a repeated request."""
    return {value for request in writes(requests) for name, value in request.headers.items() if KEY_HEADER.search(name)}


def _plain(requests: Sequence[Request]) -> str:
    """What requests say, encoded and not, so that a plain value can be found in it."""
    text = sent_text(requests)
    return f"{text}\n{unquote(text)}"


def _plain_value(value: Any) -> str:
    return str(value)


def _bodies(requests: Sequence[Request]) -> str:
    return "; ".join(f"{each.method} {each.url} {(each.body or b'').decode('utf-8', 'replace')}" for each in requests)
