"""How deep the brackets of a text nest: looked at before a parser whose memory grows with the square of it."""

from __future__ import annotations

from collections.abc import Iterable

NESTING_MAX = 300
"""The deepest nesting of ( [ { in an expression or a query."""


def deepest(text: str, starts: Iterable[int]) -> int:
    """The deepest nesting of brackets; closing ones are optional. `starts`: where tokens begin, in UTF-8 bytes.

    Brackets inside of quotes and comments begin no token, and so do not count.
    """
    data = text.encode("utf-8", "surrogatepass")
    depth = most = 0
    for start in starts:
        sign = data[start : start + 1]
        if sign in (b"(", b"[", b"{"):
            depth += 1
            most = max(most, depth)
        elif sign in (b")", b"]", b"}"):
            depth = max(0, depth - 1)
    return most
