"""A batch made by hand, as delivery would make it of the same records: for connectors' cases and for tests.

The records are rendered by the SQL that renders what is sent. Not for delivery itself, which renders a plan's files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from levada.batch import Batch
from levada.change import Kind, Verb
from levada.sql.connection import connect
from levada.sql.template import Columns, before_of, previous_of, template_sql, values_of
from levada.sql.types import Type, type_of
from levada.template import Embedded, Node, as_text, json_text, placeholders

if TYPE_CHECKING:
    import duckdb

JSON = type_of("JSON")
_BY_KEY = ("key", "key_field")
Rows = Sequence[Mapping[str, Any]]


def example_batch(
    records: Sequence[Mapping[str, Any]],
    *,
    object_name: str,
    verb: Verb,
    match: Sequence[str],
    template: Node | None,
    kind: Kind | None = None,
    changed: Sequence[str] | None = None,
    before: Sequence[Mapping[str, Any]] = (),
    identifiers: Sequence[str | None] | None = None,
    nulls: Literal["clear", "skip"] = "clear",
    embedded: frozenset[str] = frozenset(),
    first: int = 0,
) -> Batch:
    """`records` by field name, all fields of the first in each; `template` is the destination's for this verb.

    `before`: the values last confirmed of each record, where they differ from it. `embedded`: the fields whose text is
    JSON. Operation ids are the record's position in the plan as 32 hex digits; `first` is that of the first one.
    Raises ValueError for values that JSON cannot say, and KeyError for a field that the template names and no record
    has.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    found_by = [name for name in match if name in names]
    chosen = kind or _kind(verb, changed, before)
    rows = [{name: record.get(name) for name in names} for record in records]
    earlier = [{**row, **(before[index] if index < len(before) else {})} for index, row in enumerate(rows)]
    plan, types = _plan(chosen, names, rows, earlier, embedded)
    values = values_of(chosen, verb, names, found_by, types)
    previous = previous_of(chosen, found_by, types)
    operations = pa.array([f"{first + index:032x}" for index in range(len(rows))], pa.string())
    known = None if identifiers is None else pa.array(identifiers, pa.string())
    if template is not None and not found_by and any(place.source in _BY_KEY for place in placeholders(template)):
        raise KeyError(next(iter(match), "key"))
    columns = Columns(
        fields=values,
        match=previous or {name: values[name] for name in found_by},
        before=before_of(names, types),
        skip_nulls=nulls == "skip" and chosen != "removed",
        changed=None if changed is None else {name: str(name in changed).lower() for name in names},
        destination_id="NULL::VARCHAR" if known is None else "identifier",
        operation="operation",
        batch={"kind": chosen, "verb": verb, "object": object_name, "sync": "example"},
    )
    plan = plan.append_column("operation", operations)
    plan = plan if known is None else plan.append_column("identifier", known)
    held = [_held(chosen, verb, row, old, found_by) for row, old in zip(rows, earlier, strict=True)]
    table = pa.table({name: column([row[name] for row in held]) for name in names})
    return Batch(
        sync="example",
        plan_id="example",
        number=0,
        sequence=first,
        kind=chosen,
        verb=verb,
        object=object_name,
        match=tuple(match),
        table=table,
        keys=table.select(found_by),
        idempotency_key=f"example-{first}" if first else "example",
        rendered=None if template is None else _rendered(template_sql(template, columns), plan),
        operations=operations,
        previous=_previous(found_by, rows, earlier) if previous else None,
        identifiers=known,
    )


def _kind(verb: Verb, changed: Sequence[str] | None, before: Sequence[object]) -> Kind:
    if verb in ("delete", "archive", "remove"):
        return "removed"
    return "changed" if verb == "update" or changed is not None or before else "added"


def _held(kind: Kind, verb: Verb, row: Mapping[str, Any], old: Mapping[str, Any], match: Sequence[str]) -> Any:
    """What the fields of a record hold; see `values_of`."""
    if kind != "removed":
        return row
    emptied = verb in ("update", "upsert")
    return {name: None if emptied and name not in match else old[name] for name in row}


def _previous(
    match: Sequence[str], rows: Sequence[Mapping[str, Any]], earlier: Sequence[Mapping[str, Any]]
) -> pa.Table:
    values = {
        name: [row[name] if old[name] is None else old[name] for row, old in zip(rows, earlier, strict=True)]
        for name in match
    }
    return pa.table({name: column(each) for name, each in values.items()})


def _plan(
    kind: Kind,
    names: Sequence[str],
    rows: Rows,
    earlier: Rows,
    embedded: frozenset[str],
) -> tuple[pa.Table, dict[str, Type]]:
    """The records as a plan's file of a kind holds them, and the types of its columns."""
    columns: dict[str, pa.Array[Any]] = {}
    as_json: set[str] = set()
    for name in names:
        both, is_json = _exact([row[name] for row in (*rows, *earlier)], as_json=name in embedded)
        for side, start, without in (("after.", 0, "removed"), ("before.", len(rows), "added")):
            if kind != without:
                columns[side + name] = both.slice(start, len(rows))
                as_json |= {side + name} if is_json else set()
    table = pa.table(columns)
    with _records(table) as found:
        types = {name: type_of(str(each)) for name, each in zip(found.columns, found.types, strict=True)}
    return table, {name: JSON if name in as_json else each for name, each in types.items()}


def _exact(values: Sequence[Any], *, as_json: bool) -> tuple[pa.Array[Any], bool]:
    """Values as a column that loses nothing, and whether it holds their JSON."""
    texts = [None if value is None else json_text(Embedded(value) if as_json else value) for value in values]
    kinds = {type(value) for value in values if value is not None}
    found = column(values)
    too_wide = (kinds == {int} and pa.types.is_string(found.type)) or pa.types.is_decimal256(found.type)
    if as_json or too_wide or kinds & {dict, list, tuple}:
        return pa.array(texts, pa.string()), True
    return found, False


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    return connect(threads=1)


@contextmanager
def _records(table: pa.Table) -> Iterator[duckdb.DuckDBPyRelation]:
    with _connection().cursor() as cursor:
        yield cursor.from_arrow(table)


def _rendered(sql: str, records: pa.Table) -> pa.Array[Any]:
    with _records(records) as found:
        rendered: Any = found.project(f"{sql} AS rendered").to_arrow_table()["rendered"]
        texts: pa.Array[Any] = rendered.combine_chunks()
        return texts


def column(values: Sequence[Any]) -> pa.Array[Any]:
    """Values as a column; as text, where they are of several kinds or larger than a column's integers."""
    try:
        found: pa.Array[Any] = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else as_text(value) for value in values], pa.string())
    return found
