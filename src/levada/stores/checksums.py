"""Checksums of the store's rows, and what is said when one does not hold.

SQLite notices a damaged page, but not a flipped byte inside a value. So each row carries the XXH3-64 of its
content, and nothing is read without comparing it. This guards against decay, not against an attacker.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xxhash import xxh3_64_intdigest

from levada.errors import CorruptedError

if TYPE_CHECKING:
    from levada.stores.database import Database

Value = str | int | float | bytes | None
Row = tuple[Any, ...]

REBUILD_HINT = "`levada resync {sync} --rebuild` drops what is recorded for the sync and compares everything anew"
ACCEPT_HINT = (
    "`levada doctor --accept-rollback` goes on with what is legible, trusts no ledger, and sends again what differs"
)


def seal(table: str, values: Sequence[Value]) -> int:
    """The checksum of a row, as SQLite's signed 64-bit integer."""
    return xxh3_64_intdigest(as_bytes([table, *values])) - (1 << 63)


def as_bytes(values: Sequence[Value]) -> bytes:
    """Any values that SQLite holds, written so that different ones differ."""
    return json.dumps(values, separators=(",", ":"), default=_as_text).encode("ascii")


def sealed(table: str, values: Sequence[Value]) -> Row:
    """The values with their checksum behind them."""
    return (*values, seal(table, values))


def holds(table: str, row: Sequence[Value]) -> bool:
    """Is the last value of the row the checksum of those before it?"""
    return row[-1] == seal(table, row[:-1])


def verified(table: str, row: Row, *, what: str, hint: str = ACCEPT_HINT) -> Row:
    """The row without its checksum. Raises CorruptedError naming `what` if it is not as written."""
    if not holds(table, row):
        raise damaged(what, hint)
    return row[:-1]


def sought(
    database: Database, statements: str, table: str, *key: str, what: str, hint: str = ACCEPT_HINT
) -> Row | None:
    """The verified row of a key, without its checksum; None if there never was one. Wants a transaction around it.

    Raises CorruptedError naming `what` if it is not as written, or hides behind a damaged key: then the table's second
    copy of the keys has it.
    """
    row = database.row(f"{statements}read", *key)
    if row is not None:
        return verified(table, row, what=what, hint=hint)
    if database.row(f"{statements}key", *key) is not None:
        raise damaged(what, hint)
    return None


def damaged(what: str, hint: str = ACCEPT_HINT) -> CorruptedError:
    return CorruptedError(f"{what} is not what was written", code="store.corrupted", hint=hint)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return f"\x00bytes:{value.hex()}"
    raise TypeError(type(value))
