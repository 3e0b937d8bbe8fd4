"""Exact values: from whatever a model's column is to what a destination's field takes, or *invalid*, by name.

`coerce` returns SQL for the value and, for everything that could be lost, a condition under which the row is
invalid. Nothing is cut, rounded, re-encoded or shifted. A pair of types of which no value could fit at all
is a ConfigError before anything is read. Not here: what NULL means at a destination.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from levada.errors import ConfigError
from levada.mapping import FieldType, ValueLimits
from levada.planners.kept import DIGITS_MAX, Coerced, kept
from levada.planners.limits import NAIVE, ZONED, calendar, finite, no_nul_inside, of_json, strict_json
from levada.planners.sql import listed, text
from levada.sql.text import json_of, text_of
from levada.sql.types import type_of
from levada.wording import plural

INTEGER_BITS = {
    "TINYINT": (8, True), "SMALLINT": (16, True), "INTEGER": (32, True), "BIGINT": (64, True), "HUGEINT": (128, True),
    "UTINYINT": (8, False), "USMALLINT": (16, False), "UINTEGER": (32, False), "UBIGINT": (64, False),
    "UHUGEINT": (128, False),
}  # fmt: skip
UNLIMITED_SCALE = 12
"""Decimal places kept of text and floating point, where the field's own are not known."""
DECIMAL_TEXT = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)"
ZONE_TEXT = r".*([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
DATE_TEXT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"


FRACTION = "a number with a fraction where an integer is wanted"
ELSEWHERE = "choose another column, or say how in an sql expression"


def nested(source: str) -> bool:
    return type_of(source).nested


def decimal_of(source: str) -> tuple[int, int] | None:
    """(digits, scale) of a DECIMAL type."""
    match = re.fullmatch(r"DECIMAL\((\d+),\s*(\d+)\)", source)
    return (int(match[1]), int(match[2])) if match else None


def _with_zero(value: str, source: str) -> tuple[str, str]:
    """The value and its type with room for a digit before the point of every decimal.

    A decimal of as many places as digits is written `.5` by DuckDB, which is no number in JSON.
    """
    wider = re.sub(
        r'(?<!")DECIMAL\((\d+),\s*\1\)',
        lambda found: f"DECIMAL({min(int(found[1]) + 1, DIGITS_MAX)},{found[1]})",
        source,
    )
    return (value, source) if wider == source else (f"CAST({value} AS {wider})", wider)


def text_sql(value: str, source: str) -> str:
    """A value as a field of text has it: as JSON has it, but for floating point and the zeros of long decimals.

    Of the widest decimals, which _with_zero cannot widen, with the zero before the point.
    """
    if nested(source) or source in NAIVE or source == ZONED:
        return text_of(value, type_of(source))
    shown = f"CAST({value} AS VARCHAR)"
    widest = source == f"DECIMAL({DIGITS_MAX},{DIGITS_MAX})"
    return f"regexp_replace({shown}, '^(-?)[.]', '\\10.')" if widest else shown


@dataclass(frozen=True, slots=True)
class _Case:
    """One pair of types: the value's SQL, its type, and where it goes."""

    value: str
    source: str
    target: FieldType
    limits: ValueLimits
    subject: str = field(default="")

    @property
    def textual(self) -> bool:
        return self.source in ("VARCHAR", "JSON", "UUID") or self.source.startswith("ENUM") or self.source == '"NULL"'

    @property
    def integral(self) -> bool:
        return self.source in INTEGER_BITS

    @property
    def floating(self) -> bool:
        return self.source in ("FLOAT", "DOUBLE")

    def finite(self, found: Coerced) -> Coerced:
        return finite(self.value, self.source, self.limits, found)

    def calendar(self, found: Coerced) -> Coerced:
        return calendar(self.value, self.source, found)

    def without_nul(self, found: Coerced) -> Coerced:
        return no_nul_inside(self.value, self.source, self.limits, found)

    def refused(self, hint: str) -> ConfigError:
        return ConfigError(f"{self.subject}: {self.source} cannot become {self.target}", code="config.type", hint=hint)

    def tried(self, wanted: str, code: str, reason: str, *, pattern: str = "") -> Coerced:
        """TRY_CAST, and invalid where it fails or the text does not look like `pattern`."""
        source = f"CAST({self.value} AS VARCHAR)" if pattern and self.source != "VARCHAR" else self.value
        cast = f"TRY_CAST({source} AS {wanted})"
        failed = f"{cast} IS NULL"
        if pattern:
            failed = f"(NOT regexp_full_match({source}, {text(pattern)}) OR {failed})"
        return Coerced(cast, wanted).but(f"{self.value} IS NOT NULL AND {failed}", code, reason)


def coerce(value: str, source: str, target: FieldType, limits: ValueLimits, *, subject: str) -> Coerced:
    """The value of one field. `value` is a column's SQL, `source` its DuckDB type, `subject` names the field.

    Raises ConfigError if no value of `source` can become `target`.
    """
    value, source = _with_zero(value, source)
    case = _Case(value, source, target, limits, subject)
    found = _TARGETS[target](case)
    if not limits.nullable:
        found = found.but(f"{value} IS NULL", "null", "NULL where a value is required")
    return found


def _any(case: _Case) -> Coerced:
    found = kept(case.value, case.source)
    if found.type == "VARCHAR":
        return _text_limits(case, found)
    if case.integral or case.limits.integer_bits:
        found = _integer_limits(case, found) if case.integral else found
    return case.finite(case.without_nul(found))


def _text(case: _Case) -> Coerced:
    source, value = case.source, case.value
    if source == "BLOB":
        raise case.refused('say how bytes become text: {sql: "base64(column)"} or {sql: "decode(column)"}')
    if source in ("VARCHAR", "JSON"):
        found = Coerced(text_sql(value, source), "VARCHAR")
    else:
        limits = of_json(case.limits) if nested(source) else case.limits
        found = finite(value, source, limits, Coerced(text_sql(value, source), "VARCHAR"))
    return _text_limits(case, found)


def _text_limits(case: _Case, found: Coerced) -> Coerced:
    limits, value = case.limits, found.sql
    if not limits.nul_character and (case.textual or nested(case.source)):
        found = found.but(f"contains({value}, chr(0))", "nul_character", "the character U+0000 in text")
    if limits.text_characters is not None:
        reason = f"'text of ' || length({value}) || ' characters; at most {limits.text_characters} fit'"
        found = found.unless(f"length({value}) > {limits.text_characters}", "too_long", reason)
    if limits.text_bytes is not None:
        reason = f"'text of ' || strlen({value}) || ' bytes; at most {limits.text_bytes} fit'"
        found = found.unless(f"strlen({value}) > {limits.text_bytes}", "too_long", reason)
    if not limits.trailing_spaces:
        found = found.but(f"{value} LIKE '% '", "trailing_space", "text that ends with a space, which the field loses")
    if limits.choices is not None:
        known = listed(text(choice) for choice in limits.choices) or "NULL"
        shown = ", ".join(limits.choices[:10])
        found = found.but(
            f"{value} IS NOT NULL AND coalesce({value} NOT IN ({known}), true)", "choice", f"not one of: {shown}"
        )
    return found


def _integer(case: _Case) -> Coerced:
    source, value, bits = case.source, case.value, case.limits.integer_bits
    small = bits is not None and bits <= 64
    if source == "BOOLEAN":
        return Coerced(f"CAST({value} AS BIGINT)", "BIGINT")
    if case.integral:
        width, signed = INTEGER_BITS[source]
        fits = width < 64 or (width == 64 and signed)
        if fits:
            return _integer_limits(case, Coerced(f"CAST({value} AS BIGINT)", "BIGINT"))
    wanted = "BIGINT" if small else f"DECIMAL({DIGITS_MAX},0)"
    decimal = decimal_of(source)
    if decimal and decimal[1] == 0 and decimal[0] <= 18:
        wanted = "BIGINT"
    present = f"{value} IS NOT NULL"
    if case.floating:
        cast = f"TRY_CAST(TRY_CAST({value} AS HUGEINT) AS {wanted})"
        found = Coerced(cast, wanted)
        found = found.but(f"NOT isfinite({value})", "nonfinite", "NaN or an infinity where an integer is wanted")
        found = found.but(f"{value} <> trunc({value})", "fraction", FRACTION)
    elif decimal or case.integral:
        cast = f"TRY_CAST({value} AS {wanted})"
        found = Coerced(cast, wanted)
        if decimal and decimal[1]:
            found = found.but(f"{value} <> trunc({value})", "fraction", FRACTION)
    elif case.textual:
        shown = f"CAST({value} AS VARCHAR)"
        cast = f"TRY_CAST({shown} AS {wanted})"
        found = Coerced(cast, wanted).but(
            f"NOT regexp_full_match({shown}, '[+-]?[0-9]+')", "not_a_number", "text that is not an integer"
        )
    else:
        raise case.refused(ELSEWHERE)
    found = found.but(f"{present} AND {cast} IS NULL", "too_large", "an integer larger than the field holds")
    return _integer_limits(case, found)


def _integer_limits(case: _Case, found: Coerced) -> Coerced:
    bits = case.limits.integer_bits
    if bits is None or bits > 126:
        return found
    if case.source in INTEGER_BITS:
        width, signed = INTEGER_BITS[case.source]
        if width < bits or (width == bits and signed):
            return found
    if bits == 64 and found.type == "BIGINT":
        return found
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return found.but(f"{found.sql} NOT BETWEEN {low} AND {high}", "too_large", f"an integer of more than {bits} bits")


def _decimal(case: _Case) -> Coerced:
    limits, value, source = case.limits, case.value, case.source
    if limits.decimal_unlimited and (case.textual or case.floating):
        return _digits(case)
    if case.textual and (limits.decimal_digits or 0) > DIGITS_MAX:
        return _many_digits(case)
    own = decimal_of(source)
    if case.integral:
        width, _ = INTEGER_BITS[source]
        own = ({8: 3, 16: 5, 32: 10, 64: 20}.get(width, DIGITS_MAX), 0)
    bounded = limits.decimal_digits is not None or limits.decimal_scale is not None
    if own and not bounded:
        digits, scale = own
    else:
        digits = min(limits.decimal_digits or DIGITS_MAX, DIGITS_MAX)
        wished = limits.decimal_scale
        if wished is None:
            wished = own[1] if own else UNLIMITED_SCALE
        scale = min(wished, digits)
    wanted = f"DECIMAL({digits},{scale})"
    cast = f"TRY_CAST({value} AS {wanted})"
    present = f"{value} IS NOT NULL"
    precise = f"more than {plural(scale, 'decimal place')}"
    if own:
        found = Coerced(cast, wanted)
        if own[1] > scale:
            found = found.but(f"round({value}, {scale}) <> {value}", "too_precise", precise)
        # a HUGEINT may have one digit more than any decimal
        if own[0] - own[1] <= digits - scale and own[1] <= scale and source not in ("HUGEINT", "UHUGEINT"):
            return found
    elif case.floating:
        cast = f"TRY_CAST(CAST({value} AS VARCHAR) AS {wanted})"
        found = Coerced(cast, wanted).but(
            f"NOT isfinite({value})", "nonfinite", "NaN or an infinity where a decimal is wanted"
        )
        found = found.but(f"CAST({cast} AS {source}) <> {value}", "too_precise", precise)
    elif case.textual:
        shown = f"CAST({value} AS VARCHAR)"
        places = f"length(rtrim(regexp_extract({shown}, '\\.([0-9]*)', 1), '0'))"
        found = Coerced(f"TRY_CAST({shown} AS {wanted})", wanted)
        plain = f"regexp_full_match({shown}, {text(DECIMAL_TEXT)})"
        found = found.but(f"NOT {plain}", "not_a_number", "text that is not a plain decimal number")
        found = found.but(f"{places} > {scale}", "too_precise", precise)
    elif source == "BOOLEAN":
        raise case.refused('say what true and false are worth: {sql: "case when column then 1 else 0 end"}')
    else:
        raise case.refused(ELSEWHERE)
    return found.but(
        f"{present} AND {found.sql} IS NULL",
        "too_large",
        f"a number of more than {plural(digits - scale, 'digit')} before the point",
    )


NUMBER_IN_JSON = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?"


def digits(value: str) -> Coerced:
    """A number of unlimited size, given as its digits, as a number in JSON: all of them, without zeros at the end."""
    plain = f"regexp_full_match({value}, {text(NUMBER_IN_JSON)})"
    shown = f"CASE WHEN contains({value}, '.') THEN rtrim(rtrim({value}, '0'), '.') ELSE {value} END"
    number = f"TRY_CAST(CASE WHEN {plain} THEN {shown} END AS JSON)"
    return Coerced(number, "JSON").but(f"{value} IS NOT NULL AND NOT {plain}", "not_a_number", "no number in digits")


def _digits(case: _Case) -> Coerced:
    """A decimal of any size, as its digits."""
    shown = f"CAST({case.value} AS VARCHAR)"
    if case.floating:
        return case.finite(Coerced(shown, "VARCHAR"))
    wanted = f"({DECIMAL_TEXT}|NaN|[+-]?Infinity)" if case.limits.nonfinite else DECIMAL_TEXT
    return Coerced(shown, "VARCHAR").but(
        f"NOT regexp_full_match({shown}, {text(wanted)})", "not_a_number", "text that is not a plain decimal number"
    )


def _many_digits(case: _Case) -> Coerced:
    """A decimal of more digits than a type of ours has, as its digits."""
    shown = f"CAST({case.value} AS VARCHAR)"
    scale = case.limits.decimal_scale or 0
    whole = (case.limits.decimal_digits or 0) - scale
    places = f"length(rtrim(regexp_extract({shown}, '\\.([0-9]*)', 1), '0'))"
    before = f"length(ltrim(regexp_extract({shown}, '^[+-]?([0-9]*)', 1), '0'))"
    plain = f"regexp_full_match({shown}, {text(DECIMAL_TEXT)})"
    found = Coerced(shown, "VARCHAR").but(f"NOT {plain}", "not_a_number", "text that is not a plain decimal number")
    found = found.but(f"{places} > {scale}", "too_precise", f"more than {plural(scale, 'decimal place')}")
    most = plural(whole, "digit")
    return found.but(f"{before} > {whole}", "too_large", f"a number of more than {most} before the point")


def _number(case: _Case) -> Coerced:
    value, source = case.value, case.source
    double = f"CAST({value} AS DOUBLE)"
    if case.floating:
        # a real stays one: as a DOUBLE it would have other digits
        return case.finite(Coerced(value, source))
    if case.integral:
        found = Coerced(double, "DOUBLE")
        if INTEGER_BITS[source][0] <= 32:
            return found
        reason = "an integer that floating point cannot hold exactly"
        return found.but(
            f"TRY_CAST({double} AS HUGEINT) IS DISTINCT FROM CAST({value} AS HUGEINT)", "too_precise", reason
        )
    if decimal_of(source):
        return Coerced(double, "DOUBLE").but(
            f"{value} IS NOT NULL AND coalesce(TRY_CAST({double} AS {source}) <> {value}, true)",
            "too_precise",
            "a decimal that floating point cannot hold exactly",
        )
    if case.textual:
        shown = f"CAST({value} AS VARCHAR)"
        tried = f"TRY_CAST({shown} AS DOUBLE)"
        plain = f"regexp_full_match({shown}, {text(DECIMAL_TEXT + '([eE][+-]?[0-9]+)?')})"
        found = Coerced(tried, "DOUBLE").but(
            f"{value} IS NOT NULL AND (NOT {plain} OR {tried} IS NULL OR NOT isfinite({tried}))",
            "not_a_number",
            "text that is not a number",
        )
        digits = f"length(ltrim(regexp_replace(regexp_replace({shown}, '[eE].*', ''), '[.+-]', '', 'g'), '0'))"
        return found.but(
            f"{digits} > 15 AND CAST({tried} AS VARCHAR) <> {shown}",
            "too_precise",
            "more digits than floating point holds",
        )
    raise case.refused(ELSEWHERE)


def _boolean(case: _Case) -> Coerced:
    value = case.value
    if case.source == "BOOLEAN":
        return Coerced(value, "BOOLEAN")
    if case.integral:
        return Coerced(f"({value} = 1)", "BOOLEAN").but(
            f"{value} NOT IN (0, 1)", "not_boolean", "a number other than 0 and 1"
        )
    if case.textual:
        shown = f"lower(CAST({value} AS VARCHAR))"
        return Coerced(f"({shown} IN ('true', 't', '1'))", "BOOLEAN").but(
            f"{shown} NOT IN ('true', 'false', 't', 'f', '1', '0')", "not_boolean", "text other than true and false"
        )
    raise case.refused(ELSEWHERE)


def _date(case: _Case) -> Coerced:
    value, source = case.value, case.source
    if source == "DATE":
        return case.calendar(Coerced(value, "DATE"))
    if source in NAIVE or source == ZONED:
        day = f"date_trunc('day', {value})"
        found = case.calendar(Coerced(f"CAST({value} AS DATE)", "DATE"))
        return found.but(f"{day} <> {value}", "not_midnight", "a time of day where a date is wanted")
    if case.textual:
        return case.tried("DATE", "not_a_date", "text that is not a date (YYYY-MM-DD)", pattern=DATE_TEXT)
    raise case.refused(ELSEWHERE)


def _timestamp(case: _Case) -> Coerced:
    value, source = case.value, case.source
    if source == ZONED:
        raise case.refused("say in which zone: {sql: \"column at time zone 'UTC'\"}")
    if source in ("DATE", *NAIVE):
        found = case.calendar(Coerced(f"CAST({value} AS TIMESTAMP)", "TIMESTAMP"))
        if source == "TIMESTAMP_NS":
            return found.but(f"epoch_ns({value}) % 1000 <> 0", "too_precise", "nanoseconds where microseconds are held")
        return found
    if case.textual:
        found = case.tried("TIMESTAMP", "not_a_timestamp", "text that is not a timestamp", pattern=DATE_TEXT + ".*")
        clock = f"regexp_replace(CAST({value} AS VARCHAR), '^{DATE_TEXT}', '')"
        found = found.but(
            f"regexp_full_match({clock}, {text(ZONE_TEXT)})", "zone", "a time zone where none can be held"
        )
        return found.but(
            f"regexp_matches({clock}, '\\.[0-9]{{6}}[0-9]*[1-9]')", "too_precise", "more than microseconds"
        )
    raise case.refused(ELSEWHERE)


def _timestamp_tz(case: _Case) -> Coerced:
    value, source = case.value, case.source
    if source == ZONED:
        return case.calendar(Coerced(value, ZONED))
    if source in NAIVE or source == "DATE":
        raise case.refused("say in which zone it is: {sql: \"column at time zone 'Europe/Madrid'\"}, or 'UTC'")
    if case.textual:
        found = case.tried(ZONED, "not_a_timestamp", "text that is not a timestamp", pattern=DATE_TEXT + ".*")
        clock = f"regexp_replace(CAST({value} AS VARCHAR), '^{DATE_TEXT}', '')"
        found = found.but(f"NOT regexp_full_match({clock}, {text(ZONE_TEXT)})", "zone", "a time without a zone")
        return found.but(
            f"regexp_matches({clock}, '\\.[0-9]{{6}}[0-9]*[1-9]')", "too_precise", "more than microseconds"
        )
    raise case.refused(ELSEWHERE)


def _time(case: _Case) -> Coerced:
    if case.source == "TIME":
        return Coerced(case.value, "TIME")
    if case.textual:
        return case.tried(
            "TIME",
            "not_a_time",
            "text that is not a time of day",
            pattern=r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?",
        )
    raise case.refused(ELSEWHERE)


def _json(case: _Case) -> Coerced:
    value, source = case.value, case.source
    if source in ("VARCHAR", "JSON", '"NULL"'):
        shown = f"CAST({value} AS VARCHAR)"
        found = Coerced(f"TRY_CAST({shown} AS JSON)", "JSON").but(
            f"NOT {strict_json(shown)}",
            "not_json",
            "text that is not JSON (to_json(column) makes a JSON string of it)",
        )
        return case.without_nul(found)
    if source == "BLOB":
        raise case.refused('say how bytes become JSON: {sql: "to_json(base64(column))"}')
    found = case.without_nul(Coerced(f"TRY_CAST({json_of(value, type_of(source))} AS JSON)", "JSON"))
    return finite(value, source, of_json(case.limits), found)


def _binary(case: _Case) -> Coerced:
    if case.source == "BLOB":
        return Coerced(case.value, "BLOB")
    if case.source == '"NULL"':
        return Coerced(f"CAST({case.value} AS BLOB)", "BLOB")
    raise case.refused('say which bytes are meant: {sql: "encode(column)"} for text as UTF-8')


def _uuid(case: _Case) -> Coerced:
    if case.textual:
        pattern = r"\{?[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}\}?"
        found = case.tried("UUID", "not_a_uuid", "text that is not a UUID", pattern=pattern)
        return replace(found, sql=f"CAST({found.sql} AS VARCHAR)", type="VARCHAR")
    raise case.refused(ELSEWHERE)


def _shaped(start: tuple[str, ...], shape: str) -> Callable[[_Case], Coerced]:
    def build(case: _Case) -> Coerced:
        if nested(case.source) and (case.source.endswith("]") == (shape == "ARRAY")):
            return case.finite(case.without_nul(kept(case.value, case.source)))
        if case.source in start:
            found = Coerced(f"TRY_CAST({case.value} AS JSON)", "JSON")
            shown = f"CAST({case.value} AS VARCHAR)"
            wrong = f"NOT {strict_json(shown)} OR json_type(TRY_CAST({shown} AS JSON)) <> '{shape}'"
            return case.without_nul(found.but(wrong, "not_json", f"JSON that is not an {shape.lower()}"))
        raise case.refused(ELSEWHERE)

    return build


_TARGETS: dict[FieldType, Callable[[_Case], Coerced]] = {
    "any": _any, "text": _text, "integer": _integer, "decimal": _decimal, "number": _number, "boolean": _boolean,
    "date": _date, "timestamp": _timestamp, "timestamp_tz": _timestamp_tz, "time": _time, "json": _json,
    "binary": _binary, "uuid": _uuid, "list": _shaped(("JSON", "VARCHAR"), "ARRAY"),
    "object": _shaped(("JSON", "VARCHAR"), "OBJECT"),
}  # fmt: skip
