"""Shows the first rows: of a sync as they would arrive, of a model as they are. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from levada.batch import python_rows
from levada.errors import ConfigError, ConfigErrors
from levada.nearest import nearest_hint
from levada.runner.plan import request
from levada.runner.resolve import model_columns, resolve
from levada.source import without_unfit
from levada.sources.statements import wrapped

if TYPE_CHECKING:
    from levada.runner.world import World


@dataclass(frozen=True, slots=True)
class PreviewView:
    """`rows` hold a value for each of `columns`. Of a sync: its key columns (`key.…`) and its fields."""

    name: str
    kind: Literal["sync", "model"]
    title: str
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    notices: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "columns": list(self.columns),
            "rows": [dict(row) for row in self.rows],
            "notices": list(self.notices),
        }


def preview(world: World, name: str, rows: int = 10) -> PreviewView:
    """A sync goes before a model of the same name. Raises ConfigError with the nearest name."""
    files = world.files
    if name in files.listed["sync"]:
        return _of_sync(world, name, rows)
    if name in files.listed["model"]:
        return _of_model(world, name, rows)
    known = [*files.listed["sync"], *files.listed["model"]]
    raise ConfigError(f"there is no sync or model {name}", code="config.unknown_name", hint=nearest_hint(name, known))


def _of_sync(world: World, name: str, rows: int) -> PreviewView:
    resolved = resolve(world, name)
    with request(world, resolved, world.ledger(name)) as asked:
        table = resolved.planner.preview(asked, rows)
    found = tuple({column.removeprefix("after."): value for column, value in row.items()} for row in python_rows(table))
    columns = tuple(column.removeprefix("after.") for column in table.column_names)
    title = f"{resolved.model_name} → {resolved.sync.to}"
    return PreviewView(name, "sync", title, columns, found, resolved.notices)


def _of_model(world: World, name: str, rows: int) -> PreviewView:
    shown = world.files.listed["model"][name].relative_to(world.root).as_posix()
    errors = [error for error in world.files.errors if error.where and error.where.file == shown]
    if errors:
        raise ConfigErrors(errors)
    model = world.model(name)
    source = world.source(model.source)
    found: list[Mapping[str, Any]] = []
    unfit: dict[str, str] = {}
    columns = tuple(column.name for column in model_columns(world, name, model))
    query = model.query_for(source.abilities.dialect)
    if source.abilities.in_place and ";" not in query:
        # such a source would sort and keep what nobody looks at
        query = f"{wrapped(query)} LIMIT {rows}"
    with source.read(query) as batches:
        for batch in batches:
            kept, reasons = without_unfit(batch.slice(0, rows - len(found)))
            found += python_rows(kept)
            unfit = {**reasons, **unfit}
            if len(found) >= rows:
                break
    notices = tuple(
        f"{column}: {reason}; a sync of this column calls the row invalid" for column, reason in unfit.items()
    )
    return PreviewView(name, "model", f"model {name}", columns, tuple(found), notices)
