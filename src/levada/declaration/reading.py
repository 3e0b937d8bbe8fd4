"""Reads a declared file: its text, and its YAML as the class that says what may stand in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from levada.declaration.validation import validate
from levada.declaration.yaml import Positions, mapping, parse
from levada.errors import ConfigError, ConfigErrors, Where

BYTES_MAX = 4_000_000
"""The largest file that is read."""

T = TypeVar("T", bound=BaseModel)


def read(cls: type[T], path: Path, shown: str) -> tuple[T, Positions]:
    """The file as `cls`, and the places of its keys. `shown` is how errors name it.

    Raises ConfigErrors with everything that is wrong in it.
    """
    document = parse(read_text(path, shown), shown)
    found, errors = validate(cls, mapping(document), document.positions)
    if found is None:
        raise ConfigErrors(errors)
    return found, document.positions


def read_text(path: Path, shown: str) -> str:
    """The text of a file. Raises ConfigError (config.unreadable) if it is no readable UTF-8 text."""
    try:
        size = path.stat().st_size
        if size > BYTES_MAX or not path.is_file():
            reason = f"it has more than {BYTES_MAX:,} bytes" if size > BYTES_MAX else "it is not a file"
            raise ConfigError(f"the file cannot be read: {reason}", code="config.unreadable", where=Where(shown))
        data = path.read_bytes()
    except OSError as error:
        message = f"the file cannot be read: {error.strerror}"
        raise ConfigError(message, code="config.unreadable", where=Where(shown)) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line_start = before.rfind(b"\n") + 1
        column = len(before[line_start:].decode("utf-8", errors="replace")) + 1
        raise ConfigError(
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            code="config.unreadable",
            where=Where(shown, before.count(b"\n") + 1, column),
            hint="save the file as UTF-8",
        ) from None
