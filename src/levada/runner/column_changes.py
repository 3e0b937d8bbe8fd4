"""What became of a model's columns since the last run that ended: new ones, missing ones, other types.

The names and types of the columns are remembered with the sync. A difference is told as a notice; a difference that
would spoil what is sent stops the plan like a guard: a new type whose values do not fit their fields, and a column
that a `replace` of all fields would silently leave out. Not here: which values are equal across types, which is the
planner's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from levada.errors import ConfigError, StoreError
from levada.guard import GuardReason
from levada.plan import Plan
from levada.runner.resolved import Drift, Resolved
from levada.sql.connection import connect
from levada.sql.text import literal, quoted
from levada.wording import plural

if TYPE_CHECKING:
    from levada.mapping import FieldMapping
    from levada.runner.world import World
    from levada.source import Column
    from levada.store import Lease

MEMORY = "columns"
NAMED_MAX = 10
"""A notice names so many columns."""
LEFT_OUT = "columns_left_out"
"""The columns that came to a model whose sync sends all fields, and that the destination has no field for."""
FIELDLESS_CODES = ("destination.missing_column", "config.unknown_field", "config.field_not_writable")
"""Codes of a destination that cannot take a column."""
_KINDS = (
    (r"u?(tiny|small|medium|big|huge)?int(eger)?\d*|(numeric|decimal|number|dec)( ?\([\d, ]+\))?", "DOUBLE"),
    (r"(big|small)?serial|float\d*|double( precision)?|real|bignum", "DOUBLE"),
    (r"date|datetime|timestamp\w*( with(out)? time zone)?|timestamp\[\w+(, tz=\w+)?\]", "TIMESTAMP"),
    (r"bool(ean)?", "BOOLEAN"),
)
"""What the warehouse's name of a type says of its values, as a type of DuckDB that takes each of their texts."""
MISSING_CODES = ("config.unknown_column", "config.missing_key_column")


def drift_of(world: World, sync: str, columns: Sequence[Column]) -> Drift:
    """Compare with what is remembered. Reads the store if there is one, and changes nothing."""
    now = {column.name: column.native or str(column.type) for column in columns}
    text = world.stored.memory.recall(sync, MEMORY) if world.stored is not None else None
    if text is None:
        return Drift(now)
    before: dict[str, str] = json.loads(text)
    return Drift(
        now,
        tuple(name for name in now if name not in before),
        tuple(name for name in before if name not in now),
        {name: (before[name], kind) for name, kind in now.items() if before.get(name, kind) != kind},
    )


def left_out(world: World, sync: str) -> tuple[str, ...]:
    """The columns that earlier runs left out, since the destination had no field for them."""
    text = world.stored.memory.recall(sync, LEFT_OUT) if world.stored is not None else None
    return tuple(json.loads(text)) if text else ()


def remember_columns(world: World, resolved: Resolved, lease: Lease) -> None:
    """After a run that ended well. If it cannot be written now, the next run tells the same notices again."""
    text = json.dumps(dict(resolved.drift.now), ensure_ascii=False)
    with suppress(StoreError):
        if world.store.memory.recall(resolved.name, MEMORY) != text:
            world.store.memory.remember(lease, MEMORY, text)
        if left_out(world, resolved.name) != resolved.left_out:
            world.store.memory.remember(lease, LEFT_OUT, json.dumps(resolved.left_out, ensure_ascii=False))


def renamed(error: ConfigError, drift: Drift) -> ConfigError:
    """The error of a missing column, with a guess at its new name if the model has columns that it had not."""
    if error.code in MISSING_CODES and drift.new and drift.missing:
        error.hint = (
            f"since the last run {_named(drift.missing)} left the model and {_named(drift.new)} came: if it was "
            f"renamed, name the new column here. {error.hint or ''}".strip()
        )
    return error


def notices(drift: Drift, fields: Sequence[FieldMapping], *, all_fields: bool) -> tuple[str, ...]:
    """What a person should know of the difference, as sentences."""
    found: list[str] = []
    if all_fields:
        if drift.missing:
            found.append(
                f"the model has lost the column {_named(drift.missing)}: records keep the last value that was sent"
            )
        if drift.new:
            found.append(f"the model has a new column, which is sent from now on: {_named(drift.new)}")
    else:
        unmapped = [name for name in drift.new if not _fed(fields, name)]
        if unmapped:
            found.append(f"the model has a new column, which no field takes: {_named(unmapped)}")
    for name, (before, now) in list(drift.retyped.items())[:NAMED_MAX]:
        if _fed(fields, name):
            found.append(f"the column {name} was {before} and is {now} now; values that are equal are not sent again")
    return tuple(found)


def column_reasons(resolved: Resolved, plan: Plan, folder: Path) -> tuple[GuardReason, ...]:
    """Why a plan is stopped for its columns' sake."""
    drift, found = resolved.drift, []
    if resolved.policy.everything and resolved.sync.fields == "all" and drift.missing:
        message = f"the model has lost the column {_named(drift.missing)}, and replacing the object would lose it there"
        found.append(GuardReason("columns_missing", message, len(drift.missing), 0))
    invalid = _invalid_by_field(plan, folder) if drift.retyped else {}
    for name, (before, now) in drift.retyped.items():
        rows = sum(invalid.get(each, 0) for each in _fed(resolved.mapping.fields, name))
        if rows:
            unfit = f"{plural(rows, 'row does', 'rows do')} not fit their field"
            message = f"the column {name} was {before} and is {now} now, and {unfit}"
            found.append(GuardReason("type_changed", message, rows, 0))
        elif strange := _no_longer(before, resolved.mapping.fields, name, plan, folder):
            what = plural(strange, "row holds a value", "rows hold values")
            message = f"the column {name} was {before} and is {now} now, and {what} that {before} does not hold"
            found.append(GuardReason("type_changed", message, strange, 0))
    return tuple(found)


def _no_longer(before: str, fields: Sequence[FieldMapping], column: str, plan: Plan, folder: Path) -> int:
    """How many rows to send have a value that was none of the column's earlier type, where no field says a type.

    An API takes any JSON: a text in the place of a number would only be found there.
    """
    kind = next((kind for words, kind in _KINDS if re.fullmatch(words, before, re.IGNORECASE)), None)
    files = [folder / plan.files[each].name for each in ("added", "changed") if each in plan.files]
    names = [each.field for each in fields if each.kind == "column" and each.origin.lower() == column.lower()]
    if kind is None or not files or not names:
        return 0
    values = [f"{quoted('after.' + name)}::VARCHAR" for name in names]
    unfit = " OR ".join(f"({value} IS NOT NULL AND TRY_CAST({value} AS {kind}) IS NULL)" for value in values)
    with connect(memory_limit="256MB", temp_directory=str(folder / "spill")) as connection:
        counts = (f"SELECT count(*) FROM read_parquet({literal(str(path))}) WHERE {unfit}" for path in files)
        return sum(int(connection.execute(query).fetchall()[0][0]) for query in counts)


def changed_otherwise(resolved: Resolved, plan: Plan, folder: Path) -> int:
    """How many rows of a plan differ in more than the columns that the model has got: those are no surge of changes."""
    new = {
        each.field for each in resolved.mapping.fields if each.kind == "column" and each.origin in resolved.drift.new
    }
    file = plan.files.get("changed")
    if file is None or resolved.sync.fields != "all" or not new:
        return plan.counts.changed
    others = [name for name in plan.fields if name not in new]
    differs = [f"{quoted('before.' + name)} IS DISTINCT FROM {quoted('after.' + name)}" for name in others]
    with connect(memory_limit="256MB", temp_directory=str(folder / "spill")) as connection:
        rows_of = f"SELECT count(*) FROM read_parquet({literal(str(folder / file.name))})"
        query = f"{rows_of} WHERE {' OR '.join(differs) or 'false'}"
        ((rows,),) = connection.execute(query).fetchall()
    return int(rows)


def with_columns(reasons: Sequence[GuardReason], drift: Drift) -> tuple[GuardReason, ...]:
    """Reasons of a guard, those about changes and NULLs with what became of the model's columns."""
    parts = [f"new: {_named(drift.new)}"] * bool(drift.new) + [f"gone: {_named(drift.missing)}"] * bool(drift.missing)
    said = f"; since the last run the model's columns are others ({'; '.join(parts)})" if parts else ""
    about = ("changed_max", "nulls_max")
    return tuple(replace(each, message=each.message + said) if each.rule in about else each for each in reasons)


def _fed(fields: Sequence[FieldMapping], column: str) -> list[str]:
    """The fields that a column goes into; for expressions and templates, those that hold its name as a word."""
    word = re.compile(rf"(?i)(?<!\w){re.escape(column)}(?!\w)")
    return [
        each.field
        for each in fields
        if (each.origin.lower() == column.lower() if each.kind == "column" else word.search(each.origin))
    ]


def _invalid_by_field(plan: Plan, folder: Path) -> Mapping[str, int]:
    if plan.invalid is None:
        return {}
    import pyarrow.parquet as pq

    names = pq.read_table(folder / plan.invalid.name, columns=["field"]).column("field").to_pylist()
    return Counter(str(name) for name in names)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED_MAX]) + (", …" if len(names) > NAMED_MAX else "")
