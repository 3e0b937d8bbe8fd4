"""A text with one layer of writing taken off, and where each of its characters came from.

Tools quote what they were sent in writings of their own: percent-encoded, with entities of HTML, with `\\u0041`,
`\\U00000041`, `\\x41` or `\\101`, broken over lines, in other letter case. Whoever looks for a text in their words
looks in what these stand for, and finds out which part of the words it was. What is not here: encodings in which no
character stands for itself (base64, base32, hex), which `levada.redaction` looks for as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape

_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_LAYER = re.compile(
    r"(?P<percent>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<entity>&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?)"
    r"|(?P<escape>(?<!\\)(?:\\+(?:u[0-9A-Fa-f]{4}|u\{[0-9A-Fa-f]{1,6}\}|U[0-9A-Fa-f]{8}))+)"
    r"|(?P<bytes>(?<!\\)(?:\\+x[0-9A-Fa-f]{2})+)"
    r"|(?P<octal>(?<!\\)(?:\\+[0-3][0-7]{2})+)"
    r"|(?<!\\)\\+(?P<plain>[\"'\\/&%])"
)
_ESCAPE = re.compile(r"\\+[uU]\{?([0-9A-Fa-f]{1,8})\}?")
_BYTE = re.compile(r"(?:%|\\+x)([0-9A-Fa-f]{2})")
_OCTAL = re.compile(r"\\+([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Unwritten:
    """`text`, whose character `n` was written as `original[starts[n]:ends[n]]`."""

    text: str
    starts: list[int]
    ends: list[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the original the characters from `start` to `end` (not included) stand; they are not empty."""
        return self.starts[start], self.ends[end - 1]

    def unwritten(self) -> Unwritten | None:
        """With one more layer taken off; None if there is none."""
        return self._replaced(_LAYER, _meant)

    def without_unseen(self) -> Unwritten:
        """Without spaces, line breaks and what has no width."""
        return self._replaced(_UNSEEN, lambda match: "") or self

    def _replaced(self, pattern: re.Pattern[str], meant_by: Callable[[re.Match[str]], str]) -> Unwritten | None:
        letters: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        at = 0
        for match in pattern.finditer(self.text):
            letters.append(self.text[at : match.start()])
            starts += self.starts[at : match.start()]
            ends += self.ends[at : match.start()]
            meant = meant_by(match)
            letters.append(meant)
            first, last = self.span(match.start(), match.end())
            starts += [first] * len(meant)
            ends += [last] * len(meant)
            at = match.end()
        if not at:
            return None
        letters.append(self.text[at:])
        return Unwritten("".join(letters), starts + self.starts[at:], ends + self.ends[at:])


def as_written(text: str) -> Unwritten:
    """The text itself, as the outermost layer."""
    return Unwritten(text, list(range(len(text))), list(range(1, len(text) + 1)))


def layers(text: str, most: int) -> Iterator[str]:
    """The text as it is and without spaces, then the same for each layer beneath it, `most` of them."""
    for _ in range(most + 1):
        yield text
        yield unseen_removed(text)
        inner = _LAYER.sub(_meant, text)
        if inner == text:
            return
        text = inner


def folded(text: str) -> str:
    """The text in one letter case, with as many characters as before."""
    if text.isascii():
        return text.lower()
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)


def unseen_removed(text: str) -> str:
    """Without spaces, line breaks and what has no width."""
    return _UNSEEN.sub("", text)


def _meant(match: re.Match[str]) -> str:
    whole = match[0]
    match match.lastgroup:
        case "percent" | "bytes":
            return _text(bytes(int(digits, 16) for digits in _BYTE.findall(whole)))
        case "octal":
            return _text(bytes(int(digits, 8) for digits in _OCTAL.findall(whole)))
        case "entity":
            return unescape(whole)
        case "escape":
            units = [int(digits, 16) for digits in _ESCAPE.findall(whole)]
            text = "".join(chr(unit) if unit <= 0x10FFFF else "\ufffd" for unit in units)
            return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        case _:
            return match["plain"]


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")
