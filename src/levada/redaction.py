"""Takes secrets out of whatever is shown, logged or stored: errors, destinations' answers, events.

A secret is found as it stands and in the forms in which libraries and destinations quote it: URL-encoded, as
JSON (also JSON inside JSON), HTML-escaped, in hex, and in base64 and base32, alone or inside a longer text such as the
`user:secret` of basic authentication. A long secret is also found in other letter case, with spaces or line breaks
in it, and in every mixture of percent-encoding, entities and escapes (`levada.unwritten`), up to LAYERS of them.
Besides the known secrets, credentials in an Authorization header and in a URL (`//user:password@host`) are always
taken out, and characters that a terminal obeys are shown as escapes.

The rule for short secrets, which are also everyday words: from SHORT_MIN characters up to LONG_MIN they are
masked as whole words only, below SHORT_MIN not at all. Whoever shortens a text before it is cleaned may cut a secret in
the middle: the beginning of a long one at the end of a text, or before `****` or `…`, is masked as well.
`without_echo` is for what is no secret, but nobody's business: the values of rows that a destination repeats. What is
not here: knowing what the secrets are.
"""

from __future__ import annotations

import base64
import bisect
import html
import json
import re
import string
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from levada.legible import legible
from levada.unwritten import Unwritten, as_written, folded, layers, unseen_removed

MASK = "***"
LONG_MIN = 8
"""From this length on, a secret is masked wherever it stands."""
SHORT_MIN = 4
"""Shorter secrets are ignored: masking them would make every text unreadable and hide nothing."""
DEPTH_MAX = 64
"""Values nested deeper are shown as MASK."""

JSON_LEVELS = 3
"""JSON inside JSON inside JSON: so deep is a secret still found."""
LAYERS = 3
"""So many writings over one another are taken off: percent-encoded entities inside of JSON."""
CUT_MIN = 6
"""So many characters of a long secret are masked where a text ends with them."""
CUT_MAX = 2_000

ESCAPE_MAX = 20
"""The longest escape that may be cut off in the middle."""

_CORE_MIN = 6
_CORE32_MIN = 10
"""Base32 has fewer letters: what is shorter may be a word."""
_CUT_OFF = re.compile(r"\*{4,}|•{3,}|…")
"""What tools put in place of a secret's rest. MASK is none of them: what stands before it is not cut off."""
_LINE_MIN = 16
_BASE64 = string.ascii_letters + string.digits + "+/-_"
_BROKEN = re.compile(r"(?:%[0-9a-f]?|\\+(?:u[0-9a-f]{0,7}|x[0-9a-f]?|[0-3][0-7]?)?|&(?:\#?x?[0-9a-z]{0,8})?)\Z")
"""An escape that is cut off in the middle."""
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
        self._cores32: set[str] = set()
        self._folded: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._rewritten: re.Pattern[str] | None = None
        self._long: list[str] = []
        self._long_folded: list[str] = []
        self._pieces: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def __repr__(self) -> str:
        return "Redactor()"

    def add(self, secret: str) -> None:
        """Mask this one as well from now on. One of several lines is also masked line by line."""
        whole = secret.strip()
        lines = [line.strip() for line in whole.splitlines()] if "\n" in whole else []
        for part in {secret, whole, " ".join(whole.split()), *(line for line in lines if len(line) >= _LINE_MIN)}:
            if len(part) < SHORT_MIN:
                continue
            (self._anywhere if len(part) >= LONG_MIN else self._words).update(_written_forms(part))
            data = part.encode("utf-8", "surrogatepass")
            self._cores.update(_base64_cores(data))
            self._cores32.update(_base32_cores(data))
            if len(unseen_removed(part)) >= LONG_MIN:
                self._folded.update(_bare_forms(part))
        self._pattern = None

    def clean(self, text: str) -> str:
        """The text with MASK in place of each secret, and without characters that a terminal obeys (`legible`) but for
        line breaks and tabs. Linear in the length of the text."""
        plain = self._without_cut(self._without_rewritten(self._without_secrets(text)))
        return legible(_ALWAYS.sub(_masked, plain), "\n\t")

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
        if self._pattern is None:
            self._pattern = self._compiled()
        return _without(text, list(self._exact(text)))

    def _exact(self, text: str, *, words: bool = True) -> Iterator[tuple[int, int]]:
        """Where a secret stands in one of its written forms; short ones only with `words`."""
        for match in self._pattern.finditer(text) if self._pattern is not None else ():
            start = match.start()
            if match.lastgroup == "word" and not words:
                continue
            # The character before a core holds some bits of the secret's first byte.
            if match.lastgroup in ("core", "core32") and start and text[start - 1] in _BASE64:
                start -= 1
            yield start, match.end()

    def _without_rewritten(self, text: str) -> str:
        """The text without the secrets that stand in it in another writing than those of `_written_forms`."""
        if not any(self._holds(one) for one in layers(text, LAYERS)):
            return text
        spans: list[tuple[int, int]] = []
        layer = as_written(text)
        for _ in range(LAYERS + 1):
            for one in (layer, layer.without_unseen()):
                spans += [one.span(start, end) for start, end in self._rewritten_in(one.text) if start < end]
            inner = layer.unwritten()
            if inner is None:
                break
            layer = inner
        return _without(text, spans)

    def _holds(self, text: str) -> bool:
        return next(self._rewritten_in(text), None) is not None

    def _rewritten_in(self, text: str) -> Iterator[tuple[int, int]]:
        """Where a long secret stands in one layer of a text, in any letter case, or the beginning of one at its end."""
        bare = folded(text)
        if self._rewritten is not None:
            yield from (match.span() for match in self._rewritten.finditer(bare))
        yield from self._exact(text, words=False)
        for at in (*(match.start() for match in _CUT_OFF.finditer(bare)), len(bare)):
            if cut := self._cut(bare[max(0, at - CUT_MAX) : at]):
                yield at - cut, at

    def _cut(self, bare: str) -> int:
        """How many characters at the end are the beginning of a long secret, that somebody has cut off."""
        body = bare.rstrip("… ")
        body = body[:-ESCAPE_MAX] + _BROKEN.sub("", body[-ESCAPE_MAX:])
        if body[-CUT_MIN:] not in self._pieces:
            return 0
        for size in range(min(len(body), CUT_MAX), CUT_MIN - 1, -1):
            tail = body[-size:]
            at = bisect.bisect_left(self._long_folded, tail)
            if at < len(self._long_folded) and self._long_folded[at].startswith(tail):
                return size + len(bare) - len(body)
        return 0

    def _without_cut(self, text: str) -> str:
        """The text without the beginning of a long secret at its end, where somebody has cut it off."""
        body = text.rstrip("… ")
        for size in range(min(len(body), CUT_MAX), CUT_MIN - 1, -1):
            tail = body[-size:]
            at = bisect.bisect_left(self._long, tail)
            if at < len(self._long) and self._long[at].startswith(tail):
                start = len(body) - size
                return body[:start] + MASK + text[len(body) :]
        return text

    def _compiled(self) -> re.Pattern[str]:
        parts: list[str] = []
        self._long = sorted(self._anywhere | self._cores | self._cores32)
        self._long_folded = sorted(self._folded)
        self._pieces = {one[at : at + CUT_MIN] for one in self._folded for at in range(len(one))}
        self._rewritten = re.compile(_alternatives(self._folded)) if self._folded else None
        if self._anywhere:
            parts.append(f"(?P<anywhere>{_alternatives(self._anywhere)})")
        if self._cores:
            parts.append(f"(?P<core>{_alternatives(self._cores)})[A-Za-z0-9+/_-]?={{0,2}}")
        if self._cores32:
            parts.append(f"(?P<core32>{_alternatives(self._cores32)})[A-Za-z2-7]?={{0,6}}")
        if self._words:
            parts.append(f"(?P<word>{_WORD_START}{_alternatives(self._words)}(?!\\w))")
        return re.compile("|".join(parts))


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    """The text with MASK in place of these parts, which may overlap."""
    pieces: list[str] = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        if start >= at:
            pieces += (text[at:start], MASK)
        at = max(at, end)
    pieces.append(text[at:])
    return "".join(pieces)


_TOKEN = re.compile(r"[^\s\"'\\,;:{}\[\]()<>=&?#/|]{3,}")
_ESCAPED = re.compile(r"\\+u([0-9a-fA-F]{4})")


def without_echo(words: str, *sent: str) -> str:
    """A destination's words without what the request itself carried: the values of rows, wherever they are repeated.

    `sent`: the request's body and URL. Each text of a JSON body becomes `…`, and so does each word of three characters
    or more that stands in there, unless it is the name of a JSON member. Letter case does not matter for words.
    """
    plain = unquote(_ESCAPED.sub(_unescaped, words))
    for value in sorted({each for part in sent for each in _values(part)}, key=len, reverse=True):
        plain = plain.replace(value, "…")
    carried = "\n".join(unquote(_ESCAPED.sub(_unescaped, part)) for part in sent).casefold()

    def shown(match: re.Match[str]) -> str:
        token = match[0].strip(".!").casefold()
        if len(token) < 3 or token not in carried or f'"{token}":' in carried:
            return match[0]
        return "…" if re.search(rf"(?<!\w){re.escape(token)}(?!\w)", carried) else match[0]

    return _TOKEN.sub(shown, plain)


def _values(text: str) -> Iterator[str]:
    """The texts of two characters or more in a JSON document; none of anything else."""
    try:
        waiting = [json.loads(text)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str) and len(value) > 1:
            yield value
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))


def _written_forms(secret: str) -> Iterator[str]:
    """The secret as text, in every form that keeps its characters in order."""
    yield secret
    data = secret.encode("utf-8", "surrogatepass")
    for separator in ("", ":", "-"):
        digits = data.hex(separator) if separator else data.hex()
        yield digits
        yield digits.upper()
    for encoded in (quote(data, safe=""), quote(data), quote_plus(data), quote_plus(data, safe="/")):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    quoted = {secret, repr(secret)[1:-1], repr(data)[2:-1]}
    for _ in range(JSON_LEVELS):
        quoted |= {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in quoted for ascii_only in (True, False)}
    yield from quoted
    yield from (form.replace("/", "\\/") for form in quoted)
    yield html.escape(secret)
    yield html.escape(secret, quote=False)


def _bare_forms(secret: str) -> Iterator[str]:
    """The secret in one letter case, as it is and without its spaces, and as what is left of it where somebody takes
    its own `%41` or `&amp;` for a writing."""
    layer: Unwritten | None = as_written(secret)
    for _ in range(LAYERS + 1):
        if layer is None:
            return
        for text in (layer.text, unseen_removed(layer.text)):
            if len(text) >= LONG_MIN:
                yield folded(text)
        layer = layer.unwritten()


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


def _base32_cores(data: bytes) -> Iterator[str]:
    """The same of base32, in five alignments and both letter cases."""
    for before in range(5):
        encoded = base64.b32encode(bytes(before) + data).decode("ascii")
        core = encoded[-(-before * 8 // 5) : (before + len(data)) * 8 // 5]
        if len(core) >= _CORE32_MIN:
            yield core
            yield core.lower()


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
