"""A batch: the records that go to a destination together, as columns.

A connector asks a batch for what it needs: `body()` (the rendered request body), `table` (Arrow),
`as_csv()`, or `records` as Python values, which cost a Python object each and are for small batches.
What is not here: cutting a plan into batches and rendering, which belong to `levada.delivery`.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv

from levada.change import Kind, Verb
from levada.mapping import digest
from levada.outcome import DELIVERED, UNTOLD, Effects, Outcome, Outcomes, shortened
from levada.template import as_text

RecordState = Literal["fresh", "sent", "removing"]
"""What is known of a record before it is sent. `fresh`: every earlier request for it was answered, or there was none.
`sent`: this very operation was sent before and not answered, so that it may have been applied. `removing`: an earlier
removal of the record was not answered, so that it may still be there."""


@dataclass(frozen=True, slots=True)
class Batch:
    """`table` has one row per record and a column per mapped field, typed as the destination wants it.

    All columns are cut together, so that what is known of a record goes wherever the record goes. For removals the
    columns hold the values last confirmed. `rendered`, where the destination has a
    template for this verb, holds each record's JSON text. `keys` is the model's key of each record, for
    messages. `operations` are the ids (32 hex digits) that stay the same over attempts, runs and restarts.
    """

    sync: str
    plan_id: str
    number: int
    sequence: int
    kind: Kind
    verb: Verb
    object: str
    match: tuple[str, ...]
    table: pa.Table
    keys: pa.Table
    idempotency_key: str
    rendered: pa.Array[Any] | None = None
    operations: pa.Array[Any] | None = None
    #: the values of the match fields last confirmed, where they differ from the new ones or in removals
    previous: pa.Table | None = None
    #: the values last confirmed of every field, where delivery was asked for them (changes of tables)
    before: pa.Table | None = None
    #: the destination's own ids, where earlier answers told them
    identifiers: pa.Array[Any] | None = None
    attempt: int = 1
    #: the rendered records joined by commas, where delivery has them ready
    packed: pa.Buffer | None = field(default=None, repr=False)
    #: the RecordState of each record, as text; null is fresh; None: all are
    states: pa.Array[Any] | None = None
    #: the keys, each with its moment, under which earlier creates were sent that expire (class B)
    stamps: pa.Array[Any] | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records as Python values: one dict each, by field name (dots and all)."""
        return python_rows(self.table)

    def json_array(self) -> bytes:
        """The rendered records as one JSON array."""
        return b"[" + self.joined(b",") + b"]"

    def json_lines(self) -> bytes:
        """The rendered records, one a line, with a newline at the end."""
        return self.joined(b"\n") + b"\n"

    def joined(self, separator: bytes) -> bytes:
        """The rendered records, joined."""
        assert self.rendered is not None, "this verb has no record template"
        if self.packed is not None and separator == b",":
            return self.packed.to_pybytes()
        if not len(self):
            return b""
        import pyarrow.compute as pc

        together = pa.ListArray.from_arrays(pa.array([0, len(self)], pa.int32()), self.rendered)
        joined: Any = pc.binary_join(together, separator.decode())
        text: pa.Buffer = joined[0].as_buffer()
        return text.to_pybytes()

    def as_csv(self) -> bytes:
        """The table as CSV with a header, text quoted. Lists and structs are their JSON, bytes base64."""
        columns = [_cells(column) for column in self.table.columns]
        sink = io.BytesIO()
        pa_csv.write_csv(pa.table(columns, names=self.table.column_names), sink)
        return sink.getvalue()

    def slice(self, start: int, length: int) -> Batch:
        """A run of records of the batch, with a number and an idempotency key of its own."""
        return self._part(
            lambda column: column.slice(start, length),
            sequence=self.sequence + start,
            number=part_number(self.sequence + start, length),
            idempotency_key=f"{self.idempotency_key}-{start}-{length}",
        )

    def take(self, indices: Sequence[int]) -> Batch:
        """Some records of the batch, in the order given; `sequence` is the first one's."""
        wanted = pa.array(indices, pa.int64())
        return self._part(
            lambda column: column.take(wanted),
            sequence=self.sequence + indices[0],
            idempotency_key=f"{self.idempotency_key}-{digest([list(indices)])}",
        )

    def _part(self, cut: Callable[[Any], Any], **changes: Any) -> Batch:
        columns = (
            "table",
            "keys",
            "rendered",
            "operations",
            "previous",
            "before",
            "identifiers",
            "states",
            "stamps",
        )
        parts: dict[str, Any] = {
            name: None if getattr(self, name) is None else cut(getattr(self, name)) for name in columns
        }
        return replace(self, **parts, packed=None, **changes)

    def in_state(self, *wanted: RecordState) -> list[int]:
        """The indexes of the records in one of these states."""
        if self.states is None:
            return [] if "fresh" not in wanted else list(range(len(self)))
        return [index for index, state in enumerate(self.states.to_pylist()) if (state or "fresh") in wanted]

    def with_state(self, state: RecordState, indices: Iterable[int]) -> Batch:
        """The same, with some records in another state."""
        states: list[RecordState | None] = [None] * len(self) if self.states is None else self.states.to_pylist()
        for index in indices:
            states[index] = state
        return replace(self, states=pa.array(states, pa.string()))

    def key_of(self, index: int) -> Any:
        """The model's key of one record: a value, or a dict for keys of several columns."""
        row = python_rows(self.keys.slice(index, 1))[0]
        return next(iter(row.values())) if len(row) == 1 else row

    # Outcomes, in the words that a connector uses.

    def delivered(
        self, *, identifiers: Mapping[int, str] | None = None, request_id: str = "", effects: Effects = UNTOLD
    ) -> Outcomes:
        return Outcomes(DELIVERED, identifiers=identifiers or {}, request_id=request_id, effects=effects)

    def rejected(self, reason: str, *, code: str = "", request_id: str = "") -> Outcomes:
        """All records refused, for a reason that holds for each of them."""
        return Outcomes(Outcome("rejected", shortened(reason), code), request_id=request_id)

    def refused(self, reason: str, *, code: str = "", request_id: str = "") -> Outcomes:
        """The batch refused as a whole, without naming a record: delivery finds the culprit by halving."""
        outcome = Outcome("rejected", shortened(reason), code)
        return Outcomes(outcome, attributed=len(self) == 1, request_id=request_id)

    def unknown(self, reason: str = "") -> Outcomes:
        return Outcomes(Outcome("unknown", shortened(reason)))

    def outcomes(
        self,
        exceptions: Mapping[int, Outcome],
        *,
        common: Outcome = DELIVERED,
        identifiers: Mapping[int, str] | None = None,
        request_id: str = "",
        effects: Effects = UNTOLD,
    ) -> Outcomes:
        found = Outcomes(common, exceptions, identifiers=identifiers or {}, request_id=request_id, effects=effects)
        return found.simplified()


def python_rows(rows: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows as Python values, a dict each. A time that Python cannot hold (nanoseconds, the year 10000) is ISO text."""
    columns = [python_values(column) for column in rows.columns]
    names = rows.schema.names
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def python_values(column: Any) -> list[Any]:
    """As `python_rows`, for one column. A real of 32 bits is the number that its shortest digits say: 0.1."""
    kind, types = column.type, pa.types
    if not _is_plain(kind):
        if isinstance(column, pa.ChunkedArray):
            return [value for chunk in column.chunks for value in python_values(chunk)]
        if types.is_struct(kind):
            return _structs(column)
        if types.is_map(kind):
            return _maps(column)
        if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
            return _lists(column, python_values(column.flatten()))
    if types.is_float32(kind) or types.is_float16(kind):
        wide: list[Any] = column.cast(pa.float32()).cast(pa.string()).cast(pa.float64()).to_pylist()
        return wide
    if types.is_timestamp(kind) and kind.unit == "ns":
        # whole microseconds as Python's own time, finer ones as they are written
        wholes = python_values(column.cast(pa.timestamp("us", kind.tz), safe=False))
        counts, texts = column.cast(pa.int64()).to_pylist(), _iso(column)
        return [
            text if count is not None and count % 1_000 else whole
            for count, whole, text in zip(counts, wholes, texts, strict=True)
        ]
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError):
        values = _iso(column)
    return values


def _cells(column: Any) -> Any:
    """A column in what the writer of CSV takes as it is; lists, structs, bytes and decimals with exponents as text."""
    import pyarrow.compute as pc

    kind, types = column.type, pa.types
    written = types.is_nested(kind) or types.is_binary(kind)
    if types.is_decimal(kind):
        written = pc.any(pc.match_substring(column.cast(pa.string()), "E")).as_py()
    if not written:
        return column
    return pa.array([None if value is None else as_text(value) for value in python_values(column)], pa.string())


def _is_plain(kind: pa.DataType) -> bool:
    """Does it hold nothing that Python would hold otherwise than it is written?"""
    types = pa.types
    return not types.is_nested(kind) or types.is_union(kind)


def _lists(column: Any, items: list[Any]) -> list[Any]:
    import pyarrow.compute as pc

    found: list[Any] = []
    start = 0
    for length in pc.list_value_length(column).to_pylist():
        found.append(None if length is None else items[start : start + length])
        start += length or 0
    return found


def _structs(column: Any) -> list[Any]:
    names = [column.type.field(index).name for index in range(column.type.num_fields)]
    members = [python_values(column.field(index)) for index in range(len(names))]
    rows = zip(*members, strict=True) if members else [()] * len(column)
    return [
        dict(zip(names, row, strict=True)) if there else None
        for there, row in zip(column.is_valid().to_pylist(), rows, strict=True)
    ]


def _maps(column: Any) -> list[Any]:
    """A dict each; pairs where a key cannot be one of a dict."""
    kind = column.type
    pairs = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
    found = python_values(column.cast(pa.list_(pairs)))
    try:
        return [None if each is None else {pair["key"]: pair["value"] for pair in each} for each in found]
    except TypeError:
        return [None if each is None else [(pair["key"], pair["value"]) for pair in each] for each in found]


def _iso(column: Any) -> list[Any]:
    """Dates and times as text in ISO 8601, a fraction only where it is not zero."""
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return [None if text is None else _FRACTION.sub(_shortened, text.replace(" ", "T")) for text in texts]


_FRACTION = re.compile(r"\.(\d*?)0*(Z?)$")


def _shortened(found: re.Match[str]) -> str:
    return (found[1] and f".{found[1]}") + found[2]


def part_number(sequence: int, length: int) -> int:
    """A number for a run of records of a plan, unlike that of any whole batch and any other run."""
    assert sequence < 1 << 45
    assert length < 1 << 17
    return 1 << 62 | sequence << 17 | length


def json_bytes(value: object) -> bytes:
    """A small value as JSON without spaces. Refuses NaN and lone surrogates (ValueError)."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")
