"""Reads a plan's operations back as columns, renders the records, and cuts them into batches.

Rendering is DuckDB's, in a thread beside the sending; no Python object is made per row. Chunks come in the
order of the plan's files, so that an operation's place is its sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from levada.batch import Batch, RecordState
from levada.change import Kind, Verb
from levada.delivery.order import DeliveryOrder
from levada.limits import Limits
from levada.mapping import digest
from levada.planner import REMOVAL, Settled
from levada.sql.connection import connect
from levada.sql.template import Columns, before_of, previous_of, template_sql, values_of
from levada.sql.text import literal, quoted
from levada.sql.types import Type, type_of
from levada.template import Node, placeholders

if TYPE_CHECKING:
    import duckdb

MEMORY = "160MB"
CHUNK_ROWS = 20_480
"""Rows rendered at a time for small records."""
WIDE_CHUNK_ROWS = 122_880
"""Rows read at a time for writers of tables."""
CHUNK_BYTES = 16 << 20
"""About the most bytes read at a time; a heavier record is read by itself."""
THREADS_ROWS = 16
"""Where fewer rows than these are read at a time, one thread renders: each holds several copies of a row."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive operations of one kind. `columns` is named as the reader's SQL names them."""

    kind: Kind
    first: int
    columns: pa.Table

    def __len__(self) -> int:
        return int(self.columns.num_rows)


@dataclass(slots=True)
class PlanReader:
    """Reads one order's plan. One per thread; `close` when done."""

    order: DeliveryOrder
    memory: str = MEMORY
    _connection: duckdb.DuckDBPyConnection | None = field(default=None, init=False)

    def chunks(
        self,
        kind: Kind,
        verb: Verb,
        node: Node | None,
        *,
        start: int = 0,
        stop: int | None = None,
        rows: int = CHUNK_ROWS,
        with_operations: bool = False,
        with_before: bool = False,
    ) -> Iterator[Chunk]:
        """The operations of a kind, from its `start`-th on, rendered for a verb if `node` is given.

        At most `rows` in a chunk, and as many as weigh CHUNK_BYTES.
        `with_before`: with the values last confirmed too, where the plan has them and the records do not hold them.
        """
        connection = self._open()
        select = self._select(kind, verb, node, with_operations)
        if with_before:
            select = ", ".join([select, *self._last_confirmed(kind, verb)])
        path = self.order.folder / self.order.plan.files[kind].name
        where = [] if not start else [f"file_row_number >= {start}"]
        if stop is not None:
            where.append(f"file_row_number < {stop}")
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        numbered = ", file_row_number = true" if where else ""
        query = f"SELECT {select} FROM read_parquet({literal(str(path))}{numbered}){condition}"
        first = self.order.plan.first(kind) + start
        with connection.cursor() as cursor:
            reader = cursor.sql(query).to_arrow_reader(rows_within(path, rows))
            for batch in reader:
                if batch.num_rows:
                    yield Chunk(kind, first, pa.Table.from_batches([batch]))
                    first += batch.num_rows

    def range(
        self, kind: Kind, verb: Verb, node: Node | None, start: int, stop: int, *, with_operations: bool
    ) -> Chunk:
        """Operations [start, stop) of a kind, in one chunk."""
        parts = list(self.chunks(kind, verb, node, start=start, stop=stop, with_operations=with_operations))
        return Chunk(kind, parts[0].first, pa.concat_tables([part.columns for part in parts]).combine_chunks())

    def in_state(self, kind: Kind, state: RecordState, *, stamped: bool) -> pa.Array[Any]:
        """Which operations of a kind, from 0, have records in a state; with `stamped`, also those whose create was sent
        under a key that expires."""
        states = self._states(kind, self.types(kind))
        names = [column.rpartition(" AS ")[2] for column in states]
        wanted = [f"record_state = '{state}'"] if "record_state" in names else []
        wanted += ["stamp IS NOT NULL"] if stamped and "stamp" in names else []
        if not wanted:
            return pa.array([], pa.int64())
        path = literal(str(self.order.folder / self.order.plan.files[kind].name))
        query = (
            f"SELECT file_row_number AS place, {', '.join(states)} FROM read_parquet({path}, file_row_number = true)"
        )
        found: Any = self._open().sql(f"SELECT place FROM ({query}) WHERE {' OR '.join(wanted)} ORDER BY 1")
        places: pa.Array[Any] = found.to_arrow_table()["place"].combine_chunks().cast(pa.int64())
        return places

    def with_operations(self, settled: Settled, stamps: Mapping[int, str]) -> Settled:
        """The same, with the ids under which unknown operations were sent, so that a later run can use them again.

        `stamps`: by sequence, the ids that expire, with the moments at which they were first sent.
        """
        exceptions = settled.exceptions
        if exceptions is None or "unknown" not in pc.unique(exceptions["settlement"]).to_pylist():
            return settled
        connection = self._open()
        connection.register("exceptions", exceptions)
        selects: list[str] = []
        for kind in self.order.plan.files:
            path = self.order.folder / self.order.plan.files[kind].name
            operation = operation_sql(self.order, kind, self.types(kind))
            selects.append(
                f"SELECT file_row_number + {self.order.plan.first(kind)} AS place, {operation} AS made "
                f"FROM read_parquet({literal(str(path))}, file_row_number = true) "
                f"SEMI JOIN (SELECT * FROM exceptions WHERE settlement = 'unknown') AS e "
                f"ON e.sequence = file_row_number + {self.order.plan.first(kind)}"
            )
        union = " UNION ALL ".join(selects)
        places, kept = pa.array(stamps.keys(), pa.int64()), pa.array(stamps.values(), pa.string())
        connection.register("stamps", pa.table({"stamped": places, "stamp": kept}))
        table = connection.sql(
            "SELECT sequence, settlement, coalesce(stamp, made) AS operation FROM exceptions "
            f"LEFT JOIN ({union}) ON place = sequence LEFT JOIN stamps ON stamped = sequence"
        ).to_arrow_table()
        connection.unregister("exceptions")
        connection.unregister("stamps")
        return replace(settled, exceptions=table)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _open(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            spill = str(self.order.folder / "spill")
            files = (self.order.folder / file.name for file in self.order.plan.files.values())
            heavy = any(rows_within(path, THREADS_ROWS) < THREADS_ROWS for path in files)
            self._connection = connect(memory_limit=self.memory, threads=1 if heavy else 2, temp_directory=spill)
        return self._connection

    def types(self, kind: Kind) -> dict[str, Type]:
        """The columns of a kind's file, with DuckDB's types."""
        path: Path = self.order.folder / self.order.plan.files[kind].name
        relation = self._open().sql(f"SELECT * FROM read_parquet({literal(str(path))}) LIMIT 0")
        return {name: type_of(str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def _select(self, kind: Kind, verb: Verb, node: Node | None, with_operations: bool) -> str:
        types = self.types(kind)
        order = self.order
        parts = [f"{quoted('key.' + key)}" for key in order.plan.keys]
        values = values_of(kind, verb, order.plan.fields, order.mapping.match, types)
        parts += [f"{column.sql} AS {quoted('field.' + name)}" for name, column in values.items()]
        previous = previous_of(kind, order.mapping.match, types)
        parts += [f"{column.sql} AS {quoted('previous.' + name)}" for name, column in previous.items()]
        if "identifier" in types:
            parts.append("identifier")
        parts += self._states(kind, types)
        operation = operation_sql(order, kind, types)
        used = {place.source for place in placeholders(node)} if node is not None else set()
        if with_operations or "operation" in used:
            parts.append(f"{operation} AS operation_id")
        if node is not None:
            columns = Columns(
                fields=values,
                match=previous or {name: values[name] for name in order.mapping.match},
                before=before_of(order.plan.fields, types),
                skip_nulls=order.mapping.nulls == "skip" and kind != "removed",
                changed=self._changed(kind, types),
                destination_id="identifier" if "identifier" in types else "NULL::VARCHAR",
                operation=operation,
                batch={"kind": kind, "verb": verb, "object": order.object, "sync": order.sync},
            )
            parts.append(f"{template_sql(node, columns)} AS rendered")
        return ", ".join(parts)

    def _last_confirmed(self, kind: Kind, verb: Verb) -> list[str]:
        if kind == "added" or (kind == "removed" and verb not in ("update", "upsert")):
            return []
        return [quoted("before." + name) for name in self.order.plan.fields]

    def _states(self, kind: Kind, types: dict[str, Type]) -> list[str]:
        """The columns `state` (see RecordState; NULL is fresh) and `stamp` (the key of a create that expires)."""
        if kind == "changed" and "state" in types and self.order.plan.purpose == "sync":
            same = " AND ".join(
                f"{quoted('before.' + name)} IS NOT DISTINCT FROM {quoted('after.' + name)}"
                for name in self.order.plan.fields
            )
            found = [f"CASE WHEN state <> 'confirmed' AND {same} THEN 'sent' END AS record_state"]
        elif "operation" not in types:
            return []
        elif kind == "removed":
            found = [f"CASE WHEN operation = '{REMOVAL}' THEN 'sent' END AS record_state"]
        else:
            sent = f"WHEN operation = '{REMOVAL}' THEN 'removing' WHEN operation IS NOT NULL THEN 'sent'"
            found = [f"CASE {sent} END AS record_state"]
        if "operation" in types:
            found.append("CASE WHEN contains(operation, '@') THEN operation END AS stamp")
        return found

    def _changed(self, kind: Kind, types: dict[str, Type]) -> dict[str, str] | None:
        """For confirmed rows: the condition under which a field changed.

        A field that came back to the mapping did: what the record holds of it is not known (column `returned`).
        """
        if kind != "changed":
            return None
        back = "returned" in types
        unknown = "state IS DISTINCT FROM 'confirmed' OR " if "state" in types else ""
        return {
            name: f"({unknown}{f'coalesce(list_contains(returned, {literal(name)}), false) OR ' if back else ''}"
            f"{quoted('before.' + name)} IS DISTINCT FROM {quoted('after.' + name)})"
            for name in self.order.plan.fields
        }


def rows_within(path: Path, rows: int) -> int:
    """How many rows of a plan's file to read at a time: at most `rows`, and as many as weigh CHUNK_BYTES.

    A file's row groups are cut by weight, so that the heaviest of them tells.
    """
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    heaviest = max((group.total_byte_size / group.num_rows for group in groups if group.num_rows), default=1.0)
    return max(1, min(rows, int(CHUNK_BYTES / max(1.0, heaviest))))


def operation_sql(order: DeliveryOrder, kind: Kind, types: Mapping[str, Type] | Mapping[str, str]) -> str:
    """The id of an operation, 32 hex digits: an earlier attempt's, else made of the plan and the key.

    The plan's id depends on the ledger's generation and on every value, so it changes when the operation
    does, and stays the same over attempts and restarts (E5).
    """
    keys = ", ".join(f"to_json({quoted('key.' + key)})" for key in order.plan.keys)
    made = f"left(sha256(concat_ws('|', {literal(order.plan.plan_id)}, {keys})), 32)"
    if "operation" not in types or kind == "removed":
        return made
    return f"coalesce(nullif(split_part(operation, '@', 1), '{REMOVAL}'), {made})"


def cut(chunk: Chunk, limits: Limits, *, last: bool) -> tuple[list[tuple[int, int]], int]:
    """Where batches begin and end in a chunk, as (start, length), and how many rows they cover.

    A batch holds at most `records_per_request` records and, as a JSON array, `bytes_per_request` bytes; a
    record longer than that goes alone. Unless this is the last chunk, rows that do not fill a batch are left.
    """
    size = len(chunk)
    step = limits.records_per_request
    if "rendered" not in chunk.columns.column_names:
        stops = list(range(step, size + 1, step))
        if last and (not stops or stops[-1] < size):
            stops.append(size)
        return [(start, stop - start) for start, stop in pairwise([0, *stops])], stops[-1] if stops else 0
    lengths = pc.binary_length(chunk.columns["rendered"])
    most = pc.max(lengths).as_py() or 0
    if (most + 1) * step + 1 <= limits.bytes_per_request:
        return cut(Chunk(chunk.kind, chunk.first, chunk.columns.drop_columns(["rendered"])), limits, last=last)
    batches: list[tuple[int, int]] = []
    start, weight = 0, 1
    for index, length in enumerate(lengths.to_pylist()):
        if index > start and (weight + length + 1 > limits.bytes_per_request or index - start >= step):
            batches.append((start, index - start))
            start, weight = index, 1
        weight += length + 1
    if last and start < size:
        batches.append((start, size - start))
        start = size
    return batches, start


def joined(rest: Chunk | None, chunk: Chunk) -> Chunk:
    """What was left of the chunk before, and this one, as one."""
    if rest is None:
        return chunk
    return Chunk(chunk.kind, rest.first, pa.concat_tables([rest.columns, chunk.columns]).combine_chunks())


@dataclass(frozen=True, slots=True)
class Parts:
    """A chunk's columns by what they are for."""

    fields: pa.Table
    keys: pa.Table
    previous: pa.Table | None
    before: pa.Table | None
    rendered: pa.Array[Any] | None
    operations: pa.Array[Any] | None
    identifiers: pa.Array[Any] | None
    states: pa.Array[Any] | None
    stamps: pa.Array[Any] | None

    @staticmethod
    def of(chunk: Chunk) -> Parts:
        columns = chunk.columns
        return Parts(
            fields=_group(columns, "field."),
            keys=_group(columns, "key."),
            previous=_group(columns, "previous.") if chunk.kind != "added" else None,
            before=_group(columns, "before.") if any(n.startswith("before.") for n in columns.column_names) else None,
            rendered=_column(columns, "rendered"),
            operations=_column(columns, "operation_id"),
            identifiers=_column(columns, "identifier"),
            states=_column(columns, "record_state"),
            stamps=_column(columns, "stamp"),
        )

    def packed(self, ranges: Sequence[tuple[int, int]]) -> list[pa.Buffer] | None:
        """The rendered records of consecutive ranges, each joined by commas, in one step for all of them."""
        if self.rendered is None or not ranges:
            return None
        offsets = pa.array([ranges[0][0], *(start + length for start, length in ranges)], pa.int32())
        texts: Any = pc.binary_join(pa.ListArray.from_arrays(offsets, self.rendered), ",")
        return [text.as_buffer() for text in texts]


class BatchMaker:
    """Makes batches of one order's chunks."""

    def __init__(self, order: DeliveryOrder) -> None:
        self._order = order

    def batch(self, chunk: Chunk, verb: Verb, number: int, start: int, length: int) -> Batch:
        """Rows [start, start + length) of a chunk as a batch."""
        return self.of_parts(chunk, Parts.of(chunk), verb, number, start, length)

    def of_parts(
        self,
        chunk: Chunk,
        parts: Parts,
        verb: Verb,
        number: int,
        start: int,
        length: int,
        packed: pa.Buffer | None = None,
    ) -> Batch:
        """As `batch`, for many batches of one chunk."""
        order = self._order
        operations = _slice(parts.operations, start, length)
        key = self.key(chunk.first + start, length)
        if length == 1 and operations is not None:
            key = operations[0].as_py()
        return Batch(
            sync=order.sync,
            plan_id=order.plan.plan_id,
            number=number,
            sequence=chunk.first + start,
            kind=chunk.kind,
            verb=verb,
            object=order.object,
            match=order.mapping.match,
            table=parts.fields.slice(start, length),
            keys=parts.keys.slice(start, length),
            idempotency_key=key,
            rendered=_slice(parts.rendered, start, length),
            operations=operations,
            previous=None if parts.previous is None else parts.previous.slice(start, length),
            before=None if parts.before is None else parts.before.slice(start, length),
            identifiers=_slice(parts.identifiers, start, length),
            states=_known(parts.states, start, length),
            stamps=_known(parts.stamps, start, length),
            packed=packed,
        )

    def key(self, first: int, size: int) -> str:
        """The idempotency key of a batch: the same whenever the same operations of the same plan are sent."""
        return digest([self._order.plan.plan_id, first, size]) + digest([first, self._order.plan.plan_id])


def _slice(column: pa.Array[Any] | None, start: int, length: int) -> pa.Array[Any] | None:
    return None if column is None else column.slice(start, length)


def _known(column: pa.Array[Any] | None, start: int, length: int) -> pa.Array[Any] | None:
    """As `_slice`; None where nothing is known of any record."""
    part = _slice(column, start, length)
    return None if part is None or part.null_count == length else part


def _group(table: pa.Table, prefix: str) -> pa.Table:
    names = [name for name in table.column_names if name.startswith(prefix)]
    return table.select(names).rename_columns([name[len(prefix) :] for name in names])


def _column(table: pa.Table, name: str) -> pa.Array[Any] | None:
    if name not in table.column_names:
        return None
    column: Any = table[name]
    return cast("pa.Array[Any]", column.chunk(0) if column.num_chunks == 1 else column.combine_chunks())
