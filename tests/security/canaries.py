"""Canaries: values that stand nowhere else in the world, and the search for them in everything that a program leaves.

A secret is looked for in every encoding and by its beginning too, so that one which was cut in the middle is found.
"""

from __future__ import annotations

import base64
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq

CUT = 9
"""So many characters of a secret tell it; fewer may stand there."""

ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "raw": lambda data: data.decode(),
    "url": lambda data: quote(data, safe=""),
    "form": quote_plus,
    "json": lambda data: json.dumps(data.decode())[1:-1],
    "json in json": lambda data: json.dumps(json.dumps(data.decode())[1:-1])[1:-1],
    "hex": lambda data: data.hex(),
    "repr of bytes": lambda data: repr(data)[2:-1],
    "base64": lambda data: base64.b64encode(data).decode(),
    "url-safe base64": lambda data: base64.urlsafe_b64encode(data).decode(),
    "base64 after one byte": lambda data: base64.b64encode(b"x" + data).decode()[2:],
    "base64 after two bytes": lambda data: base64.b64encode(b"xx" + data).decode()[3:],
}


def needles(value: str) -> dict[str, bytes]:
    """What is looked for, by the encoding: the beginning of each form of the value."""
    return {name: encode(value.encode())[:CUT].encode() for name, encode in ENCODINGS.items()}


def found(data: bytes, values: Iterable[str]) -> list[str]:
    """The canaries that are in the data, with their encoding."""
    return [f"{value} as {name}" for value in values for name, needle in needles(value).items() if needle in data]


def outputs(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file below a folder: its bytes as they are, and what a reader of its format finds inside."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        data = path.read_bytes()
        yield name, data
        if path.suffix == ".parquet":
            yield f"{name}, read", json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode()
        elif data.startswith(b"SQLite format 3"):
            yield from tables(path, name)


def tables(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    """Each table of a SQLite file, its values one after the other."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
            yield f"{name}:{table}", b"\n".join(_bytes(value) for row in rows for value in row)
    finally:
        connection.close()


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def processes() -> Iterator[tuple[str, bytes]]:
    """What the arguments and the environments of all processes but this one say, for whoever may look."""
    for folder in Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        for what in ("cmdline", "environ"):
            try:
                yield f"{what} of {folder.name}", (folder / what).read_bytes()
            except OSError:
                continue
