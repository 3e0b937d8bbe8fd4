"""DuckDB's types as a tree, read from the names that DuckDB gives them: `STRUCT(seen TIMESTAMP[], n HUGEINT)`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

NESTED = ("LIST", "ARRAY", "STRUCT", "TUPLE", "MAP", "UNION")
_LIST = re.compile(r"(.*)\[(\d*)\]", re.DOTALL)
_MEMBER = re.compile(r'("(?:[^"]|"")*"|[^\s"]+)\s+(.*)', re.DOTALL)
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")


@dataclass(frozen=True, slots=True)
class Type:
    """A type. `kind` is LIST, ARRAY, STRUCT, TUPLE, MAP, UNION, ENUM, DECIMAL, or the name itself.

    `name` is what DuckDB calls it. `parts`: of a list its items, of a map keys and values, of a struct its members;
    `labels` are the members' names, as SQL writes them.
    """

    kind: str
    name: str
    parts: tuple[Type, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def nested(self) -> bool:
        return self.kind in NESTED

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names as they are."""
        return tuple(label[1:-1].replace('""', '"') if label.startswith('"') else label for label in self.labels)

    @property
    def decimal(self) -> tuple[int, int] | None:
        """(digits, places) of a DECIMAL."""
        found = _DECIMAL.fullmatch(self.name)
        return (int(found[1]), int(found[2])) if found else None

    def leaves(self) -> Iterator[Type]:
        """All types in it that are not nested themselves."""
        if not self.nested:
            yield self
        for part in self.parts:
            yield from part.leaves()

    def with_parts(self, parts: tuple[Type, ...]) -> Type:
        """The same with other parts. An array becomes a list."""
        match self.kind:
            case "LIST" | "ARRAY":
                return Type("LIST", f"{parts[0].name}[]", parts)
            case "MAP" | "TUPLE":
                return replace(self, name=f"{self.kind}({', '.join(part.name for part in parts)})", parts=parts)
        members = ", ".join(f"{label} {part.name}" for label, part in zip(self.labels, parts, strict=True))
        return replace(self, name=f"{self.kind}({members})", parts=parts)


@lru_cache(maxsize=10_000)
def type_of(name: str) -> Type:
    """The tree of a type that DuckDB named."""
    if found := _LIST.fullmatch(name):
        return Type("ARRAY" if found[2] else "LIST", name, (type_of(found[1]),))
    kind, bracket, rest = name.partition("(")
    if not bracket or kind not in ("STRUCT", "TUPLE", "MAP", "UNION", "ENUM", "DECIMAL"):
        return Type(name, name)
    parts = _split(rest[:-1])
    match kind:
        case "STRUCT" | "UNION":
            members = [_MEMBER.fullmatch(part) for part in parts]
            assert all(members), name
            kinds = tuple(type_of(found[2]) for found in members if found)
            return Type(kind, name, kinds, tuple(found[1] for found in members if found))
        case "TUPLE" | "MAP":
            return Type(kind, name, tuple(type_of(part) for part in parts))
    return Type(kind, name)


def _split(text: str) -> list[str]:
    """Parts between commas, those in brackets and quotes left alone."""
    parts, start, depth, quote = [], 0, 0, ""
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "," and not depth:
            parts.append(text[start:place].strip())
            start = place + 1
        else:
            depth += (letter in "([") - (letter in ")]")
    return [*parts, text[start:].strip()]


def changed(kind: Type, leaf: Callable[[Type], Type]) -> Type:
    """The type with every type inside that is not nested put through `leaf`."""
    if not kind.nested:
        return leaf(kind)
    return kind.with_parts(tuple(changed(part, leaf) for part in kind.parts))


def items(value: str, kind: Type) -> str:
    """A list; an array as a list, since DuckDB's functions over lists take no array."""
    return f"CAST({value} AS {kind.parts[0].name}[])" if kind.kind == "ARRAY" else value


def member(value: str, index: int) -> str:
    """A member of a struct, by place: names may differ in nothing but their case."""
    return f"struct_extract_at({value}, {index + 1})"


def any_inside(value: str, kind: Type, test: Callable[[str, Type], str | None]) -> str | None:
    """A condition that is true if a value inside passes `test`, never NULL; None if no value of the type can.

    `test` gives the condition for a value that is not nested, or None.
    """
    return _any_inside(value, kind, test, count())


def _any_inside(value: str, kind: Type, test: Callable[[str, Type], str | None], numbers: Iterator[int]) -> str | None:
    match kind.kind:
        case "LIST" | "ARRAY":
            name = f"y{next(numbers)}"
            inner = _any_inside(name, kind.parts[0], test, numbers)
            each = f"list_transform({items(value, kind)}, lambda {name}: {inner})"
            return inner and f"coalesce(list_bool_or({each}), false)"
        case "MAP":
            found = [
                _any_inside(f"{side}({value})", Type("LIST", f"{part.name}[]", (part,)), test, numbers)
                for side, part in zip(("map_keys", "map_values"), kind.parts, strict=True)
            ]
        case "STRUCT" | "TUPLE":
            found = [_any_inside(member(value, at), part, test, numbers) for at, part in enumerate(kind.parts)]
        case "UNION":
            parts = zip(kind.names, kind.parts, strict=True)
            found = [_any_inside(union_member(value, name), part, test, numbers) for name, part in parts]
        case _:
            condition = test(value, kind)
            return condition and f"coalesce({condition}, false)"
    conditions = [condition for condition in found if condition]
    return f"({' OR '.join(conditions)})" if conditions else None


def union_member(value: str, name: str) -> str:
    """The value of a union if it is this member, else NULL."""
    quoted = "'" + name.replace("'", "''") + "'"
    return f"union_extract({value}, {quoted})"
