"""What a plan and a ledger keep of a value: the nearest type that Parquet and Arrow hold exactly, at any depth.

And what a value's mapping is made of: `Coerced`, with the `Problem`s for which a row is invalid. Not here: what a
destination's field takes (`levada.planners.values`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from levada.planners.sql import text
from levada.sql.text import json_of
from levada.sql.types import Type, any_inside, changed, type_of

DIGITS_MAX = 38
AS_TEXT = ("INTERVAL", "BIT", "TIME WITH TIME ZONE", "TIME_NS", "BIGNUM", "VARIANT", "GEOMETRY", '"NULL"')
"""Types that no Parquet file keeps exactly: DuckDB's own text of them is kept instead."""
HUGE = ("HUGEINT", "UHUGEINT")
WHOLE = f"DECIMAL({DIGITS_MAX},0)"
TOO_LONG = f"an integer of more than {DIGITS_MAX} digits"


@dataclass(frozen=True, slots=True)
class Problem:
    """`condition` is true for rows that are invalid, never NULL; `reason` is an SQL text expression."""

    condition: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class Coerced:
    """`sql` is of DuckDB type `type`; for rows with a problem its value means nothing."""

    sql: str
    type: str
    problems: tuple[Problem, ...] = ()

    def but(self, condition: str, code: str, reason: str) -> Coerced:
        """The same with one more problem; `reason` is plain text."""
        return self.unless(condition, code, text(reason))

    def unless(self, condition: str, code: str, reason: str) -> Coerced:
        problem = Problem(f"coalesce({condition}, false)", code, reason)
        return replace(self, problems=(*self.problems, problem))


def kept(value: str, source: str) -> Coerced:
    """A value in the type nearest to its own that files and Arrow keep exactly: for keys, and for `any`."""
    kind = type_of(source)
    if _has_choice(kind):
        return _long_integers(value, kind, Coerced(f"TRY_CAST({json_of(value, kind)} AS JSON)", "JSON"))
    wanted = changed(kind, _kept_leaf)
    if wanted.name == source:
        return Coerced(value, source)
    return _long_integers(value, kind, Coerced(f"TRY_CAST({value} AS {wanted.name})", wanted.name))


def _has_choice(kind: Type) -> bool:
    """Does it hold a union or a tuple, which are JSON outside of DuckDB?"""
    return kind.kind in ("UNION", "TUPLE") or any(_has_choice(part) for part in kind.parts)


def _kept_leaf(kind: Type) -> Type:
    if kind.name in HUGE:
        return type_of(WHOLE)
    if kind.name in AS_TEXT or kind.kind == "ENUM":
        return type_of("VARCHAR")
    return type_of("TIMESTAMP") if kind.name in ("TIMESTAMP_S", "TIMESTAMP_MS") else kind


def _long_integers(value: str, kind: Type, found: Coerced) -> Coerced:
    def too_long(value: str, kind: Type) -> str | None:
        return f"{value} IS NOT NULL AND TRY_CAST({value} AS {WHOLE}) IS NULL" if kind.name in HUGE else None

    condition = any_inside(value, kind, too_long)
    return found.but(condition, "too_large", TOO_LONG) if condition else found
