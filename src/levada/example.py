"""A batch made by hand, as delivery would make it of the same records: for connectors' cases and for tests.

Not for delivery itself, which renders columns: here every record is a Python object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa

from levada.batch import Batch
from levada.change import Kind, Verb
from levada.template import Node, Record, as_text, render


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

    `before`: the values last confirmed of each record. `embedded`: the fields whose text is JSON. Operation ids
    are the record's position in the plan as 32 hex digits; `first` is that of the first one. Raises ValueError for
    values that JSON cannot say.
    """
    names = list(dict.fromkeys(name for record in records for name in record))
    rows = [{name: record.get(name) for name in names} for record in records]
    known = identifiers or (None,) * len(rows)
    chosen = kind or _kind(verb, changed)
    earlier = [dict(before[index]) if index < len(before) else None for index in range(len(rows))]
    made = [
        Record(
            row,
            match={name: _first((earlier[index] or {}).get(name), row.get(name)) for name in match},
            sent=None if changed is None else frozenset(changed),
            before=earlier[index],
            destination_id=known[index],
            operation=f"{first + index:032x}",
            kind=chosen,
            verb=verb,
            object=object_name,
            sync="example",
            nulls=nulls,
            embedded=embedded,
        )
        for index, row in enumerate(rows)
    ]
    table = pa.table({name: column([row[name] for row in rows]) for name in names})
    previous = pa.table({name: column([each.match[name] for each in made]) for name in match}) if before else None
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
        keys=table.select([name for name in match if name in names]),
        idempotency_key=f"example-{first}" if first else "example",
        rendered=None if template is None else pa.array([render(template, each) for each in made], pa.string()),
        operations=pa.array([each.operation for each in made], pa.string()),
        previous=previous,
        identifiers=None if identifiers is None else pa.array(identifiers, pa.string()),
    )


def _first(earlier: Any, now: Any) -> Any:
    return now if earlier is None else earlier


def _kind(verb: Verb, changed: Sequence[str] | None) -> Kind:
    if verb in ("delete", "archive", "remove"):
        return "removed"
    return "changed" if verb == "update" or changed is not None else "added"


def column(values: Sequence[Any]) -> pa.Array[Any]:
    """Values as a column; as text, where they are of several kinds or larger than a column's integers."""
    try:
        found: pa.Array[Any] = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else as_text(value) for value in values], pa.string())
    return found
