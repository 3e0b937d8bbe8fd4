"""Named transforms of a field's value: text in, text out, NULL stays NULL.

Where DuckDB can say it, a transform is an SQL expression and runs over columns while planning. The others
(`phone_e164`) are Python and run on changed rows only, on Arrow columns, after planning; what is compared
then is their input. Each has examples, which a test executes and the reference page shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from levada.errors import ConfigError
from levada.nearest import nearest_hint
from levada.planners.sql import text

SPACES = " \t\n\r\v\f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
SPACES += "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
CHAIN_MAX = 20


@dataclass(frozen=True, slots=True)
class Transform:
    """One transform. Exactly one of `sql` (from an SQL text expression to another) and `python` is set.

    `python` returns the new text, or raises ValueError with a reason that does not quote the value.
    `parameter` is the one argument it takes in parentheses, "" if none; `fails`: an SQL transform that yields
    NULL for a value cannot convert it, and the row is invalid.
    """

    name: str
    summary: str
    examples: tuple[tuple[str, str | None, str | None], ...]
    sql: Callable[[str], str] | None = None
    python: Callable[[str, str], str | None] | None = None
    parameter: str = ""
    argument: str = ""
    fails: str = ""
    version: int = 1

    @property
    def label(self) -> str:
        """How it is written, its argument included."""
        return f"{self.name}({self.argument})" if self.argument else self.name


def _phone(value: str, region: str) -> str | None:
    import phonenumbers

    if not value.strip():
        return None
    try:
        number = phonenumbers.parse(value, region or None)
    except phonenumbers.NumberParseException as error:
        missing = error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not region
        raise ValueError(
            "a phone number without a country code (name a region: phone_e164(GB))" if missing else "not a phone number"
        ) from None
    if not phonenumbers.is_possible_number(number) or not phonenumbers.is_valid_number(number):
        raise ValueError("not a phone number that exists")
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


def _trimmed(value: str) -> str:
    return f"trim({value}, {text(SPACES)})"


def _iso_date(value: str) -> str:
    plain = f"TRY_CAST(regexp_extract({value}, '^\\s*(\\d{{4}}-\\d{{2}}-\\d{{2}})', 1) AS DATE)"
    return f"strftime({plain}, '%Y-%m-%d')"


def _title(value: str) -> str:
    words = f"string_split({value}, ' ')"
    return f"array_to_string(list_transform({words}, lambda word: upper(word[1]) || lower(word[2:])), ' ')"


def _slug(value: str) -> str:
    plain = f"regexp_replace(lower(strip_accents({value})), '[^a-z0-9]+', '-', 'g')"
    return f"trim({plain}, '-')"


_ALL = (
    Transform("trim", "White space at both ends goes, Unicode's kinds too.",
              (("", "  Ana ", "Ana"), ("", "\u00a0Bo\t", "Bo"), ("", None, None)), _trimmed),
    Transform("lower", "Lower case.", (("", "ÉTÉ", "été"), ("", None, None)), lambda value: f"lower({value})"),
    Transform("upper", "Upper case.", (("", "été", "ÉTÉ"), ("", None, None)), lambda value: f"upper({value})"),
    Transform("title", "Each word with a capital first letter.", (("", "ana MARIA", "Ana Maria"),), _title),
    Transform("squeeze", "Runs of white space become one space; none at the ends.",
              (("", " a  b\t c ", "a b c"),),
              lambda value: f"trim(regexp_replace({value}, '\\s+', ' ', 'g'))"),
    Transform("nfc", "Unicode normalization form C.", (("", "e\u0301", "é"),), lambda value: f"nfc_normalize({value})"),
    Transform("digits", "Only the digits 0 to 9.", (("", "(020) 79-46", "0207946"),),
              lambda value: f"regexp_replace({value}, '[^0-9]', '', 'g')"),
    Transform("slug", "Lower case letters a to z, digits and hyphens.",
              (("", "Crème Brûlée, 2!", "creme-brulee-2"),), _slug),
    Transform("empty_to_null", "Text without a visible character becomes NULL.",
              (("", "  ", None), ("", "x", "x")), lambda value: f"CASE WHEN {_trimmed(value)} <> '' THEN {value} END"),
    Transform("normalize_email",
              "Trimmed, lower case, Unicode form C: as ad platforms want it before hashing. Empty text becomes NULL.",
              (("", " Ana@Example.COM ", "ana@example.com"), ("", "", None), ("", None, None)),
              lambda value: f"nullif(lower(nfc_normalize({_trimmed(value)})), '')"),
    Transform("md5", "MD5 of the text's UTF-8 bytes, as 32 lower hex digits.",
              (("", "abc", "900150983cd24fb0d6963f7d28e17f72"),), lambda value: f"md5({value})"),
    Transform("sha1", "SHA-1 of the text's UTF-8 bytes, as 40 lower hex digits.",
              (("", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),), lambda value: f"sha1({value})"),
    Transform("sha256", "SHA-256 of the text's UTF-8 bytes, as 64 lower hex digits.",
              (("", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), ("", None, None)),
              lambda value: f"sha256({value})"),
    Transform("iso_date", "The date of a date, a timestamp or such text, as YYYY-MM-DD. Other text is invalid.",
              (("", "2026-03-01 10:20:30", "2026-03-01"), ("", "2026-03-01", "2026-03-01")), _iso_date,
              fails="text that does not begin with a date (YYYY-MM-DD)"),
    Transform("phone_e164",
              "A phone number in international form. The region is that of numbers without a country code. "
              "What is no existing number is invalid; empty text becomes NULL.",
              (("", "+44 20 7946 0958", "+442079460958"), ("GB", "020 7946 0958", "+442079460958"),
               ("ES", "912 34 56 78", "+34912345678"), ("GB", "", None)),
              python=_phone, parameter="region"),
)  # fmt: skip
TRANSFORMS: dict[str, Transform] = {transform.name: transform for transform in _ALL}


def parsed(spec: str, *, subject: str) -> Transform:
    """`name` or `name(argument)` as its transform. Raises ConfigError with the nearest known name."""
    match = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\(\s*([^()]*?)\s*\))?\s*", spec)
    transform = TRANSFORMS.get(match[1]) if match else None
    if match is None or transform is None:
        name = match[1] if match else spec
        raise ConfigError(
            f"{subject}: there is no transform {name!r}", code="config.transform", hint=nearest_hint(name, TRANSFORMS)
        )
    argument = (match[2] or "").strip("'\" ")
    if argument and not transform.parameter:
        raise ConfigError(
            f"{subject}: {transform.name} takes no argument", code="config.transform", hint=f"write {transform.name}"
        )
    if transform.name == "phone_e164" and argument:
        argument = argument.upper()
        import phonenumbers

        if argument not in phonenumbers.SUPPORTED_REGIONS:
            raise ConfigError(
                f"{subject}: {argument!r} is no region",
                code="config.transform",
                hint="two letters, such as phone_e164(GB)",
            )
    return replace(transform, argument=argument)


def chain(specs: Sequence[str], *, subject: str) -> tuple[Transform, ...]:
    """All transforms of a field, in order."""
    if len(specs) > CHAIN_MAX:
        raise ConfigError(f"{subject}: more than {CHAIN_MAX} transforms", code="config.transform")
    return tuple(parsed(spec, subject=subject) for spec in specs)


def reference() -> str:
    """The page docs/reference/transforms.md."""
    lines = [
        "# Transforms",
        "",
        "Generated from `levada.planners.transforms`; the examples are executed by the tests.",
        "",
        "`apply: [normalize_email, sha256]` runs transforms in order. Each takes text and gives text; NULL stays NULL.",
        "Numbers, dates and the like are first written as text. A value that a transform cannot convert makes its row",
        "*invalid*: it is listed by `levada records` and not sent.",
        "",
    ]
    for transform in _ALL:
        written = f"{transform.name}({transform.parameter})" if transform.parameter else transform.name
        lines += [f"## `{written}`", "", transform.summary, "", "| written | value | becomes |", "|---|---|---|"]
        for argument, value, result in transform.examples:
            name = f"{transform.name}({argument})" if argument else transform.name
            lines.append(f"| `{name}` | {_shown(value)} | {_shown(result)} |")
        lines.append("")
    return "\n".join(lines)


def _shown(value: str | None) -> str:
    if value is None:
        return "NULL"
    visible = "".join(sign if sign == " " or not sign.isspace() else f"\\u{ord(sign):04x}" for sign in value)
    return f'`"{visible}"`'
