"""Reading an answer's JSON: exactly, and by place.

A place is names and positions: `data.items[0].id`. There are no wildcards, filters or functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from levada.destination import Response
from levada.errors import ConfigError
from levada.outcome import readable
from levada.template import as_text, field_steps

DOCUMENT_BYTES_MAX = 32 * 1024 * 1024
VALUES_MAX = 2_000_000
"""A document is as large in memory as it has values, about a hundred bytes each, however short they are written."""
EXPONENT_MAX = 308
"""What a double can have. A larger one, or as small a one, is no value of a tool's, and long when written out."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Stands for what an answer does not have; null is not missing."""


MISSING: Final = Missing()


def read_json(text: bytes | str) -> Any:
    """A document with its numbers exact.

    Raises ValueError for what is none (NaN, numbers past all bounds, nesting without end, HTML), for an object that
    says two things under one name (which of them holds is anybody's guess), and for over DOCUMENT_BYTES_MAX or
    VALUES_MAX.
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > DOCUMENT_BYTES_MAX or sum(map(data.count, (b",", b"[", b"{"))) > VALUES_MAX:
        raise ValueError("larger than any answer has to be")
    try:
        return json.loads(text, parse_float=_number, parse_constant=_refuse, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deep") from None


def _number(text: str) -> Decimal:
    try:
        found = Decimal(text)
    except ArithmeticError:
        raise ValueError("a number past all bounds") from None
    if abs(found.adjusted()) > EXPONENT_MAX:
        raise ValueError("a number past all bounds")
    return found


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members) and any(not same(value, found[name]) for name, value in members):
        raise ValueError("an object says two things under one name")
    return found


def _refuse(token: str) -> None:
    raise ValueError(f"JSON has no {token}")


def document(response: Response) -> Any:
    """An answer's JSON, or MISSING. JSON lines, if it calls itself that, are a list."""
    try:
        return read_json(response.body)
    except ValueError:
        kind = response.headers.get("content-type", "").lower()
    try:
        lines = response.body.split(b"\n") if any(name in kind for name in _JSON_LINES) else ()
        return [read_json(line) for line in lines if line.strip()] or MISSING
    except ValueError:
        return MISSING


_JSON_LINES: Final = ("ndjson", "jsonl", "json-lines", "x-json-stream")


def steps(place: str) -> tuple[str | int, ...]:
    """The steps of a place; none for the empty one. Raises ConfigError for what is no place."""
    if not place:
        return ()
    if place.startswith("["):
        return field_steps("_" + place)[1:]
    try:
        return field_steps(place)
    except ConfigError:
        raise ConfigError(
            f"{place!r} is no place in an answer",
            code="config.place",
            hint="places look like results, error.message or data.items[0].id",
        ) from None


def look(value: Any, place: str) -> Any:
    """What is at a place, or MISSING. A name is looked up in objects only, a position in lists only."""
    for step in steps(place):
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else MISSING
        else:
            value = value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
        if value is MISSING:
            return MISSING
    return value


def text_at(value: Any, place: str | None) -> str:
    """What is at a place as text; empty if there is nothing, no single value, or no text (half a character)."""
    if place is None:
        return ""
    found = look(value, place)
    text = as_text(found) if isinstance(found, str | int | Decimal) else ""
    return text if text == readable(text) else ""


def same(left: Any, right: Any) -> bool:
    """Equal as JSON: true is not 1, and "1" is not 1; 1.0 is 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if isinstance(left, float) or isinstance(right, float):
        left, right = (Decimal(repr(each)) if isinstance(each, float) else each for each in (left, right))
    return bool(left == right)


MESSAGE_PLACES: Sequence[str] = (
    "message", "error.message", "error_description", "errors[0].message", "errors[0].detail", "errors[0].title",
    "detail", "details", "title", "reason", "error", "errors[0]", "description", "msg",
)  # fmt: skip
CODE_PLACES: Sequence[str] = (
    "code", "error.code", "errors[0].code", "errorCode", "error_code", "statusCode", "category", "status",
)  # fmt: skip


def words(value: Any, place: str | None = None) -> str:
    """The words of a refusal: at the place given, or where tools usually put them."""
    if isinstance(value, str):
        return readable(value)
    for candidate in (place,) if place is not None else MESSAGE_PLACES:
        found = look(value, candidate)
        if found and isinstance(found, str | int | Decimal):
            return readable(as_text(found))
    return ""


def code(value: Any, place: str | None = None) -> str:
    """The error code of a refusal, likewise."""
    for candidate in (place,) if place is not None else CODE_PLACES:
        found = text_at(value, candidate)
        if found and len(found) <= 100:
            return found
    return ""


def answer_words(response: Response, place: str | None = None) -> str:
    """What an answer says, in one line: its words, else its text if that is short and plain, else its status."""
    found = document(response)
    text = words(found, place) if found is not MISSING else ""
    if not text and found is MISSING and response.body and len(response.body) <= 300 and b"<" not in response.body:
        text = response.text.strip()
    return text or f"answer {response.status}"
