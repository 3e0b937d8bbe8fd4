"""How rows are written as CSV, JSON lines and Parquet, exactly, and how parts become one file.

A `Format` takes rows it was given by `prepared`, which refuses what the format cannot hold. Not here: names
and places of files, which belong to `files`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

import pyarrow as pa

from levada.destinations.tables.values import as_json, decimal_text, is_nested, simple, simplified, storage
from levada.source import TYPE_KEY

FORMULA = "^[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]"
"""How text begins that a spreadsheet takes for a formula, full-width forms included."""
ROW_GROUP = 100_000


class Format(Protocol):
    """One kind of file."""

    @property
    def extension(self) -> str: ...

    @property
    def any_date(self) -> bool:
        """Can it hold dates of any year?"""
        ...

    @property
    def any_number(self) -> bool:
        """Can it hold numbers of any number of digits? They come as text, marked `numeric_text` (TYPE_KEY)."""
        ...

    def nonfinite(self, kind: pa.DataType) -> bool:
        """Can a column of this type hold NaN and the infinities?"""
        ...

    def holds(self, kind: pa.DataType) -> bool: ...

    def prepared(self, table: pa.Table) -> pa.Table:
        """The rows in the form that `write` takes. Raises Refused for a value that has no exact form."""
        ...

    def write(self, rows: pa.Table, file: IO[bytes]) -> None: ...

    def join(self, parts: Iterable[IO[bytes]], empty: pa.Table, file: IO[bytes]) -> None:
        """One file of several; `empty` has the columns, for when there are none."""
        ...


def unfit(form: Format, mapped: pa.Field[pa.DataType]) -> str | None:
    """Why a field cannot be in such a file, or None."""
    if form.holds(storage(mapped.type)):
        return None
    return f"the field {mapped.name} is {mapped.type}, which a {form.extension} file cannot hold"


def _is_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


def _without_exponent(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Decimals with many places are written out, as text: the writer of CSV would put 1E-7."""
    import pyarrow.compute as pc

    if not pa.types.is_decimal(column.type):
        return column
    compute = cast("Any", pc)
    odd = compute.any(compute.match_substring(column.cast(pa.string()), "E")).as_py()
    if not odd:
        return column
    texts = [None if value is None else decimal_text(value) for value in column.to_pylist()]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _is_number(field: pa.Field[Any]) -> bool:
    """Is it a number, as text?"""
    return (field.metadata or {}).get(TYPE_KEY) == b"numeric_text" and pa.types.is_string(field.type)


def _as_number(column: pa.ChunkedArray[Any]) -> Any:
    """Digits as a number in JSON."""
    storage: Any = column.combine_chunks()
    return pa.chunked_array([cast("Any", pa.ExtensionArray.from_storage(pa.json_(pa.string()), storage))])


def _as_decimal(column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
    """Digits as decimals, which stand without quotes in CSV, if all of them fit."""
    import pyarrow.compute as pc

    fit = cast("Any", pc).match_substring_regex(column, r"^-?\d{1,18}(\.\d{1,20})?$")
    return column.cast(pa.decimal128(38, 20)) if pc.all(fit).as_py() in (True, None) else column


@dataclass(frozen=True, slots=True)
class Csv:
    """RFC 4180 with a header: text in quotes, so that "" is empty text and nothing at all is NULL. A list or a struct
    is JSON in its cell."""

    escape_formulas: bool = True
    extension: str = "csv"
    any_date: bool = False
    any_number: bool = True

    def nonfinite(self, kind: pa.DataType) -> bool:
        return not is_nested(storage(kind))

    def holds(self, kind: pa.DataType) -> bool:
        return simple(kind) is not None and not _is_bytes(kind)

    def prepared(self, table: pa.Table) -> pa.Table:
        columns: list[pa.ChunkedArray[Any]] = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            form = column if column.type == pa.timestamp("ns") else simplified(column, name)
            if _is_number(table.schema.field(name)):
                form = _as_decimal(form)
            elif is_nested(form.type):
                form = as_json(form, name)
            elif pa.types.is_string(form.type):
                form = self._harmless(form)
            columns.append(form)
        return pa.table(columns, names=[self._harmless_name(name) for name in table.column_names])

    def _harmless(self, column: pa.ChunkedArray[Any]) -> pa.ChunkedArray[Any]:
        if not self.escape_formulas:
            return column
        import pyarrow.compute as pc

        compute = cast("Any", pc)
        found = compute.match_substring_regex(column, FORMULA)
        if not compute.any(found).as_py():
            return column
        return cast(
            "pa.ChunkedArray[Any]", compute.if_else(found, compute.binary_join_element_wise("'", column, ""), column)
        )

    def _harmless_name(self, name: str) -> str:
        found = self._harmless(pa.chunked_array([pa.array([name])])).to_pylist()[0]
        return str(found)

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        import pyarrow.csv as pa_csv

        columns = [_without_exponent(column) for column in rows.columns]
        plain = pa.table(columns, names=rows.column_names)
        pa_csv.write_csv(plain, file)

    def join(self, parts: Iterable[IO[bytes]], empty: pa.Table, file: IO[bytes]) -> None:
        import io

        head = io.BytesIO()
        self.write(empty, head)
        file.write(head.getvalue())
        for part in parts:
            assert part.read(len(head.getvalue())) == head.getvalue(), "a part with another header"
            shutil.copyfileobj(part, file)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """One JSON object a line, in UTF-8; NULL is null, a decimal a number with all its digits."""

    escape_formulas: bool = False
    extension: str = "jsonl"
    any_date: bool = False
    any_number: bool = True

    def nonfinite(self, kind: pa.DataType) -> bool:
        return False

    def holds(self, kind: pa.DataType) -> bool:
        return simple(kind) is not None and not _is_bytes(kind)

    def prepared(self, table: pa.Table) -> pa.Table:
        columns: list[pa.ChunkedArray[Any]] = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            form = column if column.type == pa.timestamp("ns") else simplified(column, name)
            columns.append(_as_number(form) if _is_number(table.schema.field(name)) else form)
        if not table.num_rows:
            return pa.table({"line": pa.array([], pa.string())})
        arrays = [column.combine_chunks() for column in columns]
        whole = pa.StructArray.from_arrays(cast("Any", arrays), names=table.column_names)
        return pa.table({"line": as_json(pa.chunked_array([whole]), "the record")})

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        lines = cast("list[str]", rows.column("line").to_pylist())
        if lines:
            file.write(("\n".join(lines) + "\n").encode())

    def join(self, parts: Iterable[IO[bytes]], empty: pa.Table, file: IO[bytes]) -> None:
        for part in parts:
            shutil.copyfileobj(part, file)


@dataclass(frozen=True, slots=True)
class Parquet:
    """Parquet with the model's own types."""

    escape_formulas: bool = False
    extension: str = "parquet"
    any_date: bool = True
    any_number: bool = False

    def nonfinite(self, kind: pa.DataType) -> bool:
        return True

    def holds(self, kind: pa.DataType) -> bool:
        return True

    def prepared(self, table: pa.Table) -> pa.Table:
        return table

    def write(self, rows: pa.Table, file: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        pq.write_table(rows, file, compression="zstd", row_group_size=ROW_GROUP)

    def join(self, parts: Iterable[IO[bytes]], empty: pa.Table, file: IO[bytes]) -> None:
        import pyarrow.parquet as pq

        with pq.ParquetWriter(file, empty.schema, compression="zstd") as writer:
            for part in parts:
                source = pq.ParquetFile(part)
                for index in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(index).cast(empty.schema))


FORMATS: dict[str, Callable[[bool], Format]] = {"csv": Csv, "jsonl": JsonLines, "parquet": Parquet}
