"""What the columns of a table of files are, found from the files alone, by rules that never lose a value.

Each format has its own module: `csv_files` and `json_files` look at every value, `parquet_files` at the schemas.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from levada.sources import csv_files, json_files, parquet_files
from levada.sources.encoding import Copies, Encoding, codec_of
from levada.sources.json_files import Pinned
from levada.sources.running import Running
from levada.sources.table_files import TableFiles
from levada.sql.connection import connect

INFERENCE_MEMORY = "384MB"


@dataclass(frozen=True, slots=True)
class View:
    """The SELECT over a table's files with every column typed, and the texts in UTF-8 that it reads."""

    select: str
    copies: Copies | None = None
    paths: tuple[Path, ...] = ()


def view(table: TableFiles, text: Iterable[str], json: Iterable[str], encoding: Encoding, running: Running) -> View:
    """How the table is read. `text`, `json`: columns whose kind is declared. Raises SourceError or DuckDB's errors."""
    pinned = Pinned(frozenset(name.casefold() for name in text), frozenset(name.casefold() for name in json))
    with connect(memory_limit=INFERENCE_MEMORY) as connection, running.on(connection.interrupt):
        if table.format == "parquet":
            return View(parquet_files.select(connection, table))
        readable, copies = _in_utf8(table, encoding)
        if table.format == "csv":
            select = csv_files.select(connection, table, set(pinned.text), readable)
        else:
            select = json_files.select(connection, table, pinned, readable)
        return View(select, copies, tuple(sorted(set(readable.values()))))


def _in_utf8(table: TableFiles, encoding: Encoding) -> tuple[dict[Path, Path], Copies | None]:
    """Where the text of each file is in UTF-8: the file, or a copy of it. JSON is UTF-8 unless a mark says else."""
    found: dict[Path, Path] = {}
    copies: Copies | None = None
    as_they_are = ("utf-8", "utf-8-sig") if table.format == "csv" else ("utf-8",)
    for path in table.paths:
        codec = codec_of(path, encoding if table.format == "csv" else "utf-8")
        if codec in as_they_are:
            found[path] = path
        else:
            copies = copies or Copies()
            found[path] = copies.of(path, codec)
    return found, copies
