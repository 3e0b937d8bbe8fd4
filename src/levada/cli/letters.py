"""What the terminal's letters are, and what stands in for those that it does not have.

A terminal that knows only ASCII is written ASCII: Levada's own signs become others, and any further character its
escape (`\\xe9`), so that nothing is lost and nothing fails. JSON documents use the escapes of JSON.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Mapping

ERRORS = "levada"
"""The name of our handler of characters that an encoding does not have."""
SIGNS = {
    "…": "...",
    "→": "->",
    "−": "-",
    "–": "-",
    "—": "-",
    "×": "x",
    "✓": "+",
    "✗": "x",
    "●": "*",
    "∅": "NULL",
    "·": ".",
    "─": "-",
    "━": "-",
    "“": '"',
    "”": '"',
    "≤": "<=",
    "≥": ">=",
}
"""Levada's own signs, and ASCII in their place."""
ASCII_LOCALES = frozenset({"C", "POSIX"})


def fit_streams() -> None:
    """From now on nothing that is written to stdout or stderr fails for want of a letter."""
    codecs.register_error(ERRORS, _stand_in)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            encoding = "ascii" if knows_only_ascii(os.environ, stream.isatty()) else stream.encoding
            stream.reconfigure(encoding=encoding, errors=ERRORS)


def knows_only_ascii(variables: Mapping[str, str], terminal: bool) -> bool:
    """Does the environment ask for ASCII: by its locale, or with a terminal that is dumb?

    Python takes UTF-8 where the locale is C. What somebody asks of Python itself (PYTHONIOENCODING, PYTHONUTF8) goes
    before. A locale that nobody set says nothing.
    """
    if variables.get("PYTHONIOENCODING") or variables.get("PYTHONUTF8") == "1":
        return False
    if terminal and variables.get("TERM") == "dumb":
        return True
    named = variables.get("LC_ALL") or (variables.get("LC_CTYPE") if not sys.flags.utf8_mode else "")
    return (named or variables.get("LANG", "")) in ASCII_LOCALES


def fitted(text: str) -> str:
    """The text in the letters of stdout, for what is printed by other hands."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    codecs.register_error(ERRORS, _stand_in)
    return text.encode(encoding, ERRORS).decode(encoding)


def knows_unicode() -> bool:
    """Can stdout take every character?"""
    try:
        return codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name.startswith("utf")
    except LookupError:
        return False


def _stand_in(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(SIGNS.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in found), error.end
