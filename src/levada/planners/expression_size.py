"""How long what an expression makes can become, seen from its text alone.

DuckDB makes the texts of scalar functions outside of the memory that it keeps account of: `repeat(name,
1000000000)` takes gigabytes whatever `planner.memory` says, and calls inside calls multiply. So an upper bound
is computed over the tree before anything is run: a column counts as COLUMN_CHARACTERS, a constant as what it
is, a function by its rule. Not here: which functions there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

COLUMN_CHARACTERS = 100
"""A column counts as so long; its real values make the result longer in proportion."""
CHARACTERS_MAX = 1_000_000
"""The most that one value may come to."""
COUNT_MAX = 10_000
"""The largest count or width that `repeat`, `lpad`, `rpad`, `list_resize`, `format` and `printf` take."""
PAIRS_MAX = 1_000_000
"""The most pairs of characters that a function which compares all with all may look at, for one value."""
SCALAR_CHARACTERS = 40
"""A number, date or truth value as text."""

COUNTED = {"repeat", "lpad", "rpad", "list_resize"}
WRITTEN = {"format", "printf"}
TIMES = {
    "hex": 2, "to_hex": 2, "base64": 2, "to_base64": 2, "bin": 8, "to_binary": 8, "url_encode": 3, "regexp_escape": 2,
    "to_json": 6, "json_quote": 6, "json_object": 6, "json_array": 6, "json_merge_patch": 2, "upper": 2, "lower": 2,
    "ucase": 2, "lcase": 2, "nfc_normalize": 2, "strip_accents": 2, "like_escape": 2, "ilike_escape": 2,
    "not_like_escape": 2, "not_ilike_escape": 2, "string_split": 2, "str_split": 2, "split": 2, "string_to_array": 2,
}  # fmt: skip
"""By how much a function lengthens what it is given."""
MULTIPLYING = {"list_select": (0, 1), "array_to_string": (0, 1), "strftime": (0, 1)}
"""Functions whose result may be as long as two of their arguments multiplied."""
COMPARING = {
    "levenshtein", "editdist3", "damerau_levenshtein", "jaro_similarity", "jaro_winkler_similarity", "jaccard",
    "list_intersect", "array_intersect", "list_has_all", "array_has_all", "list_has_any", "array_has_any",
}  # fmt: skip

Node = dict[str, Any]


class TooMuch(Exception):
    """`node` is where; the words say what."""

    def __init__(self, node: Node, message: str, hint: str) -> None:
        super().__init__(message)
        self.node = node
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How long a column is taken to be, and what the expression may then come to."""

    column: int
    characters: int
    pairs: int


BOUNDS = _Bounds(COLUMN_CHARACTERS, CHARACTERS_MAX, PAIRS_MAX)
"""Of an expression as it is written."""
LONGEST = 10_000_000
"""The longest text of a row that an expression takes."""
LENGTHS = (LONGEST, LONGEST // 10, LONGEST // 100, LONGEST // 1_000, LONGEST // 10_000)
LONG_CHARACTERS_MAX = 200_000_000
"""The most that an expression may come to for a row with long texts."""
LONG_PAIRS_MAX = 200_000_000


def check(root: Node) -> None:
    """Raises TooMuch where an expression may come to more than CHARACTERS_MAX, and RecursionError if it is deep."""
    _size(root, BOUNDS)


def longest(root: Node) -> int:
    """How long the texts of a row may be for an expression that passes `check`: its time and memory stay bounded."""
    for length in LENGTHS:
        with suppress(TooMuch):
            _size(root, _Bounds(length, LONG_CHARACTERS_MAX, LONG_PAIRS_MAX))
            return length
    return COLUMN_CHARACTERS


def _size(node: Node, bounds: _Bounds) -> int:
    """The most characters of a node's value."""
    kind = str(node["class"])
    if kind == "COLUMN_REF":
        return bounds.column
    if kind == "CONSTANT":
        return max(1, len(_text(node)))
    if kind == "TYPE":
        return 0
    arguments = [each["expression"] for each in node.get("arguments", ()) if "expression" in each]
    if kind != "FUNCTION" or not arguments:
        return SCALAR_CHARACTERS + sum(_size(part, bounds) for part in _parts(node))
    name = str(node["function_name"]).lower()
    sizes = [_size(each, bounds) for each in arguments]
    size = _made(node, name, arguments, sizes, bounds)
    if size > bounds.characters:
        raise TooMuch(
            node,
            f"what {name} makes may become longer than {bounds.characters:,} characters",
            "calls that lengthen text inside one another multiply: compute it in the model",
        )
    return size


def _parts(value: Any) -> Sequence[Node]:
    """The nearest expressions below a node."""
    found: list[Node] = []
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict) and "class" in inner:
            found.append(inner)
        elif isinstance(inner, dict | list):
            found += _parts(inner)
    return found


def _made(node: Node, name: str, arguments: Sequence[Node], sizes: Sequence[int], bounds: _Bounds) -> int:
    total = sum(sizes)
    if name in COUNTED and len(arguments) > 1:
        count = _count(node, name, arguments[1])
        if name == "repeat":
            return sizes[0] * count
        return total + count * (max(sizes[2:], default=1) if name == "list_resize" else 1)
    if name in WRITTEN:
        return total + _widths(node, name, arguments[0]) + SCALAR_CHARACTERS * len(arguments)
    if name in ("replace", "regexp_replace") and len(arguments) >= 3:
        return _replaced(name, arguments, sizes)
    if name in COMPARING and sizes[0] * sizes[-1] > bounds.pairs:
        raise TooMuch(
            node,
            f"{name} would compare more than {bounds.pairs:,} pairs of characters",
            "compare shorter texts: left()",
        )
    if name == "concat_ws":
        return total + sizes[0] * len(sizes)
    if name in MULTIPLYING and len(sizes) > 1:
        one, other = MULTIPLYING[name]
        return sizes[one] * (1 + sizes[other])
    return SCALAR_CHARACTERS + total * TIMES.get(name, 1)


def _replaced(name: str, arguments: Sequence[Node], sizes: Sequence[int]) -> int:
    """A text in which each match becomes another one; a pattern may match between any two characters."""
    text, put = sizes[0], sizes[2]
    if name == "regexp_replace":
        everywhere = len(arguments) > 3 and "g" in (_text(arguments[3]) or "g")
        return (text + 1) * (1 + _length(arguments[2], put)) if everywhere else text * 2 + put
    shortest = max(1, _length(arguments[1], 1)) if arguments[1]["class"] == "CONSTANT" else 1
    return max(text, (text // shortest + 1) * _length(arguments[2], put) + text)


def _length(node: Node, size: int) -> int:
    """What is known of a constant, which may be empty; else the bound."""
    return len(_text(node)) if node["class"] == "CONSTANT" else size


def _count(node: Node, name: str, given: Node) -> int:
    """A count that is written down, or the smaller of something and one that is."""
    if given["class"] == "FUNCTION" and str(given["function_name"]).lower() == "least":
        written = [_number(each["expression"]) for each in given["arguments"]]
        known = [number for number in written if number is not None]
        found = min(known) if known else None
    else:
        found = _number(given)
    if found is None or found > COUNT_MAX:
        raise TooMuch(
            node,
            f"{name} takes a whole number of at most {COUNT_MAX:,}, written in the expression",
            f"{name}(…, 20), or {name}(…, least(length(a), 20)) for one that differs from row to row",
        )
    return max(0, found)


def _number(node: Node) -> int | None:
    text = _text(node)
    return int(text) if node["class"] == "CONSTANT" and re.fullmatch(r"-?\d{1,18}", text) else None


def _text(node: Node) -> str:
    """A constant as it is written; nothing for anything else."""
    literal = node.get("literal") or {}
    return str(literal.get("text", ""))


def _widths(node: Node, name: str, given: Node) -> int:
    """How much the widths in a format add. One that is not written down could hold any."""
    text = _text(given)
    if given["class"] != "CONSTANT" or "*" in text or re.search(r"\{[^{}]*\{", text):
        raise TooMuch(
            node, f"{name} takes a format that is written in the expression", "widths are digits, as in {:05d}"
        )
    widths = [int(digits) for digits in re.findall(r"\d{1,30}", text)]
    if any(width > COUNT_MAX for width in widths):
        raise TooMuch(node, f"a width in {name} is larger than {COUNT_MAX:,}", "write a smaller one")
    return sum(widths)
