"""Tables of a class's keys for the reference pages, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from levada.declaration.keys import KeyFacts, one_line, plain


def table(keys: Sequence[KeyFacts], head: str) -> str:
    """A row for each key; `head` is what the page calls one."""
    rows = [f"| {head} | takes | default | meaning |", "|---|---|---|---|"]
    rows += [f"| `{key.name}` | {cell(key.takes)} | {_default(key)} | {cell(key.meaning)} |" for key in keys]
    return "\n".join(rows) + "\n"


def cell(text: str | None) -> str:
    """A docstring, or other text, that does not break a table."""
    return one_line(text).replace("|", "\\|")


def _default(key: KeyFacts) -> str:
    if key.required:
        return "required"
    values: Any = key.default if isinstance(key.default, tuple) else (key.default,)
    return ", ".join(f"`{plain(value)}`" for value in values if value not in (None, ""))
