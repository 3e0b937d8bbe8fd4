"""Limits inside Liquid templates that its library does not keep: how long a range is, and what a filter makes.

The library counts loops and what is printed; a filter or `reversed` may still take the memory of the machine in one
step. Not here: which tags and filters there are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liquid import BoundTemplate, RenderContext
    from liquid.ast import Node
    from liquid.builtin.expressions.primitive import RangeLiteral

ITEMS_MAX = 100_000
"""The most items of a list that a filter takes or makes."""


def bounded(name: str, original: Callable[..., Any], characters_max: int) -> Callable[..., Any]:
    """The filter; it raises a ResourceLimitError instead of making more than `characters_max` or ITEMS_MAX."""

    @functools.wraps(original)
    def filtered(value: object, *arguments: object, **named: object) -> object:
        for each in (value, *arguments):
            _check(each, characters_max)
        if _coming(name, value, arguments) > characters_max:
            raise _too_much()
        made = original(value, *arguments, **named)
        _check(made, characters_max)
        return made

    return filtered


def _check(value: object, characters_max: int) -> None:
    if isinstance(value, str) and len(value) > characters_max:
        raise _too_much()
    if isinstance(value, list | tuple) and len(value) > ITEMS_MAX:
        raise _too_much()
    if isinstance(value, int) and value.bit_length() > characters_max:
        raise _too_much()


def _coming(name: str, value: object, arguments: tuple[object, ...]) -> int:
    """How many characters a filter that multiplies is about to make; 0 for all others."""
    if name == "replace" and arguments:
        put = str(arguments[1]) if len(arguments) > 1 else ""
        return str(value).count(str(arguments[0])) * len(put)
    if name == "join" and isinstance(value, list | tuple):
        return len(value) * len(str(arguments[0] if arguments else " "))
    return 0


def bound_ranges(template: BoundTemplate, length_max: int) -> None:
    """Let every range of the template, `(1..n)`, raise a ResourceLimitError where it is longer."""
    from liquid import RenderContext

    context = RenderContext(template)
    waiting: list[Node] = list(template.nodes)
    while waiting:
        node = waiting.pop()
        for expression in node.expressions():
            for found in _ranges(expression):
                found.stop = _bounded_stop(found, length_max)
        waiting.extend(node.children(context, include_partials=False))


def _ranges(expression: Any) -> Iterator[RangeLiteral]:
    from liquid.builtin.expressions.primitive import RangeLiteral

    waiting = [expression]
    while waiting:
        found = waiting.pop()
        if isinstance(found, RangeLiteral):
            yield found
        waiting.extend(found.children())


def _bounded_stop(literal: RangeLiteral, length_max: int) -> Any:
    """The end of a range as an expression that looks at the range's length when it is computed."""
    from liquid.expression import Expression
    from liquid.limits import to_int

    start, stop = literal.start, literal.stop

    class Stop(Expression):
        def __init__(self) -> None:
            super().__init__(stop.token)

        def __str__(self) -> str:
            return str(stop)

        def evaluate(self, context: RenderContext) -> object:
            first, last = (_whole(each.evaluate(context), to_int) for each in (start, stop))
            if last - first >= length_max:
                raise _too_much()
            return last

        def children(self) -> list[Expression]:
            return [stop]

    return Stop()


def _whole(value: object, to_int: Callable[[Any], int]) -> int:
    """A value as the library takes it for the end of a range."""
    try:
        return to_int(value)
    except (ValueError, TypeError):
        return 0


def _too_much() -> Exception:
    from liquid.exceptions import OutputStreamLimitError

    return OutputStreamLimitError("too much", token=None)
