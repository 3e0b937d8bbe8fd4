"""YAML with positions: a text becomes plain values, and every key and value knows its line and column.

What is taken is the part of YAML that a project needs: mappings with text keys, lists, scalars, and aliases
within limits. Refused by name: duplicate keys, merge keys, tags, several documents. Plain scalars follow
YAML 1.2 (`no` and `12:30` are text), and numbers that would change in reading are refused.

Built from the parser's events and not from its node composer, which recurses in C and takes the process
with it when brackets nest deep enough. Not here: what a value means, and `${NAME}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from yaml import CSafeLoader, MarkedYAMLError
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from yaml.reader import ReaderError

from levada.errors import ConfigError, Where

CHARACTERS_MAX = 1_000_000
"""The longest file, in characters."""
DEPTH_MAX = 40
"""The deepest nesting of mappings and lists."""
NODES_MAX = 100_000
"""The most keys and values in one file, aliases counted as what they stand for."""
ALIASES_MAX = 100
"""The most aliases in one file."""

KeyPath = tuple[str | int, ...]
Mark = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Positions:
    """Where the keys and values of one file stand. A path that is not in the file has its nearest ancestor's place."""

    file: str
    keys: Mapping[KeyPath, Mark] = field(default_factory=dict)
    values: Mapping[KeyPath, Mark] = field(default_factory=dict)

    def at(self, *path: str | int) -> Where:
        """The place of the value at `path`: `positions.at("fields", "tier", "sql")`."""
        for length in range(len(path), -1, -1):
            if found := self.values.get(path[:length]):
                return Where(self.file, *found)
        return Where(self.file)

    def key(self, *path: str | int) -> Where:
        """The place of the key at `path`; that of the value where there is no key (a list's item)."""
        found = self.keys.get(path)
        return Where(self.file, *found) if found else self.at(*path)


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML text: its plain value (None if there is nothing but comments) and its positions."""

    value: Any
    positions: Positions


def parse(text: str, file: str, *, line: int = 1, column: int = 1) -> Document:
    """Read one document. `file` is how errors name it; `line` and `column` are where the text begins in it.

    Raises ConfigError (config.yaml, config.duplicate_key, config.yaml_limit) at the place that is wrong.
    """
    return _Reading(text, file, line, column).document()


def mapping(document: Document) -> dict[str, Any]:
    """The document's value, which must be a mapping; an empty file is an empty one."""
    value = document.value
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            "the file must be a mapping",
            code="config.yaml",
            where=document.positions.at(),
            hint="write one `key: value` per line",
        )
    return value


class _Reading:
    """One pass over the events of one text."""

    def __init__(self, text: str, file: str, line: int, column: int) -> None:
        self._text = text
        self._file = file
        self._line = line
        self._column = column
        self._keys: dict[KeyPath, Mark] = {}
        self._values: dict[KeyPath, Mark] = {}
        #: the value of each anchor, and of how many nodes it is made
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0
        self._aliases = 0

    def document(self) -> Document:
        if len(self._text) > CHARACTERS_MAX:
            raise self._limit(f"the file has more than {CHARACTERS_MAX:,} characters", None)
        try:
            self._loader = CSafeLoader(self._text)
            try:
                value = self._read()
            finally:
                self._loader.dispose()
        except MarkedYAMLError as error:
            raise self._syntax(error) from None
        except ReaderError as error:
            raise self._unreadable(error) from None
        return Document(value, Positions(self._file, self._keys, self._values))

    def _read(self) -> Any:
        self._next()  # the stream starts
        if isinstance(self._next(), StreamEndEvent):
            return None
        value = self._value(self._next(), (), 0)
        while not isinstance(event := self._next(), StreamEndEvent):
            if not isinstance(event, DocumentEndEvent):
                raise self._wrong("a file holds one document", event, hint="remove the line `---` and what follows")
        return value

    def _next(self) -> Event:
        event = self._loader.get_event()
        assert event is not None, "asked for an event behind the end of the stream"
        return event

    def _value(self, event: Event, path: KeyPath, depth: int) -> Any:
        before = self._nodes
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise self._limit(f"the file has more than {NODES_MAX:,} keys and values", event)
        if depth > DEPTH_MAX:
            raise self._limit(f"the file nests deeper than {DEPTH_MAX} levels", event)
        self._values[path] = self._mark(event)
        if isinstance(event, AliasEvent):
            return self._alias(event)
        assert isinstance(event, NodeEvent), event
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            raise self._wrong(f"the tag {_short_tag(tag)} is not allowed", event, hint="write the plain value")
        value: Any
        if isinstance(event, ScalarEvent):
            plain = event.tag is None and event.implicit[0] and not event.style
            value = self._scalar(event) if plain else event.value
        elif isinstance(event, SequenceStartEvent):
            value = []
            while not isinstance(item := self._next(), SequenceEndEvent):
                value.append(self._value(item, (*path, len(value)), depth + 1))
        else:
            assert isinstance(event, MappingStartEvent), event
            value = self._mapping(path, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before)
        return value

    def _mapping(self, path: KeyPath, depth: int) -> dict[str, Any]:
        value: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            if not isinstance(event, ScalarEvent) or event.tag not in (None, "!"):
                raise self._wrong(
                    "a key must be text",
                    event,
                    hint=_braces_hint(self._line_of(event)) or "write one `key: value` per line",
                )
            key = event.value
            if key == "<<" and not event.style:
                raise self._wrong("merge keys (<<) are not supported", event, hint="write the keys out")
            if not key and not event.style:
                raise self._wrong("a key is missing before the colon", event, hint="write one `key: value` per line")
            at = (*path, key)
            if key in value:
                raise ConfigError(
                    f"the key `{key}` stands twice",
                    code="config.duplicate_key",
                    where=self._where(event),
                    hint=f"the first is in line {self._keys[at][0]}; keep one of them",
                )
            self._keys[at] = self._mark(event)
            value[key] = self._value(self._next(), at, depth + 1)
        return value

    def _alias(self, event: AliasEvent) -> Any:
        self._aliases += 1
        if self._aliases > ALIASES_MAX:
            raise self._limit(f"the file has more than {ALIASES_MAX} aliases", event)
        if event.anchor not in self._anchors:
            raise self._wrong(
                f"the alias *{event.anchor} names nothing that is complete before it",
                event,
                hint="put text that begins with * in quotes",
            )
        value, nodes = self._anchors[event.anchor]
        self._nodes += nodes
        if self._nodes > NODES_MAX:
            raise self._limit(f"the file's aliases stand for more than {NODES_MAX:,} keys and values", event)
        return value

    def _scalar(self, event: ScalarEvent) -> Any:
        try:
            return plain_scalar(event.value)
        except OverflowError:
            raise self._wrong(
                f"{event.value} cannot be kept exactly as a number",
                event,
                hint="put it in quotes: it is then handed on as text, digit by digit",
            ) from None

    # -- places and errors

    def _mark(self, event: Event) -> Mark:
        mark = event.start_mark
        assert mark is not None, event
        return self._place(mark.line, mark.column)

    def _place(self, line: int, column: int) -> Mark:
        return self._line + line, (self._column if line == 0 else 1) + column

    def _where(self, event: Event) -> Where:
        return Where(self._file, *self._mark(event))

    def _line_of(self, event: Event) -> str:
        return self._line_at(event.start_mark.line if event.start_mark else 0)

    def _line_at(self, line: int) -> str:
        lines = self._text.splitlines()
        return lines[line] if line < len(lines) else ""

    def _wrong(self, message: str, event: Event, hint: str | None = None) -> ConfigError:
        return ConfigError(message, code="config.yaml", where=self._where(event), hint=hint)

    def _limit(self, message: str, event: Event | None) -> ConfigError:
        where = self._where(event) if event else Where(self._file)
        return ConfigError(message, code="config.yaml_limit", where=where, hint="split it, or make it smaller")

    def _syntax(self, error: MarkedYAMLError) -> ConfigError:
        mark = error.problem_mark or error.context_mark
        place = self._place(mark.line, mark.column) if mark else (0, 0)
        problem = str(error.problem or error.context)
        return ConfigError(
            f"this is not YAML: {problem}",
            code="config.yaml",
            where=Where(self._file, *place),
            hint=_syntax_hint(problem, self._line_at(mark.line) if mark else ""),
        )

    def _unreadable(self, error: ReaderError) -> ConfigError:
        position = error.position if isinstance(error.position, int) else 0
        before = self._text[:position]
        line = before.count("\n")
        place = self._place(line, len(before) - (before.rfind("\n") + 1))
        return ConfigError(
            f"this is not YAML: {error.reason}",
            code="config.yaml",
            where=Where(self._file, *place),
            hint='write such a character as an escape in double quotes: "\\u0001"',
        )


_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)\Z")
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]+\Z|0o[0-7]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), float("inf")),
    "-.inf": float("-inf"),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_DIGITS_MAX = 4_000
"""Python refuses to read integers much longer than this."""


def plain_scalar(text: str) -> Any:
    """What a scalar without quotes stands for, by YAML 1.2's core schema.

    A number with leading zeros stays text: it is an identifier. Raises OverflowError for a number that
    binary floating point would change.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.match(text):
        if len(text) > _DIGITS_MAX:
            raise OverflowError(text)
        return int(text)
    if _OTHER_BASE.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        value = float(text)
        if len(text) > _DIGITS_MAX or Decimal(text) != Decimal(repr(value)):
            raise OverflowError(text)
        return value
    return text


def _short_tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")


def _braces_hint(line: str) -> str | None:
    return 'inside { } and [ ] a reference needs quotes: "${NAME}"' if "${" in line else None


def _syntax_hint(problem: str, line: str) -> str:
    if braces := _braces_hint(line):
        return braces
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not with tabs"
    if "mapping values are not allowed" in problem:
        return "put text that holds a colon in quotes, and check the indentation"
    if "cannot start any token" in problem:
        return "put text that begins with @, ` or % in quotes"
    return "check the brackets, quotes and indentation here and in the lines above"
