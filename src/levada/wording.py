"""Words that every message shares: counts of things, and the command by which Levada was called.

Messages are written with `levada` as the command. Where they are printed, `called` puts what the person typed in its
place, because only that is sure to be on the machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

COMMAND = "levada"
_COMMANDS = re.compile(r"(?<![\w./\\\[-])(?<!-m )levada(?= (?!import\b)[-a-z])")
SAID: frozenset[str] = frozenset({"hint", "message", "next", "notices", "sentence"})
"""Keys of documents whose texts are Levada's own."""
ROWS: frozenset[str] = frozenset({"after", "before", "key", "keys", "rows"})
"""Keys of documents below which values of rows stand."""


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 row`, `2,127 rows`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def called(text: str, command: str) -> str:
    """The text with `command` wherever it names one of Levada's commands."""
    return text if command == COMMAND else _COMMANDS.sub(lambda _: command, text)


def called_in(document: Any, command: str) -> Any:
    """The same for a document's own texts; values of rows stay as they are."""
    match document:
        case _ if command == COMMAND:
            return document
        case Mapping():
            return {
                name: _said(value, command) if name in SAID else value if name in ROWS else called_in(value, command)
                for name, value in document.items()
            }
        case list() | tuple():
            return [called_in(value, command) for value in document]
        case _:
            return document


def _said(value: Any, command: str) -> Any:
    match value:
        case str():
            return called(value, command)
        case list() | tuple():
            return [_said(each, command) for each in value]
        case _:
            return value
