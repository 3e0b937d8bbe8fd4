"""Fields that a record may still hold at the destination although the ledger has no value of them any more.

A field that is taken out of a mapping leaves the record as it is. When the ledger is written anew without the
field, the column `lapsed` keeps, for each key, the names of the fields that were sent with a value: names only,
never the values. If such a field comes back, the record is sent even where the model's value is NULL by then: an
absent column is not a NULL that was confirmed. What the sync never wrote is never cleared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from levada.planners import sql
from levada.planners.mapped import after_name

LAPSED = "lapsed"
"""Of a segment or a plan's file: fields outside the mapping that the record may hold."""
RETURNED = "returned"
"""Of changed.parquet: fields of the mapping that the record may hold with a value that the ledger does not know."""
NONE = "CAST(NULL AS VARCHAR[])"


def names_list(names: Sequence[str]) -> str:
    return f"CAST([{sql.listed(sql.text(name) for name in names)}] AS VARCHAR[])"


def gone(columns: Mapping[str, str], mapped: Sequence[str]) -> list[str]:
    """The fields of a segment, given by its columns, that are not mapped."""
    fields = [name.removeprefix("after.") for name in columns if name.startswith("after.")]
    return [name for name in fields if name not in set(mapped)]


def known(columns: Mapping[str, str], mapped: Sequence[str]) -> bool:
    """Does a segment tell anything of fields that are not mapped, or were not?"""
    return LAPSED in columns or bool(gone(columns, mapped))


def told(columns: Mapping[str, str], mapped: Sequence[str]) -> str:
    """The list for each row of a segment; NULL where it is empty.

    A row that is not confirmed may hold a value though NULL was sent last.
    """
    doubted = "state IS DISTINCT FROM 'confirmed' OR " if "state" in columns else ""
    cases = [
        f"CASE WHEN {doubted}{after_name(name)} IS NOT NULL THEN {sql.text(name)} END" for name in gone(columns, mapped)
    ]
    if not cases:
        return LAPSED if LAPSED in columns else NONE
    stored = f"coalesce({LAPSED}, [])" if LAPSED in columns else "CAST([] AS VARCHAR[])"
    return _or_null(f"list_sort(list_distinct(list_concat({stored}, [{sql.listed(cases)}])))")


def met(column: str, mapped: Sequence[str]) -> str:
    """Is one of the mapped fields among the lapsed ones? Never NULL."""
    return f"coalesce(list_has_any({column}, {names_list(mapped)}), false)"


def returned(column: str, mapped: Sequence[str]) -> str:
    """The mapped fields among the lapsed ones."""
    return _or_null(f"[x FOR x IN {column} IF list_contains({names_list(mapped)}, x)]")


def left_over(column: str, sent: Sequence[tuple[str, str]]) -> str:
    """What stays lapsed once the fields `sent` are delivered: pairs of a name and the condition that it is sent."""
    always = [name for name, condition in sent if condition == "true"]
    cases = [f"CASE WHEN {condition} THEN {sql.text(name)} END" for name, condition in sent if condition != "true"]
    delivered = f"list_concat({names_list(always)}, [{sql.listed(cases)}])" if cases else names_list(always)
    return _or_null(f"[x FOR x IN {column} IF NOT coalesce(list_contains({delivered}, x), false)]")


def _or_null(made: str) -> str:
    return f"nullif({made}, CAST([] AS VARCHAR[]))"
