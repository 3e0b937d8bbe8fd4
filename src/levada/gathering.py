"""Rows that come one by one, as an Arrow table whose memory has a bound however many they are."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import pyarrow as pa

ROWS = 16_384
"""So many rows are Python objects at a time."""
HELD_BYTES = 16 << 20
"""What is more goes to a file without a name, which is gone with the table."""


class Rows:
    """A table in the making. `append` a row, or `extend` by columns; `table` ends it.

    `folder` is where the file is made once more than HELD_BYTES are gathered; the table then lies in that file and
    only what is looked at is in memory. Raises OSError if the file cannot be written.
    """

    def __init__(self, schema: pa.Schema, folder: Path) -> None:
        self._schema = schema
        self._folder = folder
        self._columns: list[list[Any]] = [[] for _ in schema]
        self._batches: list[pa.RecordBatch] = []
        self._held = 0
        self._file: IO[bytes] | None = None
        self._writer: pa.RecordBatchFileWriter | None = None

    def __enter__(self) -> Rows:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, *values: object) -> None:
        """One row."""
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        if len(self._columns[0]) >= ROWS:
            self._flush()

    def extend(self, columns: Sequence[pa.Array[Any]]) -> None:
        """Rows of which the columns are there already."""
        self._flush()
        self._add(pa.record_batch(list(columns), schema=self._schema))

    def table(self) -> pa.Table:
        """All rows, in the order in which they came."""
        self._flush()
        if self._file is None or self._writer is None:
            return pa.Table.from_batches(self._batches, self._schema)
        self._writer.close()
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.py_buffer(mapped)).read_all()

    def _flush(self) -> None:
        if self._columns[0]:
            arrays = [pa.array(column, field.type) for column, field in zip(self._columns, self._schema, strict=True)]
            self._columns = [[] for _ in self._schema]
            self._add(pa.record_batch(arrays, schema=self._schema))

    def _add(self, batch: pa.RecordBatch) -> None:
        if self._writer is None and self._held + batch.nbytes <= HELD_BYTES:
            self._batches.append(batch)
            self._held += batch.nbytes
            return
        if self._writer is None:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by __exit__
            self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), self._schema)
            for held in self._batches:
                self._writer.write_batch(held)
            self._batches = []
        self._writer.write_batch(batch)
