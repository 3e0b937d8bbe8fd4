"""What an answer says in the usual places though no word of the connector's reads it.

Two questions: does a 2xx say that something went wrong, and does a page of a list say that there are more? Both are
for caution: a sign makes a notice, or keeps a record from counting as absent, and never makes one delivered. So names
are compared without regard to case, `_`, `-` and `.`, and a value that says nothing (null, empty, zero, false) is none.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from levada.destination import Request, Response
from levada.destinations.json_places import document

PARTIAL: Final = 206
ENTRIES_LOOKED_AT: Final = 1_000
DEPTH_LOOKED_AT: Final = 3
TEXT_LOOKED_AT: Final = 2_000
_AROUND_XML: Final = re.compile(r"\s*(<\?xml.*?\?>\s*)?(<\w+:(envelope|body)\b[^>]*>\s*)*", re.IGNORECASE | re.DOTALL)
_XML_FAILURE: Final = re.compile(r"<(?:\w+:)?(errors?|errorresponse|fault|failure)\b", re.IGNORECASE)
_TEXT_FAILURE: Final = re.compile(r"\s*(errors?|failed|failure|fatal|exception)\b(?!\W*(?:0|none)\b)", re.IGNORECASE)

_ERRORS: Final = frozenset({
    "error", "errors", "haserrors", "haserror", "iserror", "usererrors", "validationerrors", "fielderrors", "errorlist",
    "errormessage", "errormessages", "errordescription", "errorcode", "errcode", "errno", "exception", "fault",
    "faultstring", "faultcode",
})  # fmt: skip
_FAILURES: Final = frozenset({
    "err", "failed", "failure", "failures", "fail", "rejected", "invalid", "unsuccessful", "unprocessed",
    "unprocesseditems", "failedrecords", "failedrows", "faileditems", "failedids", "rejectedrecords", "errorcount",
    "errorscount", "failedcount", "failurecount", "failedrecordcount", "failedputcount", "numfailed", "numerrors",
    "numinvalid", "numrejected", "numinvalidentries", "rejectedcount", "invalidcount", "numberoffailed",
    "numberoferrors", "totalfailed", "totalerrors", "partialfailureerror", "partialfailure",
})  # fmt: skip
_TRUTHS: Final = frozenset({"success", "ok", "succeeded", "issuccess", "successful", "acknowledged"})
_STATES: Final = frozenset({"status", "result", "state", "outcome"})
_BAD_STATES: Final = frozenset({
    "error", "errors", "failed", "fail", "failure", "failing", "partial", "partialsuccess", "partialfailure",
    "partiallysucceeded", "completedwitherrors", "mixed", "rejected", "refused", "denied", "unsuccessful", "nok", "ko",
})  # fmt: skip
_CODES: Final = frozenset({"status", "statuscode", "httpstatus", "httpstatuscode"})
_AROUND: Final = frozenset({
    "data", "result", "results", "response", "responses", "meta", "body", "payload", "summary", "items", "records", "d",
})  # fmt: skip
_NAMING: Final = frozenset({"id", "key", "uuid", "index"})
"""An answer that has only these of a record's fields names it, and does not repeat it."""
_EMPTY_WORDS: Final = frozenset({
    "", "none", "null", "no", "false", "ok", "success", "successful", "n/a", "noerror", "no error", "no errors",
})  # fmt: skip

_NEXT: Final = frozenset({
    "next", "nextpage", "nextcursor", "nexturl", "nextlink", "nexthref", "nexturi", "nexttoken", "nextpagetoken",
    "nextpageurl", "nextpagelink", "nextpagecursor", "nextrecordsurl", "nextoffset", "nextstart", "nextmarker",
    "nextkey", "nextid", "odatanextlink", "@odatanextlink", "continuation", "continuationtoken",
    "nextcontinuationtoken", "lastevaluatedkey",
})  # fmt: skip
_MORE: Final = frozenset({
    "hasmore", "hasnext", "hasnextpage", "more", "moreresults", "morerecords", "moreitems", "moreavailable",
    "moreresultsavailable", "hasmoreitems", "istruncated", "truncated", "incompleteresults", "moreitemsincollection",
    "partialresults", "ispartial", "timedout", "terminatedearly",
})  # fmt: skip
_LAST: Final = frozenset({"last", "islast", "islastpage", "lastpagereached", "complete", "iscomplete"})
_TOTALS: Final = frozenset({
    "total", "totalcount", "totalresults", "totalsize", "totalhits", "totalitems", "totalelements", "totalrecords",
    "totalentries", "totalobjects", "totalmatches", "count", "found", "numfound", "nbhits", "hits", "resultcount",
    "recordcount", "resultscount", "itemcount", "itemscount", "totalnum", "totalrows", "xtotalcount", "xtotal",
})  # fmt: skip
_PAGES: Final = frozenset({"totalpages", "pagecount", "pagestotal", "lastpage", "numpages", "pages", "nbpages"})
_PAGE: Final = frozenset({"page", "currentpage", "pagenumber", "pageindex"})
_LIMITS: Final = frozenset({
    "limit", "perpage", "pagesize", "pagelimit", "top", "$top", "size", "maxresults", "maxrecords", "rows", "take",
    "first", "count", "itemsperpage", "resultsperpage", "hitsperpage", "$limit", "pagelength", "num",
})  # fmt: skip


def plain(name: object) -> str:
    """A name as it is compared here."""
    return re.sub(r"[_\-.\s]", "", str(name)).lower()


# -- a 2xx that says that something went wrong


def failure(found: Any, fields: Collection[str]) -> str:
    """The place at which an answer says so, with what it says there; empty if it does not.

    `fields`: names of the records' own fields. An answer that repeats a record has them, and its state is the record's.
    """
    own = {name.partition(".")[0].partition("[")[0] for name in fields}
    return next(_failures_in(found, own, 0), "")


def failure_in_text(body: bytes) -> str:
    """The same for an answer that is no JSON: XML whose outermost element, or text whose first word, says so."""
    text = body[:TEXT_LOOKED_AT].decode("utf-8-sig", "replace")
    around = _AROUND_XML.match(text)
    said = _TEXT_FAILURE.match(text) or _XML_FAILURE.match(text, around.end() if around else 0)
    return said[1].lower() if said else ""


def _failures_in(found: Any, own: Collection[str], depth: int) -> Iterator[str]:
    """What stands in an answer, or in one of the places around its records, from the outside to the inside."""
    if isinstance(found, list):
        for entry in found[:ENTRIES_LOOKED_AT]:
            if isinstance(entry, Mapping) and (said := _failure_of(entry, own)):
                yield f"[…].{said}"
                return
    if not isinstance(found, Mapping):
        return
    if said := _failure_of(found, own):
        yield said
    for name, value in found.items():
        # a GraphQL answer has the names of its mutations below `data`
        around = plain(name) in _AROUND or (depth == 1 and isinstance(value, Mapping))
        if around and name not in own and depth < DEPTH_LOOKED_AT:
            for said in _failures_in(value, own, depth + 1):
                yield f"{name}{'' if said.startswith('[') else '.'}{said}"


def _failure_of(found: Mapping[str, Any], own: Collection[str]) -> str:
    repeats = any(name in own and plain(name) not in _NAMING for name in found)
    for name, value in found.items():
        if name in own:
            continue
        kind = plain(name)
        if kind in _TRUTHS and _denies(value):
            return f"{name}: {str(value).lower()}"
        if kind in _ERRORS and _says(value):
            return f"{name}: {_shown(value)}"
        if repeats:
            continue
        if kind in _FAILURES and _says(value):
            return f"{name}: {_shown(value)}"
        if kind in _STATES and isinstance(value, str) and plain(value) in _BAD_STATES:
            return f"{name}: {value[:40]}"
        if kind in _CODES and _is_count(value) and 400 <= value < 600:
            return f"{name}: {value}"
    return ""


def _denies(value: Any) -> bool:
    """Is it a truth that is false, in one of the ways in which it is written?"""
    return value is False or (_is_count(value) and value == 0) or str(value).strip().lower() in ("false", "0")


def _says(value: Any) -> bool:
    """Is there anything at all in it?"""
    match value:
        case None | False:
            return False
        case True:
            return True
        case str():
            return value.strip().strip("0").lower() not in _EMPTY_WORDS
        case int() | Decimal():
            return value > 0
        case Mapping():
            return any(_says(each) for each in value.values())
        case list():
            return any(_says(each) for each in value[:ENTRIES_LOOKED_AT])
    return False


def _shown(value: Any) -> str:
    """A value without its words, which may repeat what was sent."""
    match value:
        case True:
            return "true"
        case int() | Decimal():
            return str(value)
        case list():
            return "[…]"
        case Mapping():
            return "{…}"
    return "…"


# -- a page that is not the last


def more_pages(answer: Response, seen: int | None) -> str:
    """Where an answer says that there are more entries than the `seen` ones; empty if it does not.

    Without `seen` only a next page counts that is named: a total may be of something else.
    """
    part = re.search(r"-(\d+)/(\d+)$", answer.headers.get("content-range", "").strip())
    if part and int(part[2]) > int(part[1]) + 1:
        return f"the header Content-Range says {part[0][1:]}"
    if answer.status == PARTIAL and not part:
        return "answer 206 is a part"
    link = answer.headers.get("link", "")
    if re.search(r'rel\s*=\s*"?[^",;]*\bnext\b', link):
        return "the header Link names a next page"
    for name, value in answer.headers.items():
        if plain(name) in ("xnextpage", "xnextcursor") and value.strip():
            return f"the header {name} names a next page"
        if seen is not None and plain(name) in ("xtotal", "xtotalcount") and value.isdigit() and int(value) > seen:
            return f"the header {name} says {value}"
    found = document(answer)
    return next(_more_in(found, seen, 0), "") if isinstance(found, Mapping) else ""


def _more_in(found: Mapping[str, Any], seen: int | None, depth: int) -> Iterator[str]:
    """Lists are entries, and what stands in them is of single records: they are not looked into."""
    page = next((value for name, value in found.items() if plain(name) in _PAGE and _is_count(value)), None)
    for name, value in found.items():
        kind = plain(name)
        if kind in _NEXT and _names_a_page(value):
            yield f"{name} names a next page"
        elif kind in _MORE and value is True:
            yield f"{name} is true"
        elif kind in _LAST and value is False:
            yield f"{name} is false"
        elif isinstance(value, Mapping) and kind not in _TOTALS and depth < DEPTH_LOOKED_AT:
            yield from _more_in(value, seen, depth + 1)
        elif seen is None:
            continue
        elif kind in _TOTALS and (count := _count(value)) is not None and count > seen:
            yield f"{name} is {count}"
        elif kind in _PAGES and _is_count(value) and value > (1 if page is None else max(1, page)):
            yield f"{name} is {value}"
        elif isinstance(value, Mapping) and depth < DEPTH_LOOKED_AT:
            yield from _more_in(value, seen, depth + 1)


def _names_a_page(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_names_a_page(each) for each in value.values())
    if isinstance(value, str):
        return value.strip().lower() not in ("", "null", "none", "false", "-1")
    return value is True or (_is_count(value) and value > 0)


def _count(value: Any) -> int | None:
    """A number, also one in an object of its own: `{value: 21, relation: eq}`."""
    number = value.get("value") if isinstance(value, Mapping) else value
    return number if _is_count(number) else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def asked_at_most(request: Request) -> int | None:
    """How many entries a request asks for at most, where it says so."""
    given: list[tuple[str, Any]] = [*request.query.items(), *parse_qsl(urlsplit(request.url).query)]
    if request.body:
        body = document(Response(200, {}, request.body))
        given += body.items() if isinstance(body, Mapping) else ()
    limits = [str(value) for name, value in given if plain(name) in _LIMITS]
    return min((int(text) for text in limits if re.fullmatch(r"\d{1,9}", text)), default=None)
