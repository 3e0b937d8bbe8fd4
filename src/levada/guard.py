"""Guards: limits that stop a run before its first request, until a person approves that very plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, NonNegativeInt

from levada.change import Counts
from levada.model import Declaration
from levada.wording import plural

REMOVED_SHARE_DEFAULT = 10
REMOVED_ROWS_DEFAULT = 1_000
CHANGED_SHARE_DEFAULT = 50
NULLS_POINTS_DEFAULT = 20
REMOVED_ROWS_FLOOR = 5
CHANGED_ROWS_FLOOR = 10
UNDO_SHARE_DEFAULT = 10
UNDO_ROWS_DEFAULT = 1_000
UNDO_ROWS_FLOOR = 5
"""Below so many rows a *default* share stops nothing: one of three rows is 33 %, and no mass change."""


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_limit(text: str) -> str:
    parse_limit(text)
    return text


def parse_limit(text: str) -> tuple[float | None, int | None]:
    """`10%` is (10.0, None): a share; `500` is (None, 500): rows; `none` is (None, None): no limit."""
    cleaned = text.strip().lower()
    if cleaned in ("none", "off"):
        return None, None
    try:
        if cleaned.endswith("%"):
            share = float(cleaned[:-1])
            if not 0 <= share <= 100:
                raise ValueError
            return share, None
        rows = int(cleaned)
        if rows < 0:
            raise ValueError
    except ValueError:
        raise ValueError(f"{text!r} is not a limit: write a share such as 10%, a number of rows, or none") from None
    return None, rows


Limit = Annotated[
    str, BeforeValidator(_as_text, json_schema_input_type=str | NonNegativeInt), AfterValidator(_is_limit)
]


class GuardDeclaration(Declaration):
    """What may happen in one run without asking. A share is of the rows that the ledger holds."""

    removed_max: Limit | None = None
    """Share (10%), rows (500), or none. By default a plan may remove neither over 10 % nor over 1,000 rows.
    Rows that a `replace` would no longer hold count."""
    changed_max: Limit | None = None
    """Share or rows; 50% by default."""
    added_max: Limit | None = None
    """Share or rows; no limit by default."""
    rows_min: int | None = None
    """The model must have at least so many rows; 1 by default once something was synced."""
    nulls_max: Limit | None = None
    """By how many points the share of NULLs of one column may rise; 20% by default."""
    undo_max: Limit | None = None
    """Share or rows that one undo may remove, put back or change. By default neither over 10 % nor over 1,000 rows."""
    invalid_max: Limit | None = None
    """Share or rows that may be invalid; no limit by default."""
    allow_empty: bool = False
    """Let an empty model pass."""


@dataclass(frozen=True, slots=True)
class GuardReason:
    """Why a plan was stopped: a stable `rule`, a sentence, the figure, its limit, and sample keys."""

    rule: str
    message: str
    observed: float
    limit: float
    keys: tuple[object, ...] = ()

    def as_dict(self) -> dict[str, object]:
        return {
            "rule": self.rule,
            "message": self.message,
            "observed": self.observed,
            "limit": self.limit,
            "keys": list(self.keys),
        }


@dataclass(frozen=True, slots=True)
class GuardDecision:
    blocked: bool = False
    reasons: tuple[GuardReason, ...] = ()

    def stopped_by(self, *reasons: GuardReason) -> GuardDecision:
        """The same decision with more reasons; without any, itself."""
        return GuardDecision(True, (*self.reasons, *reasons)) if reasons else self

    def as_dict(self) -> dict[str, object]:
        return {"blocked": self.blocked, "reasons": [reason.as_dict() for reason in self.reasons]}


@dataclass(frozen=True, slots=True)
class GuardFacts:
    """What a guard looks at. `present` counts the ledger's rows, those that may be present included (E9).

    `nulls_before` and `nulls_after`: share of NULLs from 0 to 1 of each mapped field, over the ledger and
    over the model; `nulls_after` holds only fields whose share could be told.
    """

    counts: Counts
    present: int
    model_rows: int
    nulls_before: Mapping[str, float]
    nulls_after: Mapping[str, float]
    removed_keys: tuple[object, ...] = ()
    changed_keys: tuple[object, ...] = ()


def _exceeds(rule: str, what: str, rows: int, of: int, limit: str, keys: tuple[object, ...]) -> GuardReason | None:
    share_max, rows_max = parse_limit(limit)
    if rows_max is not None and rows > rows_max:
        return GuardReason(rule, f"{plural(rows, 'row')} {what}; the limit is {rows_max:,}", rows, rows_max, keys)
    if share_max is not None and of > 0 and rows * 100 > share_max * of:
        share = rows * 100 / of
        return GuardReason(
            rule,
            f"{rows:,} of {plural(of, 'row')} {what} ({share:.1f} %); the limit is {share_max:g} %",
            share,
            share_max,
            keys,
        )
    return None


def judge_undo(declared: GuardDeclaration, facts: GuardFacts) -> GuardDecision:
    """The decision over the plan of an undo, which knows no model. A declared limit holds as it stands; the default
    share holds from UNDO_ROWS_FLOOR records on."""
    rows = facts.counts.operations
    limits = [declared.undo_max] if declared.undo_max is not None else [str(UNDO_ROWS_DEFAULT)]
    if declared.undo_max is None and rows >= UNDO_ROWS_FLOOR:
        limits.insert(0, f"{UNDO_SHARE_DEFAULT}%")
    keys = facts.removed_keys or facts.changed_keys
    found = (_exceeds("undo_max", "would be taken back", rows, facts.present, limit, keys) for limit in limits)
    reasons = tuple(reason for reason in found if reason is not None)[:1]
    return GuardDecision(bool(reasons), reasons)


def judge(declared: GuardDeclaration, facts: GuardFacts) -> GuardDecision:
    """The decision over one plan. A first plan (nothing present) is stopped only by limits declared for it.

    A declared limit holds as it stands. The default shares (10 % removed, 50 % changed) hold from
    REMOVED_ROWS_FLOOR and CHANGED_ROWS_FLOOR rows on; 1,000 removed rows are too many at any share.
    """
    reasons: list[GuardReason | None] = []
    counts, present = facts.counts, facts.present
    rows_min = declared.rows_min if declared.rows_min is not None else (1 if present else 0)
    if facts.model_rows == 0 and (present or rows_min) and not declared.allow_empty:
        reasons.append(
            GuardReason(
                "empty", f"the model is empty; {plural(present, 'row is', 'rows are')} synced", 0, max(rows_min, 1)
            )
        )
    elif facts.model_rows < rows_min and not (declared.allow_empty and facts.model_rows == 0):
        message = f"the model has {plural(facts.model_rows, 'row')}; at least {rows_min:,} expected"
        reasons.append(GuardReason("rows_min", message, facts.model_rows, rows_min))
    if declared.removed_max is not None:
        limits = [declared.removed_max]
    else:
        limits = [str(REMOVED_ROWS_DEFAULT)]
        if counts.removed >= REMOVED_ROWS_FLOOR:
            limits.insert(0, f"{REMOVED_SHARE_DEFAULT}%")
    for limit in limits:
        found = _exceeds("removed_max", "would be removed", counts.removed, present, limit, facts.removed_keys)
        if found:
            reasons.append(found)
            break
    few = counts.changed < CHANGED_ROWS_FLOOR
    changed_max = declared.changed_max or ("none" if few else f"{CHANGED_SHARE_DEFAULT}%")
    reasons.append(
        _exceeds("changed_max", "would be changed", counts.changed, present, changed_max, facts.changed_keys)
    )
    if declared.added_max is not None:
        reasons.append(_exceeds("added_max", "would be added", counts.added, present, declared.added_max, ()))
    if declared.invalid_max is not None:
        reasons.append(
            _exceeds("invalid_max", "are invalid", counts.invalid, facts.model_rows, declared.invalid_max, ())
        )
    points_max, _ = parse_limit(declared.nulls_max or f"{NULLS_POINTS_DEFAULT}%")
    if points_max is not None and facts.model_rows:
        for field, after in facts.nulls_after.items():
            rise = (after - facts.nulls_before.get(field, after)) * 100
            if rise > points_max:
                message = f"{field} is empty in {after * 100:.1f} % of the rows, {rise:.1f} points more than before"
                reasons.append(GuardReason("nulls_max", message, rise, points_max))
    found_reasons = tuple(reason for reason in reasons if reason is not None)
    return GuardDecision(bool(found_reasons), found_reasons)
