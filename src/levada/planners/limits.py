"""What no field, or a certain one, can hold: NaN, infinities, dates that a calendar lacks, U+0000. At any depth."""

from __future__ import annotations

import re
from dataclasses import replace

from levada.mapping import ValueLimits
from levada.planners.kept import Coerced
from levada.planners.sql import text
from levada.sql.types import Type, any_inside, type_of

NAIVE = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
ZONED = "TIMESTAMP WITH TIME ZONE"
YEARS = (1, 9999)
NUL_IN_JSON = r"(^|[^\\])(\\\\)*\\u0000"
"""U+0000 as JSON writes it, and not a backslash that stands before `u0000`."""


def no_nul_inside(value: str, source: str, limits: ValueLimits, found: Coerced) -> Coerced:
    """No U+0000 in the text inside of nested values and JSON, where the field cannot hold it."""
    if limits.nul_character:
        return found
    if type_of(source).nested and not re.search("VARCHAR|JSON|ENUM", source):
        return found
    if not type_of(source).nested and source not in ("JSON", "VARCHAR"):
        return found
    shown = f"CAST({value} AS VARCHAR)"
    if type_of(source).nested:
        shown = f"CAST(to_json({value}) AS VARCHAR)"
    return found.but(
        f"regexp_matches({shown}, {text(NUL_IN_JSON)})", "nul_character", "the character U+0000 in text inside"
    )


def finite(value: str, source: str, limits: ValueLimits, found: Coerced) -> Coerced:
    """No NaN, no infinity, and no date that a calendar lacks, where the field cannot hold them; at any depth."""
    kind = type_of(source)
    inside = " inside" if kind.nested else ""
    tests = (
        ("nonfinite", f"NaN or an infinity{inside}, which the field cannot hold", _odd_number),
        ("not_json", f"JSON{inside} with a NaN, an infinity or a comma too many", _odd_json),
    )
    for code, reason, test in tests if not limits.nonfinite else ():
        condition = any_inside(value, kind, test)
        found = found.but(condition, code, reason) if condition else found
    condition = any_inside(value, kind, _odd_date)
    if not condition or not limits.any_date:
        return calendar(value, source, found)
    return found.but(condition, "date_range", f"an infinite date{inside}")


def _odd_number(value: str, kind: Type) -> str | None:
    return f"NOT isfinite({value})" if kind.name in ("FLOAT", "DOUBLE") else None


def _odd_json(value: str, kind: Type) -> str | None:
    """DuckDB takes for JSON what is none."""
    if kind.name != "JSON":
        return None
    shown = f"CAST({value} AS VARCHAR)"
    return f"(regexp_matches({shown}, {text(LENIENT)}) AND NOT {strict_json(shown)})"


LENIENT = r"(?i)nan|inf|,\s*[\]}]"


def strict_json(shown: str) -> str:
    """Is the text JSON by the letter? DuckDB also takes NaN, infinities and a comma before a bracket."""
    unquoted = f"""regexp_replace({shown}, '"(\\\\.|[^"\\\\])*"', '""', 'g')"""
    return f"(json_valid({shown}) AND NOT regexp_matches({unquoted}, {text(LENIENT)}))"


def _odd_date(value: str, kind: Type) -> str | None:
    return f"NOT isfinite({value})" if kind.name in ("DATE", *NAIVE, ZONED) else None


def calendar(value: str, source: str, found: Coerced) -> Coerced:
    """Only days that every calendar has; the infinities lie outside as well."""
    kind = type_of(source)
    condition = any_inside(value, kind, _outside)
    if not condition:
        return found
    inside = " inside" if kind.nested else ""
    return found.but(condition, "date_range", f"a date outside the years {YEARS[0]:04} to {YEARS[1]}{inside}")


def _outside(value: str, kind: Type) -> str | None:
    first, last = YEARS
    if kind.name == "TIMESTAMP_NS":
        return f"NOT isfinite({value})"
    if kind.name == "DATE":
        return f"{value} NOT BETWEEN DATE '{first:04}-01-01' AND DATE '{last}-12-31'"
    if kind.name in (*NAIVE, ZONED):
        name, zone = ("TIMESTAMPTZ", "+00") if kind.name == ZONED else ("TIMESTAMP", "")
        return (
            f"{value} NOT BETWEEN {name} '{first:04}-01-01 00:00:00{zone}'"
            f" AND {name} '{last}-12-31 23:59:59.999999{zone}'"
        )
    return None


def of_json(limits: ValueLimits) -> ValueLimits:
    """The limits of what goes into JSON: it has no NaN, whatever else its field may hold."""
    return replace(limits, nonfinite=False, any_date=False)
