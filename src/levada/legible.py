"""Text that says what it holds and does nothing to who shows it.

A tool's words, names of columns and values of rows may hold characters that a terminal obeys (ESC, BEL, CR, the C1
controls), that turn the direction of the text around them, or halves of characters that nothing can write. They are
shown as escapes. Values themselves are not changed on their way to a destination.
"""

from __future__ import annotations

import re

_OBEYED = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)
"""Controls, line separators, marks and overrides of direction, and characters without a width that hide a text."""
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
REPLACEMENT = "\ufffd"


def legible(text: str, keep: str = "") -> str:
    """The text with an escape such as `\\x1b` in place of each character that is obeyed, but for those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def legible_of_equal_length(text: str, keep: str = "") -> str:
    """The same with one replacement character for each, for texts whose places are counted."""
    return _OBEYED.sub(lambda found: found[0] if found[0] in keep else REPLACEMENT, text)


def legible_json(document: str) -> str:
    """A document of JSON in which these characters are written as JSON's own escapes: the same values."""
    return _OBEYED.sub(lambda found: found[0] if found[0] in "\n\t\r" else _json_escape(found[0]), document)


def _escape(letter: str) -> str:
    code = ord(letter)
    if letter in _NAMED:
        return _NAMED[letter]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(letter: str) -> str:
    code = ord(letter)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"
