"""Where a command prints: results on stdout, talk on stderr, colours where they are wanted. rich comes late.

Values of the user's own rows are shown here, on the user's own terminal; they never go to a log. Control
characters in values are shown as escapes, so that a value cannot speak to the terminal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from levada.cli.letters import knows_unicode
from levada.legible import legible, legible_json, legible_of_equal_length
from levada.wording import called, called_in

if TYPE_CHECKING:
    from rich.console import Console

TABLE_WIDTH_MAX = 2_000
KEYS_WIDTH_MAX = 28


def json_default(value: object) -> object:
    """Values that JSON has no word for, without loss: exact decimals and instants as text, bytes as hex."""
    match value:
        case Decimal() | UUID():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case bytes():
            return value.hex()
        case set() | frozenset() | tuple():
            return list(value)
        case _:
            return str(value)


def to_json(document: object, *, ascii_only: bool = False) -> str:
    """One line of JSON. Numbers that JSON cannot hold (NaN, the infinities) become text. No character of it is one that
    a terminal obeys: they are written as JSON's escapes."""
    return legible_json(json.dumps(_finite(document), ensure_ascii=ascii_only, default=json_default))


def _finite(value: Any) -> Any:
    match value:
        case float() if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        case Mapping():
            return {str(json_default(key)): _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case _:
            return value


def shown(value: object, width: int = 60) -> str:
    """A value for people: one line, at most `width` characters, nothing that controls a terminal."""
    match value:
        case None:
            text = "∅"
        case bool():
            text = "true" if value else "false"
        case str():
            text = value if value else '""'
        case bytes():
            text = "0x" + value.hex()
        case dict() | list():
            text = to_json(value)
        case datetime():
            text = value.isoformat(sep=" ")
        case _:
            text = str(value)
    text = legible(text)
    return text if len(text) <= width else text[: width - 1] + "…"


def key_text(key: Any) -> str:
    if isinstance(key, Mapping):
        return ", ".join(shown(value, KEYS_WIDTH_MAX) for value in key.values())
    return shown(key, KEYS_WIDTH_MAX)


class Terminal:
    """One command's output. `json`: documents on stdout; talk stays on stderr either way. `command`: how it was called,
    to be said wherever a message names a command."""

    def __init__(
        self, *, json: bool = False, colour: bool | None = None, verbose: bool = False, command: str = "levada"
    ) -> None:
        self.json = json
        self.command = command
        self.verbose = verbose
        self._colour = False if os.environ.get("NO_COLOR") else colour
        #: notices by sync that were printed while the run went on
        self.noticed: set[tuple[str, str]] = set()
        self._out: Console | None = None
        self._err: Console | None = None

    def _console(self, stderr: bool) -> Console:
        from rich.console import Console

        return Console(
            stderr=stderr,
            no_color=True if self._colour is False else None,
            highlight=False,
            emoji=False,
            markup=False,
            soft_wrap=True,
        )

    @property
    def out(self) -> Console:
        self._out = self._out or self._console(False)
        return self._out

    @property
    def err(self) -> Console:
        self._err = self._err or self._console(True)
        return self._err

    @property
    def interactive(self) -> bool:
        """Is there a person at stderr, before a terminal that can be drawn on?"""
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        return max(60, min(self.out.width, 160))

    def document(self, document: object) -> None:
        """One JSON document, on a line of its own."""
        sys.stdout.write(to_json(called_in(document, self.command), ascii_only=not knows_unicode()) + "\n")
        sys.stdout.flush()

    def said(self, text: str) -> str:
        """A text of Levada's own, with the command as it was called."""
        return called(text, self.command)

    def line(self, text: object = "", style: str | None = None) -> None:
        """A line of the result, for people; nothing with --json."""
        if self.json:
            return
        text = _harmless(text)
        if sys.stdout.isatty():
            self.out.print(text, style=style)
        else:
            sys.stdout.write(f"{text}\n")

    def say(self, text: object, style: str | None = None) -> None:
        """A line of talk. Elsewhere than on a terminal it is plain text, and needs no rich."""
        text = _harmless(self.said(text) if isinstance(text, str) else text)
        if sys.stderr.isatty():
            self.err.print(text, style=style)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def hint(self, text: str) -> None:
        text = self.said(text)
        self.say(self.styled("hint: ", "bold cyan", text) if sys.stderr.isatty() else f"hint: {text}")

    def error(self, message: str, hint: str | None) -> None:
        """One line, and a second one that says what to do."""
        message = self.said(message)
        head = "error: "
        self.say(self.styled(head, "bold red", one_line(message)) if sys.stderr.isatty() else head + one_line(message))
        if hint:
            self.hint(hint)

    def styled(self, head: str, style: str, rest: str = "") -> Any:
        """Text whose beginning has a style."""
        from rich.text import Text

        return Text.assemble((head, style), rest)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        right: Sequence[int] = (),
        folded: Sequence[int] = (),
        whole: Sequence[int] = (),
    ) -> None:
        """A plain table: a header, rows, and nothing drawn around them. Cells are text or rich Text.

        On a terminal that is too narrow, columns in `folded` go on below, those in `whole` are never cut,
        and the others end in an ellipsis.
        """
        if self.json:
            return
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        columns = [legible(name) for name in columns]
        rows = [[_harmless(cell) for cell in row] for row in rows]
        for number, name in enumerate(columns):
            longest = max((len(str(row[number])) for row in rows), default=0)
            table.add_column(
                name,
                justify="right" if number in right else "left",
                no_wrap=number not in folded,
                min_width=max(longest, len(name)) if number in whole else None,
            )
        for row in rows:
            table.add_row(*[cell if hasattr(cell, "__rich_console__") else str(cell) for cell in row])
        if sys.stdout.isatty():
            self.out.print(table, soft_wrap=False)
        else:
            # what reads this is no screen: nothing is cut to a width
            wide = self._console(False)
            wide.width = TABLE_WIDTH_MAX
            wide.print(table, soft_wrap=False)


LINES = "\n\t"


def _harmless(text: object) -> Any:
    """What is about to be shown, text or rich's Text, without a character that a terminal obeys. A last wall, whoever
    wrote the words."""
    plain = getattr(text, "plain", None)
    if not isinstance(plain, str):
        return legible(str(text), LINES) if not hasattr(text, "__rich_console__") else text
    cleaned = legible_of_equal_length(plain, LINES)
    if cleaned != plain:
        found = cast("Any", text).copy()
        found.plain = cleaned
        return found
    return text


def one_line(text: str) -> str:
    return " ".join(text.split())


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 4 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60} min"
