"""A plan's id: a digest of its content that does not depend on the order of its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from levada.planners import sql
from levada.planners.engine import Engine

ID_DIGITS = 12
NARROW_COLUMNS = ("hash", "operation")


def plan_id(engine: Engine, sync: str, folder: Path, rows: Mapping[str, int], facts: Mapping[str, Any]) -> str:
    """`<sync>@<12 hex digits>` of the operation files in `folder` and `facts`, which are JSON-like.

    Added rows count by key and hash, which covers their values; changed and removed ones by everything.
    """
    content: dict[str, Any] = dict(facts)
    for kind in ("removed", "changed", "added"):
        if rows.get(kind):
            content[kind] = [rows[kind], *_sums(engine, folder / f"{kind}.parquet", narrow=kind == "added")]
    text = json.dumps(content, sort_keys=True, default=str, separators=(",", ":"))
    return f"{sync}@{hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]}"


def _sums(engine: Engine, file: Path, *, narrow: bool) -> list[str]:
    names = list(engine.types(f"SELECT * FROM {sql.parquet(file)}"))
    if narrow:
        names = [name for name in names if name.startswith("key.") or name in NARROW_COLUMNS]
    row = f"hash({sql.listed(sql.quoted(name) for name in names)})"
    found = engine.row(f"SELECT sum({row}), bit_xor({row}) FROM {sql.parquet(file)}")
    return [str(part) for part in found]
