"""The files of one table, and how their paths are written in SQL.

Not here: which files make a table (`levada.sources.files`), and what is in them (`levada.sources.file_types`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from levada.sources.statements import identifier, literal

Format = Literal["parquet", "csv", "json"]


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table, sorted. `partitioned`: folders named `column=value` are columns."""

    format: Format
    paths: tuple[Path, ...]
    partitioned: bool = False

    @property
    def partitions(self) -> str:
        """The option by which DuckDB's readers take, or leave, the folders' names for columns."""
        if self.partitioned:
            return "hive_partitioning = true, hive_types_autocast = false"
        return "hive_partitioning = false"


def file_list(paths: Iterable[Path]) -> str:
    """Paths as a list of SQL texts."""
    return f"[{', '.join(literal(escaped(path)) for path in paths)}]"


def escaped(path: Path) -> str:
    """A path as DuckDB reads it literally: it would take some characters of a name for a pattern."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(path))


def clashing(names: Sequence[str]) -> tuple[str, str] | None:
    """Two names that differ in case at most."""
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            return seen[name.casefold()], name
        seen[name.casefold()] = name
    return None


def refusing(statement: str, columns: Mapping[str, str], others: Mapping[str, str] | None = None) -> str:
    """A SELECT whose columns say why they cannot be read as soon as a query asks for them, and not before.

    `columns`: a refusal for each such column (`levada.source.refusal`); `others`: SQL for further columns.
    """
    items = [f"error({literal(said)})::VARCHAR AS {identifier(name)}" for name, said in columns.items()]
    items += [f"{sql} AS {identifier(name)}" for name, sql in (others or {}).items()]
    return f"SELECT * REPLACE ({', '.join(items)}) FROM ({statement})" if items else statement
