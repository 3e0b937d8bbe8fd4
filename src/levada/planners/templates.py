"""Liquid templates over the columns of a row, bounded: strict names, no includes, limits on loops and output.

A template that only puts columns of text and whole numbers into text is said in SQL and costs nothing;
any other is rendered in Python on changed rows only, from its columns as JSON. Not here: record templates of
connectors, which are rendered by delivery.
"""

from __future__ import annotations

import calendar
import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING, Any

from levada.errors import ConfigError
from levada.nearest import nearest_hint
from levada.planners import sql
from levada.planners.template_limits import bound_ranges, bounded
from levada.sql.text import json_of, name_of
from levada.sql.types import type_of

if TYPE_CHECKING:
    from liquid import BoundTemplate, Environment

OUTPUT_CHARACTERS_MAX = 1_000_000
LOOPS_MAX = 10_000
VERSION = 2
SIMPLE = re.compile(r"\{\{-?\s*([A-Za-z_][A-Za-z0-9_]*)\s*-?\}\}")
PLAIN_TYPES = ("VARCHAR", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
REFUSED_TAGS = ("include", "render", "extends", "block", "import")


@functools.cache
def _environment() -> Environment:
    from liquid import Environment, StrictUndefined

    class Bounded(Environment):
        loop_iteration_limit = LOOPS_MAX
        output_stream_limit = OUTPUT_CHARACTERS_MAX
        local_namespace_limit = OUTPUT_CHARACTERS_MAX
        context_depth_limit = 20

    environment = Bounded(undefined=StrictUndefined)
    for tag in REFUSED_TAGS:
        environment.tags.pop(tag, None)
    environment.filters["date"] = _dated(environment.filters["date"])
    for name, filter_ in environment.filters.items():
        environment.filters[name] = bounded(name, filter_, OUTPUT_CHARACTERS_MAX)
    return environment


def _dated(original: Callable[..., Any]) -> Callable[..., Any]:
    """Liquid's date filter, in UTC, and without the present: neither the machine's zone nor its day is part of a row.

    "now" and "today" are refused, and what a text does not say of a date is that of 1970-01-01.
    """

    @functools.wraps(original)
    def date(value: object, *arguments: object, **named: object) -> object:
        if isinstance(value, str) and value.strip().lower() in ("now", "today"):
            raise ValueError("the date of today is not part of the row: compute it in the model")
        moment = _moment(value)
        if moment is not None and arguments and isinstance(arguments[0], str):
            # strftime's own %s counts in the zone of the machine
            seconds = str(calendar.timegm(moment.utctimetuple()))
            known = re.sub("%([%s])", lambda found: seconds if found[1] == "s" else found[0], arguments[0])
            arguments = (known, *arguments[1:])
        return original(value if moment is None else moment, *arguments, **named)

    return date


def _moment(value: object) -> datetime | None:
    """The date that a text or a number of seconds since 1970 means; None for one that means none."""
    from dateutil import parser

    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        if isinstance(value, int) or value.isdigit():
            return datetime.fromtimestamp(int(value), UTC)
        found: datetime = parser.parse(value, default=datetime(1970, 1, 1), tzinfos=_zone)  # noqa: DTZ001 - as told
    except (parser.ParserError, OverflowError, OSError, ValueError):
        return None
    return found


def _zone(name: str | None, seconds: int | None) -> tzinfo | None:
    """The zone that a text names: by its offset, or UTC. Other names would mean what the machine takes them for."""
    if seconds is not None:
        return timezone(timedelta(seconds=seconds))
    return UTC if name in ("UTC", "GMT", "Z") else None


@functools.lru_cache(maxsize=1_000)
def compiled(source: str, subject: str) -> BoundTemplate:
    """The template. Raises ConfigError with the line where it is wrong."""
    from liquid.exceptions import LiquidError

    try:
        template = _environment().from_string(source)
        bound_ranges(template, LOOPS_MAX)
        unknown = sorted(set(template.filter_names()) - set(_environment().filters))
    except LiquidError as error:
        detail = str(error).splitlines()[0] if str(error) else "not a template"
        raise ConfigError(
            f"{subject}: {detail}", code="config.template", hint="Liquid: {{ column }}, {% if column %} … {% endif %}"
        ) from None
    if unknown:
        known = _environment().filters
        raise ConfigError(
            f"{subject}: there is no filter {unknown[0]!r}",
            code="config.template",
            hint=nearest_hint(unknown[0], sorted(known)),
        )
    return template


class _Number(float):
    """A number with a fraction that prints as it was written, and counts like a float."""

    __slots__ = ("written",)
    written: str

    def __str__(self) -> str:
        return self.written


def _number(written: str) -> _Number:
    number = _Number(written)
    number.written = written
    return number


def variables(source: str, columns: Sequence[str], *, subject: str) -> tuple[tuple[str, str], ...]:
    """The names that a template uses, each with the model's column it means. ConfigError for an unknown one."""
    known = {column.lower(): column for column in columns}
    plain = _plain_parts(source)
    if plain is not None:
        names = {part for index, part in enumerate(plain) if index % 2}
    else:
        names = {str(name) for name in compiled(source, subject).global_variables()}
    for name in sorted(names):
        if name.lower() not in known:
            raise ConfigError(
                f"{subject}: the model has no column {name!r}", code="config.template", hint=nearest_hint(name, columns)
            )
    return tuple((name, known[name.lower()]) for name in sorted(names))


def _plain_parts(source: str) -> list[str] | None:
    """Text and names in turn, if the template is nothing else."""
    parts = SIMPLE.split(source)
    if any("{{" in part or "{%" in part or "}}" in part for part in parts[::2]) or "{{-" in source or "-}}" in source:
        return None
    if any(name in ("true", "false", "nil", "null", "empty", "blank") for name in parts[1::2]):
        return None
    return parts


def as_sql(source: str, types: Mapping[str, str], names: Sequence[tuple[str, str]]) -> str | None:
    """The template as an SQL text expression, if it can be one."""
    parts = _plain_parts(source)
    column_of = dict(names)
    if parts is None or any(types[column] not in PLAIN_TYPES for column in column_of.values()):
        return None
    pieces = [
        sql.text(part) if index % 2 == 0 else f"coalesce(CAST({sql.quoted(column_of[part])} AS VARCHAR), '')"
        for index, part in enumerate(parts)
        if index % 2 or part
    ]
    return "(" + " || ".join(pieces or ["''"]) + ")"


def input_sql(names: Sequence[tuple[str, str]], types: Mapping[str, str]) -> str:
    """What is compared for a template that runs later: its columns, of these types, as one JSON text."""
    parts = [
        f"{sql.text((',' if number else '') + name_of(name))}, "
        f"coalesce({json_of(sql.quoted(column), type_of(types[column]))}, 'null')"
        for number, (name, column) in enumerate(names)
    ]
    return f"concat('{{', {', '.join(parts)}, '}}')" if parts else "'{}'"


def rendered(source: str, row: str, subject: str) -> str:
    """One row's text. Raises ValueError with a reason that quotes no value."""
    from liquid.exceptions import LiquidError, ResourceLimitError, UndefinedError

    try:
        values = json.loads(row, parse_float=_number)
        return compiled(source, subject).render(**{"row": values, **values})
    except ResourceLimitError:
        raise ValueError("the template loops or prints too much") from None
    except UndefinedError:
        raise ValueError("the template uses a value that is not there") from None
    except (LiquidError, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"the template failed ({type(error).__name__})") from None
