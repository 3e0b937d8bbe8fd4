"""A few operations of a plan as values: for `plan`, for the keys that a guard names, for pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from levada.batch import python_rows
from levada.change import Kind
from levada.plan import Plan
from levada.planner import sample_kinds
from levada.runner.records import changed_fields, key_of, side

SAMPLE_ROWS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Sampled:
    """One operation. `before` and `after` hold every mapped field; `changed` names those that differ."""

    kind: Kind
    key: Any
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    @property
    def changed(self) -> tuple[str, ...]:
        return changed_fields(self.before, self.after)

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "key": self.key,
            "before": self.before,
            "after": self.after,
            "changed": list(self.changed),
        }


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row of the model that cannot be sent, and the field that says so; or a record that an undo leaves alone."""

    key: Any
    field: str
    code: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        return {"key": self.key, "field": self.field, "code": self.code, "reason": self.reason}


def sample(plan: Plan, folder: Path, size: int) -> tuple[Sampled, ...]:
    """The first operations of each kind, `size` in all: added, changed, removed."""
    return tuple(
        Sampled(kind, key_of(row, plan.keys), side(row, "before"), side(row, "after"))
        for kind, share in sample_kinds(plan, min(size, SAMPLE_ROWS_MAX))
        for row in first_rows(folder / plan.files[kind].name, share, ("key.", "before.", "after."))
    )


def sample_invalid(plan: Plan, folder: Path, size: int) -> tuple[InvalidRow, ...]:
    """The first rows of the model that cannot be sent."""
    return () if plan.invalid is None else _reasoned(plan, folder / plan.invalid.name, size)


def _reasoned(plan: Plan, path: Path, size: int) -> tuple[InvalidRow, ...]:
    return tuple(
        InvalidRow(key_of(row, plan.keys), row["field"] or "", row["code"] or "", row["reason"] or "")
        for row in first_rows(path, size, ("key.", "field", "code", "reason"))
    )


def sample_left(plan: Plan, folder: Path, size: int) -> tuple[InvalidRow, ...]:
    """The first records that an undo leaves alone, and why."""
    return () if plan.left is None else _reasoned(plan, folder / plan.left.name, size)


def sample_keys(plan: Plan, folder: Path, kind: Kind, size: int) -> tuple[Any, ...]:
    """The first keys of one kind."""
    if kind not in plan.files or not plan.counts.of(kind):
        return ()
    return tuple(key_of(row, plan.keys) for row in first_rows(folder / plan.files[kind].name, size, ("key.",)))


def first_rows(path: Path, rows: int, prefixes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The first rows of a Parquet file, only columns whose names begin so."""
    if rows <= 0:
        return []
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        columns = [name for name in file.schema_arrow.names if name.startswith(prefixes)]
        for batch in file.iter_batches(batch_size=rows, columns=columns):
            return python_rows(batch)
    return []
