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
from levada.destinations.paths import document

PARTIAL: Final = 206
ENTRIES_LOOKED_AT: Final = 1_000
DEPTH_LOOKED_AT: Final = 3

_FAILURES: Final = frozenset({
    "error", "errors", "failed", "failure", "failures", "fail", "haserrors", "haserror", "rejected", "invalid",
    "errorcount", "errorscount", "failedcount", "failurecount", "failedrecordcount", "failedputcount", "numfailed",
    "numerrors", "numinvalid", "numrejected", "rejectedcount", "invalidcount", "partialfailureerror", "partialfailure",
})  # fmt: skip
_TRUTHS: Final = frozenset({"success", "ok", "succeeded", "issuccess", "successful"})
_STATES: Final = frozenset({"status", "result", "state", "outcome"})
_BAD_STATES: Final = frozenset({
    "error", "errors", "failed", "fail", "failure", "failing", "partial", "partialsuccess", "partialfailure",
    "partiallysucceeded", "completedwitherrors", "mixed", "rejected",
})  # fmt: skip
_AROUND: Final = frozenset({"data", "result", "results", "response", "meta", "body", "payload"})
_EMPTY_WORDS: Final = frozenset({"", "0", "none", "null", "no", "false", "ok", "success", "n/a"})

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
    if isinstance(found, list):
        for entry in found[:ENTRIES_LOOKED_AT]:
            if isinstance(entry, Mapping) and (said := _failure_in(entry, own)):
                return f"[…].{said}"
        return ""
    if not isinstance(found, Mapping):
        return ""
    if said := _failure_in(found, own):
        return said
    for name, value in found.items():
        if plain(name) in _AROUND and isinstance(value, Mapping) and (said := _failure_in(value, own)):
            return f"{name}.{said}"
    return ""


def _failure_in(found: Mapping[str, Any], own: Collection[str]) -> str:
    repeats = any(name in found for name in own)
    for name, value in found.items():
        if name in own:
            continue
        kind = plain(name)
        if kind in _TRUTHS and (value is False or (isinstance(value, str) and value.lower() == "false")):
            return f"{name}: false"
        if kind in ("error", "errors", "haserrors", "haserror") and _says(value):
            return f"{name}: {_shown(value)}"
        if repeats:
            continue
        if kind in _FAILURES and _says(value):
            return f"{name}: {_shown(value)}"
        if kind in _STATES and isinstance(value, str) and plain(value) in _BAD_STATES:
            return f"{name}: {value[:40]}"
    return ""


def _says(value: Any) -> bool:
    """Is there anything at all in it?"""
    match value:
        case None | False:
            return False
        case True:
            return True
        case str():
            return value.strip().lower() not in _EMPTY_WORDS
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
            return "a list that is not empty"
    return "is not empty"


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
