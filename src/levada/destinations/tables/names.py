"""Names of tables, schemas and columns: how they are read from `to:` and the only way they get into SQL."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from levada.errors import ConfigError


@dataclass(frozen=True, slots=True)
class TableName:
    """A table. `schema` is empty for the connection's own default."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}" if self.schema else self.table

    def beside(self, table: str) -> TableName:
        """Another table of the same schema."""
        return TableName(self.schema, table)


def quoted(name: str, mark: str = '"', *, bytes_max: int = 63) -> str:
    """A name as SQL, in quotes; a quote inside is doubled.

    Refuses (ConfigError) what no database can name: nothing, U+0000, lone surrogates, and names over
    `bytes_max` bytes, which some databases would cut in silence.
    """
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name!r} is no name: it is not valid Unicode", code="destination.name") from error
    if not name or "\0" in name:
        raise ConfigError(f"{name!r} is no name of a table or column", code="destination.name")
    if size > bytes_max:
        raise ConfigError(
            f"the name {name[:40]!r}… has {size} bytes; the database takes {bytes_max}", code="destination.name"
        )
    return mark + name.replace(mark, mark * 2) + mark


def table_name(text: str) -> TableName:
    """`table` or `schema.table`; a part in double quotes may hold dots, a doubled quote means one.

    Raises ConfigError for anything else.
    """
    parts: list[str] = []
    rest = text
    while True:
        part, rest = _first_part(rest, text)
        parts.append(part)
        if not rest:
            break
        rest = rest[1:]
    if len(parts) > 2 or not all(parts):
        raise _no_table(text)
    return TableName(parts[0] if len(parts) == 2 else "", parts[-1])


def _first_part(rest: str, whole: str) -> tuple[str, str]:
    """The first part of a dotted name, and what follows it (empty, or beginning with the dot)."""
    if not rest.startswith('"'):
        part, dot, after = rest.partition(".")
        if '"' in part:
            raise _no_table(whole)
        return part, dot + after
    position, found = 1, ""
    while True:
        end = rest.find('"', position)
        if end < 0:
            raise _no_table(whole)
        found += rest[position:end]
        if rest[end + 1 : end + 2] != '"':
            break
        found += '"'
        position = end + 2
    after = rest[end + 1 :]
    if after and not after.startswith("."):
        raise _no_table(whole)
    return found, after


def _no_table(text: str) -> ConfigError:
    return ConfigError(
        f"{text!r} is no name of a table",
        code="destination.object",
        hint='write `table` or `schema.table`; put a part that has dots of its own in double quotes: `"odd.name"`',
    )


def derived(prefix: str, plan_id: str, table: str) -> str:
    """The name of a table of ours that belongs to one plan's work on one table: short, and always the same."""
    digest = hashlib.sha256(f"{plan_id}\n{table}".encode()).hexdigest()
    return f"{prefix}_{digest[:16]}"


def place_of(file: Path) -> str:
    """A file, whatever it is called: links lead to the same one."""
    try:
        found = file.stat()
    except OSError:
        return str(file.resolve())
    return f"{found.st_dev}:{found.st_ino}"
