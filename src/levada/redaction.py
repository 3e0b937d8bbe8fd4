"""Takes secrets out of whatever is shown, logged or stored: errors, destinations' answers, events.

A secret is found as it stands and in the forms in which libraries and destinations quote it: URL-encoded, as
JSON (also JSON inside JSON), HTML-escaped, in hex, and in base64, alone or inside a longer text such as the
`user:secret` of basic authentication. Besides the known secrets, credentials in an Authorization header and
in a URL (`//user:password@host`) are always taken out.

The rule for short secrets, which are also everyday words: from SHORT_MIN characters up to LONG_MIN they are
masked as whole words only, below SHORT_MIN not at all. What is not here: knowing what the secrets are.
"""

from __future__ import annotations

import base64
import html
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
LONG_MIN = 8
"""From this length on, a secret is masked wherever it stands."""
SHORT_MIN = 4
"""Shorter secrets are ignored: masking them would make every text unreadable and hide nothing."""
DEPTH_MAX = 64
"""Values nested deeper are shown as MASK."""

_CORE_MIN = 6
_LINE_MIN = 16
_BASE64 = string.ascii_letters + string.digits + "+/-_"
_WORD_START = r"(?:(?<!\w)|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4}))"
_ALWAYS = re.compile(
    r"(?i:(?P<header>\b(?:proxy-)?authorization\b[\"']?\s{0,9}[:=,]\s{0,9}[\"']?(?:basic|bearer|token|digest)\s{1,9})"
    r"[^\s\"',;]+)"
    r"|(?P<user>//[^\s/:@\"']{0,256}:)[^\s/@\"']{1,1024}(?=@)"
)


class Redactor:
    """`clean` masks every form of the secrets; with none, only what is always masked."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._anywhere: set[str] = set()
        self._words: set[str] = set()
        self._cores: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def __repr__(self) -> str:
        return "Redactor()"

    def add(self, secret: str) -> None:
        """Mask this one as well from now on. One of several lines is also masked line by line."""
        whole = secret.strip()
        lines = [line.strip() for line in whole.splitlines()] if "\n" in whole else []
        for part in {secret, whole, *(line for line in lines if len(line) >= _LINE_MIN)}:
            if len(part) < SHORT_MIN:
                continue
            (self._anywhere if len(part) >= LONG_MIN else self._words).update(_written_forms(part))
            self._cores.update(_base64_cores(part.encode("utf-8", "surrogatepass")))
        self._pattern = None

    def clean(self, text: str) -> str:
        """The text with MASK in place of each secret. Linear in the length of the text."""
        return _ALWAYS.sub(_masked, self._without_secrets(text))

    def clean_value(self, value: Any) -> Any:
        """The same for text, bytes, mappings (keys too), lists and tuples; other values stay, unless they read
        like a secret."""
        return self._cleaned(value, DEPTH_MAX)

    def _cleaned(self, value: Any, depth: int) -> Any:
        if depth == 0:
            return MASK
        match value:
            case str():
                return self.clean(value)
            case bytes():
                return self.clean(value.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            case Mapping():
                return {self._cleaned(key, depth - 1): self._cleaned(item, depth - 1) for key, item in value.items()}
            case list():
                return [self._cleaned(item, depth - 1) for item in value]
            case tuple():
                return tuple(self._cleaned(item, depth - 1) for item in value)
            case bool() | None:
                return value
            case int() | float():
                text = str(value)
                cleaned = self.clean(text)
                return value if cleaned == text else cleaned
            case _:
                return value

    def _without_secrets(self, text: str) -> str:
        if not (self._anywhere or self._words or self._cores):
            return text
        pattern = self._pattern
        if pattern is None:
            pattern = self._pattern = self._compiled()
        pieces: list[str] = []
        at = 0
        for match in pattern.finditer(text):
            start = match.start()
            # The character before a base64 core holds some bits of the secret's first byte.
            if match.lastgroup == "core" and start > at and text[start - 1] in _BASE64:
                start -= 1
            pieces += (text[at:start], MASK)
            at = match.end()
        pieces.append(text[at:])
        return "".join(pieces)

    def _compiled(self) -> re.Pattern[str]:
        parts: list[str] = []
        if self._anywhere:
            parts.append(f"(?P<anywhere>{_alternatives(self._anywhere)})")
        if self._cores:
            parts.append(f"(?P<core>{_alternatives(self._cores)})[A-Za-z0-9+/_-]?={{0,2}}")
        if self._words:
            parts.append(f"(?P<word>{_WORD_START}{_alternatives(self._words)}(?!\\w))")
        return re.compile("|".join(parts))


def _written_forms(secret: str) -> Iterator[str]:
    """The secret as text, in every form that keeps its characters in order."""
    yield secret
    data = secret.encode("utf-8", "surrogatepass")
    yield data.hex()
    yield data.hex().upper()
    for encoded in (quote(data, safe=""), quote(data), quote_plus(data), quote_plus(data, safe="/")):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {form.replace("/", "\\/") for form in escaped}
    escaped |= {json.dumps(form)[1:-1] for form in escaped}
    yield from escaped
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)


def _base64_cores(data: bytes) -> Iterator[str]:
    """What base64 makes of the data wherever it starts inside a longer text: three alignments.

    Only the characters that depend on nothing but the data; very short ones would hit by chance.
    """
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data).decode("ascii")
        core = encoded[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        if len(core) >= _CORE_MIN:
            yield core
            yield core.replace("+", "-").replace("/", "_")


def _alternatives(words: set[str]) -> str:
    """A pattern that matches any of the words, the longest first, deciding by one character at a time.

    A plain `a|b|c` tries every word at every position of the text.
    """
    ordered = sorted(words)
    return _branch(ordered, 0)


def _branch(words: list[str], depth: int) -> str:
    """`words` are sorted and agree in their first `depth` characters, which are already matched."""
    ends = len(words[0]) == depth
    longer = words[1:] if ends else words
    if not longer:
        return ""
    branches: list[str] = []
    start = 0
    for stop in range(1, len(longer) + 1):
        if stop < len(longer) and longer[stop][depth] == longer[start][depth]:
            continue
        group = longer[start:stop]
        shared = _shared(group[0], group[-1])
        branches.append(re.escape(group[0][depth:shared]) + _branch(group, shared))
        start = stop
    joined = branches[0] if len(branches) == 1 and not ends else f"(?:{'|'.join(branches)})"
    return f"{joined}?" if ends else joined


def _shared(first: str, last: str) -> int:
    """How many characters the first and the last of sorted words, and so all between, have in common."""
    for index, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return index
    return min(len(first), len(last))


def _masked(match: re.Match[str]) -> str:
    return f"{match['header'] or match['user']}{MASK}"
