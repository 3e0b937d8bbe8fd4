"""How a connector reads answers: nothing is delivered that an answer does not vouch for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from levada.batch import Batch
from levada.destination import Request, Response
from levada.errors import DestinationError
from levada.outcome import REASON_CHARACTERS_MAX, Outcomes
from levada.testing.destination_bench import (
    ConnectorBench,
    always,
    counts_taken,
    ends,
    expect,
    held,
    minds_bodies,
    names_by_value,
    names_one,
    needs,
    reads_answers,
    replayed,
    several,
    shown,
    tells_identifiers,
    three,
)

VOUCH = "call a record delivered only where the answer says so of it"
UNREADABLE = (
    b"",
    b"<html>It works!</html>",
    b'{"results": [',
    b"null",
    b"[]",
    b"{}",
    b"\xff\xfe",
    b"NaN",
    b"[" * 100_000,
)
EMPTY = (b"null", b"[]", b"{}")
PAGES = (b"<!DOCTYPE html><title>Sign in</title>", b"\n <HTML><body>Back soon</body></HTML>")
REFUSALS = (400, 402, 405, 406, 411, 412, 413, 414, 415, 416, 417, 418, 422, 424, 428, 431, 451)
"""Statuses of a refusal that delivery leaves to the connector, but for those that speak of what is there."""
ELSEWHERE = "https://elsewhere.example"


def _delivers_all(outcomes: Outcomes, size: int) -> None:
    expect(
        ends(outcomes, size) == ["delivered"] * size,
        f"{size} delivered",
        shown(outcomes, size),
        "end with batch.delivered() where the tool says that it took all",
    )


def check_accepted_records_are_delivered(bench: ConnectorBench) -> None:
    """The tool takes everything: every record is delivered."""
    outcomes, _, _ = bench.taken(bench.batch())
    _delivers_all(outcomes, bench.size)
    expect(
        outcomes.attributed,
        "outcomes that are each record's own",
        "attributed=False",
        "keep attributed for refusals of a whole batch",
    )


def check_a_single_record_is_delivered(bench: ConnectorBench) -> None:
    """A batch of one is a batch."""
    _delivers_all(bench.taken(bench.batch(1))[0], 1)


@needs(tells_identifiers)
def check_identifiers_are_kept(bench: ConnectorBench) -> None:
    """The tool's own id of each record is told, at that record's place: later updates and deletions need it."""
    assert bench.identifier is not None
    for size in {1, bench.size}:
        batch = bench.batch(size)
        outcomes, _, _ = bench.taken(batch)
        wanted = {index: bench.identifier(record) for index, record in enumerate(batch.records)}
        expect(
            dict(outcomes.identifiers) == wanted,
            f"identifiers {wanted}",
            dict(outcomes.identifiers),
            "give batch.delivered or batch.outcomes the identifiers, by index and as text",
        )


def check_a_refused_request_delivers_nothing(bench: ConnectorBench) -> None:
    """A 4xx that names no record refuses the batch, so that delivery finds the culprit; it says why."""
    outcomes, _ = bench.deliver(bench.batch(), bench.refused)
    expect(
        set(ends(outcomes, bench.size)) == {"rejected"},
        "every record rejected",
        shown(outcomes, bench.size),
        "end with batch.refused(words) on a 4xx",
    )
    expect(outcomes.of(0).reason, "the tool's words as the reason", "no reason", "pass the answer's words on")
    expect(
        outcomes.attributed == (bench.size == 1),
        "the batch refused as a whole",
        "each record rejected for good",
        "end with batch.refused(words), not batch.rejected: one poison record would take the others with it",
    )


def check_a_refused_record_alone_is_rejected(bench: ConnectorBench) -> None:
    """A single record's refusal is its own."""
    outcomes, _ = bench.deliver(bench.batch(1), bench.refused)
    expect(
        ends(outcomes, 1) == ["rejected"] and outcomes.attributed,
        "the record rejected",
        shown(outcomes, 1),
        "end with batch.refused(words) on a 4xx, whatever the size of the batch",
    )


def check_too_large_is_halved(bench: ConnectorBench) -> None:
    """413 says nothing of a record: the batch is refused as a whole."""
    outcomes, _ = bench.deliver(bench.batch(), always(Response(413)))
    expect(
        set(ends(outcomes, bench.size)) == {"rejected"} and outcomes.attributed == (bench.size == 1),
        "the batch refused as a whole",
        shown(outcomes, bench.size),
        "end with batch.refused(…) on 413",
    )


def check_a_poison_record_is_found_by_halving(bench: ConnectorBench) -> None:
    """A tool that refuses every request with one certain record in it: that record is rejected, and no other."""
    poison = bench.size - 1
    value = str(bench.records[poison][bench.match[0]])

    def answers(batch: Batch) -> Callable[[Request], Response]:
        taking = bench.accepting(batch)
        found = bench.batch(1, poison).records[0]
        refuses = any(row[bench.match[0]] == found[bench.match[0]] for row in batch.records)
        return lambda request: bench.refused(request) if refuses and not request.safe else taking(request)

    def halved(batch: Batch) -> Outcomes:
        outcomes, _ = bench.deliver(batch, answers(batch))
        if outcomes.attributed or len(batch) == 1:
            return outcomes
        half = (len(batch) + 1) // 2
        parts = [batch.slice(0, half), batch.slice(half, len(batch) - half)]
        return Outcomes.joined([(len(part), halved(part)) for part in parts])

    found = halved(bench.batch())
    wanted = ["delivered"] * poison + ["rejected"]
    expect(
        ends(found, bench.size) == wanted,
        f"record {poison} ({value}) rejected, the others delivered",
        shown(found, bench.size),
        "end with batch.refused(words) on a 4xx that names no record",
    )


def check_every_refusal_is_one(bench: ConnectorBench) -> None:
    """No status of 4xx is taken for a delivery, whatever it is."""
    for status in REFUSALS:
        try:
            outcomes, _ = bench.deliver(bench.batch(), always(Response(status, {}, b"{}")))
        except DestinationError:
            continue
        expect(
            "delivered" not in ends(outcomes, bench.size),
            f"nothing delivered after {status}",
            shown(outcomes, bench.size),
            "take 2xx alone for success",
        )


@needs(names_one)
def check_one_refused_record_is_named(bench: ConnectorBench) -> None:
    """Where the tool names the record that it refuses, that record is rejected and no other."""
    for index in range(bench.size):
        batch = bench.batch()
        outcomes, _ = bench.deliver(batch, bench.refusing(batch, index))
        found = ends(outcomes, bench.size)
        expect(
            found[index] == "rejected" and outcomes.of(index).reason,
            f"record {index} rejected, with a reason",
            shown(outcomes, bench.size),
            "find the record by what the answer names it with",
        )
        expect(
            "rejected" not in found[:index] + found[index + 1 :],
            f"only record {index} rejected",
            shown(outcomes, bench.size),
            "find the record by what the answer names it with",
        )


@needs(reads_answers)
def check_an_unreadable_answer_is_unknown(bench: ConnectorBench) -> None:
    """A tool that is judged by its answers' bodies and answers with none, half of one, or another page: unknown."""
    for body in UNREADABLE:
        if bench.empty_is_taken and body in EMPTY:
            continue
        outcomes, _ = bench.deliver(bench.batch(), always(Response(200, {}, body)))
        expect(
            set(ends(outcomes, bench.size)) == {"unknown"},
            f"every record unknown after 200 {body[:30]!r}",
            shown(outcomes, bench.size),
            f"end with batch.unknown(…) where the body is not what it should be; {VOUCH}",
        )


@needs(minds_bodies)
def check_a_web_page_is_no_receipt(bench: ConnectorBench) -> None:
    """A page of a proxy or a sign-in, with status 200, delivers nothing."""
    for body in PAGES:
        page = Response(200, {"content-type": "text/html"}, body)
        outcomes, _ = bench.deliver(bench.batch(), always(page))
        expect(
            "delivered" not in ends(outcomes, bench.size),
            "nothing delivered by a web page",
            shown(outcomes, bench.size),
            "look at the body (answer.json()), or say any_body=True on the bench if it means nothing",
        )


@needs(reads_answers, counts_taken)
def check_a_cut_answer_vouches_for_nothing(bench: ConnectorBench) -> None:
    """An answer that ends too early delivers nothing, wherever it is cut."""
    _, _, told = bench.taken(bench.batch())
    length = len(told[-1].body)
    for at in sorted({1, length // 3, length // 2, length - 1}):
        cut = replace(told[-1], body=told[-1].body[:at])
        outcomes, _ = bench.deliver(bench.batch(), replayed([*told[:-1], cut], cut))
        expect(
            "delivered" not in ends(outcomes, bench.size),
            f"nothing delivered by an answer cut after {at} bytes",
            shown(outcomes, bench.size),
            f"end with batch.unknown(…) where the JSON does not end; {VOUCH}",
        )


@needs(reads_answers, counts_taken, several)
def check_an_answer_to_fewer_records_delivers_no_more(bench: ConnectorBench) -> None:
    """An answer that tells of fewer records than were sent never delivers the others."""
    _, _, fewer = bench.taken(bench.batch(bench.size - 1))
    outcomes, _ = bench.deliver(bench.batch(), replayed(fewer))
    found = ends(outcomes, bench.size)
    expect(
        found[-1] != "delivered" and "rejected" not in found,
        f"record {bench.size - 1} unknown",
        shown(outcomes, bench.size),
        f"what the answer does not name is unknown; {VOUCH}",
    )


@needs(reads_answers, counts_taken, several)
def check_an_answer_to_more_records_is_not_trusted_by_place(bench: ConnectorBench) -> None:
    """An answer that tells of a record that was not sent refuses nothing, and delivers nothing by its place."""
    whole, part = bench.batch(), bench.batch(bench.size - 1, 1)
    _, _, more = bench.taken(whole)
    outcomes, _ = bench.deliver(part, replayed(more))
    found = ends(outcomes, len(part))
    expect("rejected" not in found, "no record rejected", shown(outcomes, len(part)), "leave foreign entries alone")
    if names_by_value(bench):
        expect(
            "delivered" not in found,
            "nothing delivered: the places do not fit",
            shown(outcomes, len(part)),
            "end with batch.unknown(…) where the answer has another number of entries",
        )


@needs(names_one, names_by_value, several)
def check_a_foreign_refusal_is_nobodys(bench: ConnectorBench) -> None:
    """A refusal of a record that was not sent rejects none of those that were."""
    whole, part = bench.batch(), bench.batch(bench.size - 1, 1)
    _, _, told = _told(bench, whole, 0)
    outcomes, _ = bench.deliver(part, replayed(told))
    expect(
        "rejected" not in ends(outcomes, len(part)),
        "no record rejected",
        shown(outcomes, len(part)),
        "find the record by the value in the entry, not by its place",
    )


@needs(reads_answers, names_one, three)
def check_a_reordered_answer_misplaces_no_refusal(bench: ConnectorBench) -> None:
    """Lists turned round: what stays attributed to a record is right, the rest is unknown."""
    batch = bench.batch()
    refusing = bench.refusing(batch, 0)
    outcomes, _ = bench.deliver(batch, lambda request: _changed(refusing(request), _reversed))
    found = ends(outcomes, bench.size)
    right = found[0] == "rejected" if bench.by_name else "rejected" not in found[1:-1]
    expect(
        right and found.count("rejected") <= 1,
        "record 0 rejected and no other",
        shown(outcomes, bench.size),
        "find the record by what the answer names it with, not by the order of the entries",
    )


@needs(reads_answers, counts_taken, several)
def check_doubled_entries_refuse_nothing(bench: ConnectorBench) -> None:
    """An answer in which every entry stands twice rejects nothing, and delivers nothing by its place."""
    _, _, told = bench.taken(bench.batch())
    outcomes, _ = bench.deliver(bench.batch(), replayed([_changed(each, _doubled) for each in told]))
    found = ends(outcomes, bench.size)
    expect("rejected" not in found, "no record rejected", shown(outcomes, bench.size), VOUCH)
    if not bench.by_name:
        expect(
            "delivered" not in found,
            "nothing delivered: the places do not fit",
            shown(outcomes, bench.size),
            "end with batch.unknown(…) where the answer has another number of entries",
        )


@needs(reads_answers, names_one, counts_taken, several)
def check_a_contradiction_delivers_nothing(bench: ConnectorBench) -> None:
    """An answer that says of a record both that it was taken and that it was not does not deliver it."""
    batch = bench.batch()
    _, _, taken = bench.taken(batch)
    _, _, refused = _told(bench, batch, 0)
    for first, second in ((taken, refused), (refused, taken)):
        both = [_joined(one, other) for one, other in zip(first, second, strict=False)]
        outcomes, _ = bench.deliver(batch, replayed(both))
        expect(
            ends(outcomes, bench.size)[0] != "delivered",
            "record 0 not delivered",
            shown(outcomes, bench.size),
            "a record that two entries say two things of is unknown",
        )


def check_a_redirect_is_unknown(bench: ConnectorBench) -> None:
    """A 3xx neither took nor refused the records."""
    for status in (301, 302, 303, 307, 308):
        outcomes, _ = bench.deliver(
            bench.batch(),
            always(Response(status, {"location": "/elsewhere"})),
        )
        expect(
            set(ends(outcomes, bench.size)) == {"unknown"},
            f"every record unknown after {status}",
            shown(outcomes, bench.size),
            "end with batch.unknown(…) for a 3xx",
        )


def check_a_redirect_is_not_followed(bench: ConnectorBench) -> None:
    """No record and no credential goes to where an answer sends it."""
    there = Response(307, {"location": f"{ELSEWHERE}/in"}, json.dumps({"url": f"{ELSEWHERE}/in"}).encode())
    try:
        _, requests = bench.deliver(bench.batch(), always(there))
    except DestinationError:
        return
    strays = [request.url for request in requests if urlsplit(request.url).netloc == urlsplit(ELSEWHERE).netloc]
    expect(not strays, "no request to another host", strays, "never take a host from an answer")


def check_a_conversation_can_be_dropped(bench: ConnectorBench) -> None:
    """Delivery may end a conversation at any point; the connector then asks for nothing more."""
    talk = bench.destination.deliver(bench.batch())
    next(talk)
    try:
        talk.close()
    except RuntimeError as error:
        expect(False, "a conversation that ends when it is closed", str(error), "do not catch GeneratorExit")


def check_it_never_asks_without_end(bench: ConnectorBench) -> None:
    """A tool that answers the same for ever is left in peace: the conversation ends, and delivers nothing new."""
    _, _, told = bench.taken(bench.batch())
    for answer in (told[0], Response(202, {}, b'{"status": "running", "state": "running", "id": "1"}')):
        try:
            held(bench.destination.deliver(bench.batch()), always(answer))
        except DestinationError:
            continue


def check_long_words_are_shortened(bench: ConnectorBench) -> None:
    """A tool that refuses with a novel is quoted in one line of bounded length."""
    novel = "line\n" * 200_000
    for body in (json.dumps({"message": novel, "code": novel}).encode(), novel.encode()):
        outcomes, _ = bench.deliver(bench.batch(1), always(Response(422, {}, body)))
        reason, code = outcomes.of(0).reason, outcomes.of(0).code
        expect(
            len(reason) <= REASON_CHARACTERS_MAX and "\n" not in reason and len(code) <= REASON_CHARACTERS_MAX,
            f"one line of at most {REASON_CHARACTERS_MAX} characters",
            f"{len(reason):,} characters",
            "quote by batch.refused(words) or batch.rejected(words), or levada.outcome.shortened",
        )


def _told(bench: ConnectorBench, batch: Batch, index: int) -> tuple[Outcomes, list[Request], list[Response]]:
    """A delivery in which one record is refused: outcomes, requests and answers."""
    told: list[Response] = []
    answers = bench.refusing(batch, index)

    def noted(request: Request) -> Response:
        told.append(answers(request))
        return told[-1]

    outcomes, requests = bench.deliver(batch, noted)
    return outcomes, requests, told


def _changed(answer: Response, change: Callable[[Any], Any]) -> Response:
    """The answer with its lists changed; of a CSV, the lines below its header."""
    try:
        body = json.dumps(change(json.loads(answer.body))).encode()
    except ValueError:
        head, *lines = answer.body.split(b"\n")
        body = b"\n".join([head, *change([line for line in lines if line])]) + b"\n"
    return replace(answer, body=body)


def _reversed(value: Any) -> Any:
    if isinstance(value, list):
        return [_reversed(each) for each in reversed(value)]
    if isinstance(value, dict):
        return {name: _reversed(each) for name, each in value.items()}
    return value


def _doubled(value: Any) -> Any:
    if isinstance(value, list):
        return [*value, *value]
    if isinstance(value, dict):
        return {name: _doubled(each) for name, each in value.items()}
    return value


def _joined(one: Response, other: Response) -> Response:
    """An answer whose lists are those of both."""
    try:
        return replace(one, body=json.dumps(_both(json.loads(one.body), json.loads(other.body))).encode())
    except ValueError:
        return other


def _both(one: Any, other: Any) -> Any:
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: _both(one.get(name), other.get(name)) for name in {**one, **other}}
    return other if one is None else one
