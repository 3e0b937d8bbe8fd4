"""Names and literals inside DuckDB statements: the only place where text becomes SQL.

Everything that the planners splice into a statement is an identifier quoted here, a literal quoted here, or
an expression that `levada.planners.expressions` has checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from levada.errors import ConfigError


def quoted(name: str) -> str:
    """An identifier. Refuses (ConfigError) the character U+0000, which no DuckDB identifier can hold."""
    if "\x00" in name:
        raise ConfigError(
            f"a name holds the character U+0000: {name!r}", code="config.name", hint="rename the column or the field"
        )
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text literal. U+0000 is put in by chr(0), since a statement may not hold it."""
    if "\x00" in value:
        return "(" + " || chr(0) || ".join(text(part) for part in value.split("\x00")) + ")"
    return "'" + value.replace("'", "''") + "'"


def path(value: Path) -> str:
    return text(str(value))


def parquet(file: Path, options: str = "") -> str:
    """A scan of exactly one Parquet file: its name is never taken for a pattern."""
    return f"read_parquet({text(escaped(file))}{options and ', ' + options})"


def escaped(file: Path) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"[{sign}]" if sign in "[*?" else sign for sign in str(file))


def columns(prefix: str, count: int, table: str = "") -> str:
    """`k0, k1, …`, each with the table's name in front if one is given."""
    start = f"{table}." if table else ""
    return ", ".join(f"{start}{prefix}{index}" for index in range(count))


def equal(left: str, right: str, prefix: str, count: int) -> str:
    """The condition that two tables agree in `prefix0 …`; NULLs never do."""
    return " AND ".join(f"{left}.{prefix}{index} = {right}.{prefix}{index}" for index in range(count))


def listed(parts: Iterable[str]) -> str:
    return ", ".join(part for part in parts if part)


def any_of(conditions: Sequence[str]) -> str:
    return "(" + " OR ".join(conditions) + ")" if conditions else "false"
