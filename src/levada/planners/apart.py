"""What tells rows with one key apart, in words: the fields that differ among them, and each row's own values.

What is not here: which rows have one key (`levada.planners.comparison`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from levada.planners import sql
from levada.planners.mapped import Layout

FIELDS_LOOKED_AT_MAX = 200
FIELDS_NAMED_MAX = 5
VALUE_CHARACTERS_MAX = 40
VALUES_SHOWN_MAX = 3
"""So many different values of one column."""
DUPLICATE = "several rows with this key and different values"


def duplicates(layout: Layout, rows: str, unequal: str) -> str:
    """The rows of relation `rows` whose key is in `unequal`, as their keys and `words`: one SELECT, in no order."""
    fields = layout.fields[:FIELDS_LOOKED_AT_MAX]
    keys = sql.columns("k", len(layout.keys))
    matched = sql.equal("m", "u", "k", len(layout.keys))
    differ = sql.listed(
        f"(count(DISTINCT v{each.index}) + CAST(count(*) > count(v{each.index}) AS INTEGER) > 1) AS d{each.index}"
        for each in fields
    )
    groups = (
        f"SELECT {keys}, {differ} FROM (SELECT m.* FROM {rows} m SEMI JOIN {unequal} u ON {matched}) GROUP BY {keys}"
    )
    named = sql.listed(
        f"CASE WHEN u.d{each.index} THEN {sql.text(each.name + ' ')} || {_shown(f'm.v{each.index}')} END"
        for each in fields
    )
    told = f"list_filter([{named}], lambda told_of: told_of IS NOT NULL)"
    more = f"CASE WHEN len(told) > {FIELDS_NAMED_MAX} THEN ', …' ELSE '' END"
    words = (
        f"CASE WHEN len(told) = 0 THEN {sql.text(DUPLICATE)} ELSE {sql.text(DUPLICATE + '; this one: ')} || "
        f"array_to_string(told[1:{FIELDS_NAMED_MAX}], ', ') || {more} END"
    )
    joined = f"SELECT {sql.listed(f'm.k{i}' for i in range(len(layout.keys)))}, {told} AS told"
    return (
        f"SELECT {keys}, {words} AS words FROM ({joined} FROM {rows} m JOIN ({groups}) u ON {matched} WHERE NOT m.bad)"
    )


def match_words(layout: Layout, table: str) -> str:
    """Under which match values a row of `table` would be found, as an SQL text."""
    parts = " || ', ' || ".join(
        f"{sql.text(each.name + ' ')} || {_shown(f'{table}.v{each.index}')}" for each in layout.matched
    )
    start = sql.text("several rows would be found as the same record: ")
    return f"{start} || {parts}"


def _shown(value: str) -> str:
    text = f"CAST({value} AS VARCHAR)"
    long = f"length({text}) > {VALUE_CHARACTERS_MAX}"
    return f"coalesce(CASE WHEN {long} THEN left({text}, {VALUE_CHARACTERS_MAX - 1}) || '…' ELSE {text} END, 'NULL')"


def columns_apart(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """The same of a few rows with one key that were read as they are: each column that differs, with its values.

    Empty where none does.
    """
    if not rows:
        return ""
    told = []
    for name in [name for name in rows[0] if name not in keys][:FIELDS_LOOKED_AT_MAX]:
        values = list(dict.fromkeys("NULL" if row[name] is None else str(row[name]) for row in rows))
        if len(values) > 1:
            more = " | …" if len(values) > VALUES_SHOWN_MAX else ""
            told.append(f"{name} {' | '.join(_cut(value) for value in values[:VALUES_SHOWN_MAX])}{more}")
    return ", ".join(told[:FIELDS_NAMED_MAX]) + (", …" if len(told) > FIELDS_NAMED_MAX else "")


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARACTERS_MAX else text[: VALUE_CHARACTERS_MAX - 1] + "…"
