"""Rows whose value cannot become what a field is made of: conditions over the model's columns, codes and reasons.

Not here: what a destination's field can hold (`levada.planners.values`, `levada.planners.limits`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from levada.planners import expressions, sql
from levada.source import UNFIT, UNFIT_COLUMN, UNFIT_REASON
from levada.sql.text import formless
from levada.sql.types import type_of as parsed

WIDEST_SCALE = 20
WIDEST = f"DECIMAL(38, {WIDEST_SCALE})"
TOO_LONG_REASON = (
    f"a number with over {38 - WIDEST_SCALE} digits before the point or over {WIDEST_SCALE} after it; "
    "round it in the model, or send it to a field of type text"
)


def number_too_long(digits: str) -> str:
    """Is a number, given as text, no exact value of WIDEST? Never NULL."""
    beyond = "'[.][0-9]{" + str(WIDEST_SCALE) + "}[0-9]*[1-9]'"
    return f"{digits} IS NOT NULL AND (TRY_CAST({digits} AS {WIDEST}) IS NULL OR regexp_matches({digits}, {beyond}))"


def text_too_large(expression: expressions.Expression, types: Mapping[str, str]) -> str:
    """A condition, never NULL: is a value of the row too long for the expression? Empty if none can be."""
    texts = [name for name in expression.columns if re.search(r"VARCHAR|JSON|BLOB|BIT|BIGNUM|[\][]", types[name])]
    limit = expression.characters_max
    found = [f"coalesce(strlen(CAST({sql.quoted(name)} AS VARCHAR)) > {limit}, false)" for name in texts]
    return sql.any_of(found) if found else ""


def formless_misfit(value: str, kind: str) -> list[tuple[str, str, str]]:
    """The misfit of a value that is to become text, if its type has values that have no form in it."""
    condition = formless(value, parsed(kind))
    reason = sql.text(f"{value}: NaN or an infinity, which has no form as text")
    return [(condition, "nonfinite", reason)] if condition else []


def unfit(column: str, told: str) -> tuple[str, str, str]:
    """Has the source no value of a column, because its type cannot hold it? Condition over UNFIT, code, reason."""
    mark = sql.text(UNFIT_COLUMN + column + UNFIT_REASON)
    reason = f"split_part(split_part({told}, {mark}, 2), {sql.text(UNFIT_COLUMN)}, 1)"
    return f"coalesce(contains({told}, {mark}), false)", "unfit", reason


def unfit_of(field: str, column: str) -> tuple[str, str, str]:
    """The misfit of a field that is made of a column; its reason is over `u`."""
    condition = unfit(column, sql.quoted(UNFIT))[0]
    _, code, reason = unfit(column, "u")
    named = field if field == column else f"{field} (from {column})"
    return condition, code, f"{sql.text(named + ': ')} || {reason}"
