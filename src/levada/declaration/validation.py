"""Pydantic's complaints, in the words of the file: one ConfigError each, at the key or value concerned.

A union's branches are narrowed to the one that was meant, by the shape of what stands there. Messages name
keys and never repeat a value that may be a secret. Not here: what is valid, which the classes say themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from levada.declaration.keys import KeyFacts, annotations_at, keys_of, mark_of, models_at, plain, words
from levada.declaration.yaml import KeyPath, Positions
from levada.errors import ConfigError
from levada.nearest import nearest, nearest_hint

SHOWN_MAX = 60
"""The longest value that a message repeats, in characters."""

T = TypeVar("T", bound=BaseModel)


def validate(
    cls: type[T],
    value: Mapping[str, Any],
    positions: Positions,
    *,
    broken: Iterable[KeyPath] = (),
    also: Sequence[str] = (),
    secret: bool = False,
) -> tuple[T | None, list[ConfigError]]:
    """The value as `cls`, or what is wrong with it, in the order of the file.

    `broken`: paths that have an error already and are not complained of again. `also`: keys of the file that
    `cls` does not see. `secret`: the file describes an account, so that messages repeat no values.
    """
    try:
        return cls.model_validate(value), []
    except ValidationError as error:
        problems = [_locate(details, value) for details in error.errors(include_url=False)]
    known_broken = set(broken)
    errors = [
        _unknown_key(problem, cls, value, positions, also)
        if problem.type == "extra_forbidden"
        else _with_description(_explain(problem, cls, value, positions, secret), cls, problem, value)
        for problem in _narrow(problems)
        if not any(problem.path[: len(path)] == path for path in known_broken) and not _is_misspelt(problem, cls, value)
    ]
    errors.sort(key=lambda found: (found.where.line, found.where.column) if found.where else (0, 0))
    return None, errors


@dataclass(frozen=True, slots=True)
class _Problem:
    """One complaint. `path` leads through the file; `tags` are pydantic's names of union branches on the way."""

    path: KeyPath
    tags: tuple[tuple[int, str], ...]
    details: ErrorDetails
    of_key: bool = False
    #: all branches of a union said no to the shape
    shapeless: bool = False

    @property
    def type(self) -> str:
        return self.details["type"]


def _locate(details: ErrorDetails, value: Any) -> _Problem:
    """Follow pydantic's location through the value; what leads nowhere in it is the name of a branch."""
    path: list[str | int] = []
    tags: list[tuple[int, str]] = []
    of_key = False
    location = details["loc"]
    for index, part in enumerate(location):
        last = index == len(location) - 1
        inside = (isinstance(value, Mapping) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            value = value[part]
            path.append(part)
        elif part == "[key]":
            of_key = True
        elif last and details["type"] == "missing" and isinstance(value, Mapping):
            path.append(part)
        else:
            tags.append((len(path), str(part)))
    return _Problem(tuple(path), tuple(tags), details, of_key)


def _is_shape(problem: _Problem, point: KeyPath) -> bool:
    return problem.path == point and problem.type.endswith(("_type", "_parsing", "literal_error"))


def _narrow(problems: Sequence[_Problem]) -> list[_Problem]:
    """Of each union keep the complaints of the branch that was meant."""
    kept = [problem for problem in problems if not problem.tags]
    points: dict[KeyPath, dict[str, list[_Problem]]] = {}
    for problem in problems:
        if problem.tags:
            depth, tag = problem.tags[0]
            branches = points.setdefault(problem.path[:depth], {})
            branches.setdefault(tag, []).append(replace(problem, tags=problem.tags[1:]))
    for point, branches in points.items():
        shaped = [found for found in branches.values() if not any(_is_shape(problem, point) for problem in found)]
        if shaped:
            kept += _narrow(min(shaped, key=len))
        elif len(branches) == 1:
            kept += _narrow(next(iter(branches.values())))
        else:
            first = next(iter(branches.values()))[0]
            kept.append(replace(first, tags=(), shapeless=True))
    return kept


def _plain(message: str) -> str:
    """Pydantic's sentence without its dialect."""
    text = re.sub(r"^(Value error, |Assertion failed, )", "", message)
    text = re.sub(r"^(Input|Value|String|List|Tuple|Dictionary) should ", "must ", text)
    return text.replace("valid string", "text").replace("at most 1 characters", "at most one character")


def _named(path: KeyPath) -> str:
    """The last key of a path as a message names it: `tags[0]`; the file itself has no name."""
    if not path:
        return "the file"
    index = ""
    for part in reversed(path):
        if isinstance(part, str):
            return f"`{part}{index}`"
        index = f"[{part}]{index}"
    return f"`{index}`"


def _explain(
    problem: _Problem, cls: type[BaseModel], whole: Mapping[str, Any], positions: Positions, secret: bool
) -> ConfigError:
    path, kind = problem.path, problem.type
    name = _named(path)
    if kind == "missing":
        missing = path[-1]
        return ConfigError(
            f"the key {name} is missing",
            code="config.missing_key",
            where=positions.at(*path[:-1]),
            hint=_missing_hint(cls, path) or f"add `{missing}:`",
        )
    found = _value_at(whole, path)
    where = positions.key(*path) if problem.of_key else positions.at(*path)
    allowed = annotations_at(cls, path, of_key=problem.of_key)
    if found is None and (problem.shapeless or _is_shape(problem, path)):
        return ConfigError(
            f"{name} has no value", code="config.wrong_type", where=where, hint="give it one, or remove the key"
        )
    if kind == "literal_error" and not problem.shapeless:
        known = [plain(choice) for each in allowed if get_origin(each) is Literal for choice in get_args(each)]
        return ConfigError(
            f"{name} must be {'one of ' if len(known) > 1 else ''}{', '.join(known)}{_not(found, secret)}",
            code="config.wrong_value",
            where=where,
            hint=nearest_hint(found, known) if isinstance(found, str) and nearest(found, known) else None,
        )
    if kind in ("value_error", "assertion_error"):
        return _own_words(problem, whole, positions, secret)
    mark = next((mark for each in allowed if (mark := mark_of(each))), None)
    if problem.shapeless or kind.endswith(("_type", "_parsing", "_from_float", "_parsing_size")):
        hint = mark.hint if mark else None
        if kind == "string_type" and isinstance(found, int | float) and not isinstance(found, bool):
            hint = "put it in quotes"
        elif kind == "tuple_type" and isinstance(found, str):
            hint = "write [a, b], also for a single one"
        message = f"{name} must be {words(*allowed)}{_not(found, secret)}"
        return ConfigError(message, code="config.wrong_type", where=where, hint=hint)
    if kind == "string_pattern_mismatch" and mark:
        message = f"{name} must be {words(*allowed)}{_not(found, secret)}"
        return ConfigError(message, code="config.wrong_value", where=where, hint=mark.hint)
    message = _plain(problem.details["msg"])
    shown = f"{name} {message}{_not(found, secret)}" if message.startswith("must be ") else f"{name}: {message}"
    return ConfigError(shown, code="config.wrong_value", where=where)


def _with_description(error: ConfigError, cls: type[BaseModel], problem: _Problem, whole: Any) -> ConfigError:
    """An error that has no hint yet gets what the key is for; a mapping's own rule needs none."""
    path = problem.path
    keys = [index for index, part in enumerate(path) if isinstance(part, str)]
    ruled = problem.type == "value_error" and isinstance(_value_at(whole, path), Mapping)
    if error.hint is None and keys and not ruled:
        last = path[keys[-1]]
        if facts := _facts(cls, path[: keys[-1] + 1]):
            error.hint = f"`{last}`: {facts.brief}"
    return error


def _facts(cls: type[BaseModel], path: KeyPath) -> KeyFacts | None:
    """What is declared of the key at the end of a path, if it says what it is for."""
    known = (key for model in models_at(cls, path[:-1]) for key in keys_of(model))
    return next((key for key in known if key.name == path[-1] and key.meaning), None)


def _names(cls: type[BaseModel], path: KeyPath) -> list[str]:
    """The keys that the mapping at a path takes."""
    return [key.name for model in models_at(cls, path) for key in keys_of(model)]


def _not(found: Any, secret: bool) -> str:
    """What stands there instead, where it may be shown."""
    if secret or not isinstance(found, str | int | float) or not str(found) or len(str(found)) > SHOWN_MAX:
        return ""
    return f", not {str(found).lower() if isinstance(found, bool) else found}"


def _unknown_key(
    problem: _Problem, cls: type[BaseModel], whole: Mapping[str, Any], positions: Positions, also: Sequence[str]
) -> ConfigError:
    known = _names(cls, problem.path[:-1])
    if len(problem.path) == 1:
        known += also
    word = str(problem.path[-1])
    present = _value_at(whole, problem.path[:-1])
    absent = [key for key in known if not isinstance(present, Mapping) or key not in present]
    return ConfigError(
        f"unknown key `{word}`",
        code="config.unknown_key",
        where=positions.key(*problem.path),
        hint=nearest_hint(word, absent, "known keys"),
    )


def _is_misspelt(problem: _Problem, cls: type[BaseModel], whole: Mapping[str, Any]) -> bool:
    """Is a missing key there under another name, which is complained of as unknown already?"""
    if problem.type != "missing":
        return False
    present = _value_at(whole, problem.path[:-1])
    known = _names(cls, problem.path[:-1])
    unknown = [key for key in present if key not in known] if isinstance(present, Mapping) else []
    return any(nearest(key, [name for name in known if name not in present]) == problem.path[-1] for key in unknown)


def _missing_hint(cls: type[BaseModel], path: KeyPath) -> str | None:
    """What the missing key is for."""
    facts = _facts(cls, path)
    if facts is None:
        return None
    brief = facts.brief
    lower = brief[:1].lower() if brief[1:2].islower() or brief[1:2] == " " else brief[:1]
    return f"add `{facts.name}:` ({lower}{brief[1:]})"


def _own_words(problem: _Problem, whole: Mapping[str, Any], positions: Positions, secret: bool) -> ConfigError:
    """A validator's own sentence; where it begins a clause with a key of the mapping, it stands at that key."""
    message = _plain(problem.details["msg"])
    found = _value_at(whole, problem.path)
    where = positions.at(*problem.path)
    if isinstance(found, Mapping):
        named = [key for key in re.findall(r"\b([a-z_]+):", message) if key in found]
        if named:
            where = positions.key(*problem.path, named[-1])
    elif problem.path and not re.match(rf"`?{re.escape(str(problem.path[-1]))}\b", message):
        message = f"{_named(problem.path)}: {message}"
    if secret and isinstance(found, str) and found:
        message = message.replace(found, "…")
    return ConfigError(message, code="config.wrong_value", where=where)


def _value_at(value: Any, path: KeyPath) -> Any:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value
