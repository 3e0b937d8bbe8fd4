"""Pydantic's complaints, in the words of the file: one ConfigError each, at the key or value concerned.

A union's branches are narrowed to the one that was meant, by the shape of what stands there. Messages name
keys and never repeat a value that may be a secret. Not here: what is valid, which the classes say themselves.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from levada.errors import ConfigError
from levada.mapping import FieldDeclaration
from levada.meaning import meaning_of
from levada.model import NAME_PATTERN
from levada.nearest import nearest
from levada.project.yaml import KeyPath, Positions
from levada.sync import Sync

SHOWN_MAX = 60
"""The longest value that a message repeats, in characters."""
CHOICES_MAX = 30
"""The most alternatives that a hint lists."""

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


def choices_hint(word: str, known: Sequence[str], *, what: str) -> str | None:
    """`did you mean …?`, or the list of what there is."""
    if meant := nearest(word, known):
        return f"did you mean `{meant}`?"
    if not known:
        return None
    listed = ", ".join(known[:CHOICES_MAX]) + (", …" if len(known) > CHOICES_MAX else "")
    return f"{what}: {listed}"


@dataclass(frozen=True, slots=True)
class _Problem:
    """One complaint. `path` leads through the file; `tags` are pydantic's names of union branches on the way."""

    path: KeyPath
    tags: tuple[tuple[int, str], ...]
    details: ErrorDetails
    of_key: bool = False
    #: all branches of a union said no to the shape: what each of them takes
    takes: tuple[str, ...] = ()

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
    kind = problem.type
    return problem.path == point and (kind.endswith(("_type", "_parsing")) or kind in ("literal_error", "enum"))


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
            takes = dict.fromkeys(_taken(problem) for found in branches.values() for problem in found)
            kept.append(replace(first, tags=(), takes=tuple(takes)))
    return kept


_WORDS = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
    "set": "a list",
    "frozen_set": "a list",
    "dict": "a mapping",
    "mapping": "a mapping",
    "model": "a mapping",
    "model_attributes": "a mapping",
    "dataclass": "a mapping",
    "date": "a date such as 2026-11-20",
    "date_from_datetime": "a date such as 2026-11-20",
    "datetime": "a moment such as 2026-11-20T12:00:00Z",
    "time": "a time such as 12:30",
    "time_delta": "a duration",
    "url": "a URL such as https://example.com",
    "bytes": "text",
    "uuid": "a UUID",
    "path": "a path",
}


def _taken(problem: _Problem) -> str:
    """What the value should have been, as words that follow `must be`."""
    kind = problem.type
    context = problem.details.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return _or([f"`{word}`" for word in _choices(context)])
    for ending in ("_type", "_parsing", "_from_float", "_parsing_size"):
        if kind.endswith(ending) and (words := _WORDS.get(kind[: -len(ending)])):
            return words
    return _plain(problem.details["msg"]).removeprefix("must be ")


def _choices(context: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'((?:[^'\\]|\\.)*)'", str(context.get("expected", "")))


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


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
    if found is None and (problem.takes or _is_shape(problem, path)):
        return ConfigError(
            f"{name} has no value", code="config.wrong_type", where=where, hint="give it one, or remove the key"
        )
    if problem.takes:
        return ConfigError(f"{name} must be {_or(problem.takes)}", code="config.wrong_type", where=where)
    if kind in ("literal_error", "enum"):
        known = _choices(problem.details.get("ctx", {}))
        return ConfigError(
            f"{name} must be {'one of ' if len(known) > 1 else ''}{', '.join(known)}{_not(found, secret)}",
            code="config.wrong_value",
            where=where,
            hint=f"did you mean `{meant}`?" if isinstance(found, str) and (meant := nearest(found, known)) else None,
        )
    if kind == "string_pattern_mismatch":
        return _pattern(problem, name, found, positions, secret)
    if kind in ("value_error", "assertion_error"):
        return _own_words(problem, whole, positions, secret)
    if FieldDeclaration in _types_at(cls, path) and kind in ("model_type", "model_attributes_type"):
        message = f"{name} must be the name of a column, or a mapping"
        return ConfigError(message, code="config.wrong_type", where=where, hint="a constant is {value: …}")
    words = _taken(problem)
    if words == _plain(problem.details["msg"]):
        return ConfigError(f"{name}: {words}", code="config.wrong_value", where=where)
    wrong_type = _is_shape(problem, path) or kind.endswith(("_from_float", "_parsing_size"))
    code = "config.wrong_type" if wrong_type else "config.wrong_value"
    hint = None
    if words == "text" and isinstance(found, int | float):
        hint = "put it in quotes"
    elif words == "a list" and isinstance(found, str):
        hint = "write [a, b], also for a single one"
    return ConfigError(f"{name} must be {words}{_not(found, secret)}", code=code, where=where, hint=hint)


def _with_description(error: ConfigError, cls: type[BaseModel], problem: _Problem, whole: Any) -> ConfigError:
    """An error that has no hint yet gets what the key is for; a mapping's own rule needs none."""
    path = problem.path
    keys = [index for index, part in enumerate(path) if isinstance(part, str)]
    ruled = problem.type == "value_error" and isinstance(_value_at(whole, path), Mapping)
    if error.hint is None and keys and not ruled:
        last = path[keys[-1]]
        for model in _models_at(cls, path[: keys[-1]]):
            for name, field in model.model_fields.items():
                if last in (name, field.alias) and (meaning := meaning_of(model, name)):
                    error.hint = f"`{last}`: {first_sentence(meaning)}"
                    return error
    return error


def _not(found: Any, secret: bool) -> str:
    """What stands there instead, where it may be shown."""
    if secret or not isinstance(found, str | int | float) or not str(found) or len(str(found)) > SHOWN_MAX:
        return ""
    return f", not {str(found).lower() if isinstance(found, bool) else found}"


def _unknown_key(
    problem: _Problem, cls: type[BaseModel], whole: Mapping[str, Any], positions: Positions, also: Sequence[str]
) -> ConfigError:
    known = [key for model in _models_at(cls, problem.path[:-1]) for key in keys_of(model)]
    if len(problem.path) == 1:
        known += also
    word = str(problem.path[-1])
    present = _value_at(whole, problem.path[:-1])
    absent = [key for key in known if not isinstance(present, Mapping) or key not in present]
    meant = nearest(word, absent)
    return ConfigError(
        f"unknown key `{word}`",
        code="config.unknown_key",
        where=positions.key(*problem.path),
        hint=f"did you mean `{meant}`?" if meant else choices_hint("", known, what="known keys"),
    )


def _is_misspelt(problem: _Problem, cls: type[BaseModel], whole: Mapping[str, Any]) -> bool:
    """Is a missing key there under another name, which is complained of as unknown already?"""
    if problem.type != "missing":
        return False
    present = _value_at(whole, problem.path[:-1])
    known = [key for model in _models_at(cls, problem.path[:-1]) for key in keys_of(model)]
    unknown = [key for key in present if key not in known] if isinstance(present, Mapping) else []
    return any(nearest(key, [name for name in known if name not in present]) == problem.path[-1] for key in unknown)


def _missing_hint(cls: type[BaseModel], path: KeyPath) -> str | None:
    """What the missing key is for."""
    for model in _models_at(cls, path[:-1]):
        for name, field in model.model_fields.items():
            if path[-1] in (name, field.alias) and (words := meaning_of(model, name)):
                meaning = first_sentence(words)
                lower = meaning[:1].lower() if meaning[1:2].islower() or meaning[1:2] == " " else meaning[:1]
                return f"add `{path[-1]}:` ({lower}{meaning[1:]})"
    return None


def first_sentence(text: str) -> str:
    """The first sentence of a docstring, on one line, without its full stop."""
    return re.split(r"(?<=[^.])\.(?:\s|$)", " ".join(text.split()), maxsplit=1)[0].rstrip(".")


_TO_PATTERN = next(
    str(item.pattern) for item in Sync.model_fields["to"].metadata if getattr(item, "pattern", None) is not None
)
_PATTERNS: dict[str, tuple[str, str | None]] = {
    r"^https?://": ("a URL that begins with http:// or https://", "for example https://example.com/hook"),
    NAME_PATTERN: ("a name", "letters, digits, _ and -, beginning with a letter or _"),
    _TO_PATTERN: ("destination.object", "for example crm.contacts"),
}


def _pattern(problem: _Problem, name: str, found: Any, positions: Positions, secret: bool) -> ConfigError:
    pattern = str(problem.details.get("ctx", {}).get("pattern"))
    words, hint = _PATTERNS.get(pattern, (f"of the form {pattern}", None))
    where = positions.key(*problem.path) if problem.of_key else positions.at(*problem.path)
    return ConfigError(
        f"{name} must be {words}{_not(found, secret)}", code="config.wrong_value", where=where, hint=hint
    )


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


# -- the classes along a path


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys that a class takes in a file, in the order of its fields."""
    return [field.alias or name for name, field in model.model_fields.items()]


def members(annotation: Any) -> list[Any]:
    """The alternatives of an annotation: unions and Annotated taken apart, None left out."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return [member for argument in get_args(annotation) for member in members(argument)]
    if hasattr(annotation, "__value__"):  # type X = …
        return members(annotation.__value__)
    return [] if annotation in (None, type(None)) else [annotation]


def _children(annotation: Any, part: str | int) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                return members(field.annotation)
        return []
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Literal or not arguments:
        return []
    if isinstance(part, int):
        return members(arguments[0])
    return members(arguments[-1]) if len(arguments) == 2 else []


def _types_at(cls: type[BaseModel], path: KeyPath) -> list[Any]:
    found: list[Any] = [cls]
    for part in path:
        found = [child for annotation in found for child in _children(annotation, part)]
    return found


def _models_at(cls: type[BaseModel], path: KeyPath) -> list[type[BaseModel]]:
    return [found for found in _types_at(cls, path) if isinstance(found, type) and issubclass(found, BaseModel)]
