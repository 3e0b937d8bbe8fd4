"""A mapping as SQL: for each row of a model its key, its fields as they would arrive, a hash, and what is wrong.

The columns of a mapped row are k0… (key), v0… (fields; for a field that needs Python, its input), `h` (a
64-bit hash over all v), `p` (NULL, or code, field and reason, for rows that cannot be sent) and `bad` (p is not
NULL, at less cost). Not here:
where the rows come from, and the fields that need Python (`levada.planners.python_fields`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from collections.abc import Mapping as MappingOf
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from levada.errors import ConfigError
from levada.mapping import FieldMapping, Mapping
from levada.nearest import nearest_hint
from levada.planners import expressions, sql, templates, transforms, values
from levada.planners.constants import constant
from levada.planners.engine import Binder, first_line
from levada.planners.kept import Coerced, Problem, kept
from levada.planners.misfits import (
    TOO_LONG_REASON,
    WIDEST,
    formless_misfit,
    number_too_long,
    text_too_large,
    unfit,
    unfit_of,
)
from levada.planners.transforms import Transform
from levada.source import UNFIT

SEPARATOR = "\x1f"
DIGITS = "\x1fdigits"
"""What the name of the column with a number's digits ends with."""
STATEMENT_CHARACTERS_MAX = 2_000_000
HASH_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Round:
    """One step in Python and the SQL transforms that follow it. `template` is set for a template."""

    transform: Transform | None
    template: str = ""
    then: tuple[Transform, ...] = ()

    @property
    def label(self) -> str:
        if self.transform is None:
            return f"template/{templates.VERSION}"
        return f"{self.transform.label}/{self.transform.version}"


@dataclass(frozen=True, slots=True)
class MappedField:
    """One field. `raw` is over the model's columns, `value` over `r<index>`.

    With `rounds` the field is *late*: v holds its input as text, and `coerced` is over `r<index>`, the text
    that the rounds end with.
    """

    name: str
    index: int
    origin: str
    raw: str
    coerced: Coerced
    rounds: tuple[Round, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    #: a column as it is: rows that differ in the column differ in the field
    plain: bool = False
    #: a column of numbers of unlimited size, as it is
    unlimited: bool = False

    @property
    def late(self) -> bool:
        return bool(self.rounds)

    @property
    def type(self) -> str:
        """The DuckDB type of the field as it arrives."""
        return self.coerced.type

    @property
    def compared(self) -> str:
        """The DuckDB type of what is compared."""
        return "VARCHAR" if self.late else self.type


@dataclass(frozen=True, slots=True)
class Layout:
    """All that the later steps need to know of a mapping: names, types, order and versions."""

    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    fields: tuple[MappedField, ...]
    match: tuple[str, ...]
    skip_nulls: bool
    mapping_version: str
    hash_version: str
    select: str = field(repr=False, default="")

    @property
    def late(self) -> tuple[MappedField, ...]:
        return tuple(each for each in self.fields if each.late)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.fields)

    @property
    def matched(self) -> tuple[MappedField, ...]:
        return tuple(each for each in self.fields if each.name in self.match)

    @property
    def match_is_key(self) -> bool:
        """Do rows of different keys have different match values by construction?"""
        origins = {each.origin.lower() for each in self.matched if each.plain}
        return not self.match or {key.lower() for key in self.keys} <= origins

    @property
    def nothing(self) -> str:
        """Mapped rows, none of them."""
        parts = [f"CAST(NULL AS {kind}) AS k{index}" for index, kind in enumerate(self.key_types)]
        parts += [f"CAST(NULL AS {each.compared}) AS v{each.index}" for each in self.fields]
        parts += ["CAST(NULL AS VARCHAR) AS p", "false AS bad", "CAST(NULL AS UBIGINT) AS h"]
        return f"SELECT {sql.listed(parts)} WHERE false"

    def recipe(self) -> dict[str, Any]:
        """What folding needs to compute hashes again: kept in the plan's folder."""
        return {
            "keys": list(self.key_types),
            "fields": [{"name": each.name, "type": each.type, "late": each.late} for each in self.fields],
            "mapping_version": self.mapping_version,
            "hash_version": self.hash_version,
        }


def model_column(name: str, mark: str) -> str:
    """A column of the model as it is selected, by what its source says that its text holds.

    A number of unlimited size (`numeric_text`) becomes the widest decimal, to be computed with and sent as a
    number, and beside it its own digits, for whatever takes text or looks at the digits itself.
    """
    column = sql.quoted(name)
    match mark:
        case "json" | "uuid":
            return f"CAST({column} AS {mark.upper()}) AS {column}"
        case "numeric_text":
            return f"TRY_CAST({column} AS {WIDEST}) AS {column}, {column} AS {sql.quoted(name + DIGITS)}"
        case _:
            return column


def key_name(name: str) -> str:
    return sql.quoted(f"key.{name}")


def after_name(name: str) -> str:
    return sql.quoted(f"after.{name}")


def before_name(name: str) -> str:
    return sql.quoted(f"before.{name}")


def input_name(name: str) -> str:
    return sql.quoted(f"input.{name}")


def hash_version(types: Sequence[str], late: Sequence[str]) -> str:
    """What a stored hash depends on besides the values: DuckDB, the types compared, and late steps."""
    import duckdb

    hashed = [f"{kind} and its JSON" if values.nested(kind) else kind for kind in types]
    kinds = hashlib.sha256(json.dumps(hashed).encode()).hexdigest()[:8]
    steps = "".join(f"+{step}" for step in late)
    return f"duckdb-{duckdb.__version__}/{HASH_FORMAT}:{kinds}{steps}"


def late_part(version: str) -> str:
    """The part of a hash version that names the late steps."""
    return version.partition("+")[2]


def lay_out(
    engine: Binder,
    relation: str,
    columns: MappingOf[str, str],
    mapping: Mapping,
    keys: Sequence[str],
    compared_as: Callable[[str, str], str] = lambda key, kind: kind,
) -> Layout:
    """The layout of a mapping over `relation`, whose columns and DuckDB types are `columns`.

    `compared_as` tells in which type a key of a given type is compared. Raises ConfigError for what the model
    cannot satisfy: unknown or ambiguous columns, unfit types.
    """
    _distinct(mapping.names, "the fields")
    known = _Columns(columns)
    key_raw = [sql.quoted(known.find(key, "key")) for key in keys]
    type_of = partial(_type_of, engine, relation)
    drafts = [_draft(each, index, known, type_of) for index, each in enumerate(mapping.fields)]
    raw = sql.listed(
        [*(f"{source} AS r_k{index}" for index, source in enumerate(key_raw))]
        + [f"{draft.raw} AS r{draft.index}" for draft in drafts]
        + [f"{draft.failed_sql} AS x{draft.index}" for draft in drafts if draft.failures]
        + [f"({misfit[0]}) AS m{d.index}_{number}" for d in drafts for number, misfit in enumerate(d.misfits)]
        + ([f"{sql.quoted(UNFIT)} AS u"] if known.unfit else [])
    )
    if len(raw) > STATEMENT_CHARACTERS_MAX:
        raise ConfigError(
            "the mapping is too large", code="config.mapping", hint="split the sync, or compute in the model"
        )
    types = _bound_types(engine, relation, raw, drafts)
    key_coerced = [_key(f"r_k{index}", types[f"r_k{index}"], key, compared_as) for index, key in enumerate(keys)]
    fields = [
        _finished(draft, each, types[f"r{draft.index}"]) for draft, each in zip(drafts, mapping.fields, strict=True)
    ]
    problems = list(_key_problems(keys, key_coerced, known.unfit))
    problems += [
        (d.name, Problem(f"m{d.index}_{number}", code, reason))
        for d in drafts
        for number, (_, code, reason) in enumerate(d.misfits)
    ]
    for mapped in fields:
        problems += _field_problems(mapped, mapping)
    shown = sql.listed(f"{coerced.sql} AS k{index}" for index, coerced in enumerate(key_coerced))
    compared = sql.listed(
        f"{f'CAST(r{each.index} AS VARCHAR)' if each.late else each.coerced.sql} AS v{each.index}" for each in fields
    )
    bad = sql.any_of([problem.condition for _, problem in problems])
    inner = (
        f"SELECT {sql.listed([shown, compared])}, {_first_problem(problems)} AS p, {bad} AS bad "
        f"FROM (SELECT {raw} FROM {relation})"
    )
    select = f"SELECT *, {hash_of([(f'v{each.index}', each.compared) for each in fields])} AS h FROM ({inner})"
    labels = [f"{each.name}={'>'.join(step.label for step in each.rounds)}" for each in fields if each.late]
    return Layout(
        keys=tuple(keys),
        key_types=tuple(coerced.type for coerced in key_coerced),
        fields=tuple(fields),
        match=mapping.match,
        skip_nulls=mapping.nulls == "skip",
        mapping_version=mapping.version,
        hash_version=hash_version([each.compared for each in fields], labels),
        select=select,
    )


def _key(value: str, kind: str, key: str, compared_as: Callable[[str, str], str]) -> Coerced:
    coerced = kept(value, kind)
    wider = compared_as(key, coerced.type)
    if wider == coerced.type:
        return coerced
    return Coerced(f"CAST({coerced.sql} AS {wider})", wider, coerced.problems)


def hash_of(parts: Sequence[tuple[str, str]]) -> str:
    """The row's hash over what is compared, each as SQL and its DuckDB type; never NULL.

    DuckDB hashes an empty list as it does NULL, at any depth: the JSON of nested values tells them apart.
    """
    hashed = [f"{value}, to_json({value})" if values.nested(kind) else value for value, kind in parts]
    return f"hash({sql.listed(hashed)})" if hashed else "hash(0)"


def split_problem(column: str) -> str:
    """field, code and reason of a problem, as three columns."""
    part = f"split_part({column}, chr(31), "
    return f"{part}2) AS field, {part}1) AS code, {part}3) AS reason"


def problem_text(code: str, name: str, reason: str) -> str:
    return f"{sql.text(code)} || chr(31) || {sql.text(name)} || chr(31) || {reason}"


def _first_problem(problems: Sequence[tuple[str, Problem]]) -> str:
    if not problems:
        return "CAST(NULL AS VARCHAR)"
    cases = " ".join(
        f"WHEN {problem.condition} THEN {problem_text(problem.code, name, problem.reason)}"
        for name, problem in problems
    )
    return f"CASE {cases} END"


def first_problem(problems: Sequence[tuple[str, Problem]]) -> str:
    """One SQL text expression: the first problem that a row has, or NULL."""
    return _first_problem(problems)


def _key_problems(keys: Sequence[str], coerced: Sequence[Coerced], told: bool) -> Sequence[tuple[str, Problem]]:
    found: list[tuple[str, Problem]] = []
    for index, (key, value) in enumerate(zip(keys, coerced, strict=True)):
        if told:
            condition, code, reason = unfit(key, "u")
            found.append((key, Problem(condition, code, f"{sql.text(f'the key column {key}: ')} || {reason}")))
        reason = sql.text(f"the key column {key} is NULL")
        found.append((key, Problem(f"(r_k{index} IS NULL)", "null_key", reason)))
        found += [(key, problem) for problem in value.problems]
    return found


def _field_problems(mapped: MappedField, mapping: Mapping) -> list[tuple[str, Problem]]:
    start = subject(mapped)
    found = []
    for number, (_, reason) in enumerate(mapped.failed, 1):
        condition = f"coalesce(x{mapped.index} = {number}, false)"
        found.append((mapped.name, Problem(condition, "transform", sql.text(f"{start}: {reason}"))))
    if mapped.late:
        return found
    return found + field_problems(mapped, mapping.match)


def subject(mapped: MappedField) -> str:
    """A field as reasons name it: with the column that it comes from."""
    return mapped.name if mapped.origin in ("", mapped.name) else f"{mapped.name} (from {mapped.origin})"


def field_problems(mapped: MappedField, match: Sequence[str]) -> list[tuple[str, Problem]]:
    """What can be wrong with a field's final value, each reason with the field and its origin in front."""
    start = subject(mapped)
    found = [
        (mapped.name, Problem(p.condition, p.code, f"{sql.text(start + ': ')} || {p.reason}"))
        for p in mapped.coerced.problems
    ]
    if mapped.name in match:
        reason = sql.text(f"{start}: NULL, and records are found by this field")
        found.append((mapped.name, Problem(f"({mapped.coerced.sql} IS NULL)", "null_match", reason)))
    return found


class _Columns:
    """The model's columns, found as DuckDB finds them: whatever their case.

    `texts` names, for each number of unlimited size, the column that holds its digits (see `model_columns`).
    """

    def __init__(self, types: MappingOf[str, str]) -> None:
        self.unfit = UNFIT in types
        self.types = {name: kind for name, kind in types.items() if not name.endswith(DIGITS) and name != UNFIT}
        self.texts = {name.removesuffix(DIGITS): name for name in types if name.endswith(DIGITS)}
        self.by_lower: dict[str, list[str]] = {}
        for name in self.types:
            self.by_lower.setdefault(name.lower(), []).append(name)

    def find(self, name: str, subject: str) -> str:
        found = self.by_lower.get(name.lower(), [])
        if not found:
            raise ConfigError(
                f"{subject}: the model has no column {name!r}",
                code="config.unknown_column",
                hint=nearest_hint(name, self.types),
            )
        if len(found) > 1:
            raise ConfigError(
                f"{subject}: the model has several columns {name!r}, different only in case",
                code="config.ambiguous_column",
                hint="give them different names in the model",
            )
        return found[0]


@dataclass(frozen=True, slots=True)
class _Draft:
    index: int
    name: str
    origin: str
    raw: str
    rounds: tuple[Round, ...]
    failures: tuple[tuple[str, str], ...]
    textual: bool
    #: for rows whose value cannot become what the field is made of: condition over the model's columns, code, and the
    #: reason as SQL
    misfits: tuple[tuple[str, str, str], ...] = ()
    #: is it a column of numbers of unlimited size, as a number? and is that sent by its digits?
    unlimited: bool = False
    digits: bool = False

    @property
    def failed_sql(self) -> str:
        """The number of the first transform that could not convert its input, or NULL."""
        cases = " ".join(f"WHEN {condition} THEN {number}" for number, (condition, _) in enumerate(self.failures, 1))
        return f"CASE {cases} END"


def _draft(mapped: FieldMapping, index: int, known: _Columns, type_of: Callable[[str], str]) -> _Draft:
    """`type_of` tells the type of an expression over the model's columns."""
    subject = f"fields.{mapped.field}"
    rounds: list[Round] = []
    origin = ""
    numbers: list[str] = []
    misfits: list[tuple[str, str, str]] = []
    unlimited = digits = False
    used: tuple[str, ...] = ()
    match mapped.kind:
        case "column":
            origin = known.find(mapped.origin, subject)
            start, used = sql.quoted(origin), (origin,)
            unlimited = origin in known.texts and not mapped.apply and mapped.type == "any"
            digits = unlimited and mapped.limits.decimal_unlimited
            if origin in known.texts and (digits or not unlimited):
                start = sql.quoted(known.texts[origin])
            elif origin in known.texts:
                numbers = [known.texts[origin]]
        case "sql":
            expression = expressions.checked(mapped.origin, list(known.types), subject=subject)
            too_large = text_too_large(expression, known.types)
            start = f"CASE WHEN NOT ({too_large}) THEN {expression.sql} END" if too_large else expression.sql
            if too_large:
                reason = f"a text of over {expression.characters_max:,} characters is too long for the expression"
                misfits.append((too_large, "too_long", sql.text(f"{mapped.field}: {reason}")))
            used = expression.columns
            numbers = [known.texts[column] for column in expression.columns if column in known.texts]
        case "value":
            start = constant(mapped.constant, subject)
        case "template":
            names = templates.variables(mapped.origin, list(known.types), subject=subject)
            found = [(name, known.find(column, subject)) for name, column in names]
            used = tuple(column for _, column in found)
            names = tuple((name, known.texts.get(column, column)) for name, column in found)
            kinds = {**known.types, **dict.fromkeys(known.texts.values(), "VARCHAR")}
            plain = templates.as_sql(mapped.origin, kinds, names)
            start = plain or templates.input_sql(names, kinds)
            if plain is None:
                rounds.append(Round(None, template=mapped.origin))
                misfits += [each for _, column in names for each in formless_misfit(column, kinds[column])]
    steps = transforms.chain(mapped.apply, subject=subject)
    failures: list[tuple[str, str]] = []
    if steps and not rounds:
        if mapped.kind == "column" and (known.types[origin] == "BLOB" or values.nested(known.types[origin])):
            raise ConfigError(
                f"{subject}: {known.types[origin]} has no text that could be transformed",
                code="config.type",
                hint="say how it becomes text in an sql expression",
            )
        kind = known.types[origin] if origin and start == sql.quoted(origin) else type_of(start)
        misfits += formless_misfit(start, kind)
        start = values.text_sql(start, kind)
    for step in steps:
        if step.sql is None:
            rounds.append(Round(step))
        elif rounds:
            rounds[-1] = Round(rounds[-1].transform, rounds[-1].template, (*rounds[-1].then, step))
        else:
            changed = step.sql(start)
            if step.fails:
                failures.append((f"({start}) IS NOT NULL AND ({changed}) IS NULL", step.fails))
            start = changed
            if len(start) > STATEMENT_CHARACTERS_MAX:
                raise ConfigError(f"{subject}: too many transforms", code="config.transform")
    misfits += [(number_too_long(sql.quoted(name)), "number_too_long", sql.text(TOO_LONG_REASON)) for name in numbers]
    if known.unfit:
        misfits += [unfit_of(mapped.field, column) for column in used]
    textual = bool(steps or rounds)
    return _Draft(
        index, mapped.field, origin, start, tuple(rounds), tuple(failures), textual, tuple(misfits), unlimited, digits
    )


def _finished(draft: _Draft, mapped: FieldMapping, source: str) -> MappedField:
    kind = "VARCHAR" if draft.textual else source
    subject = f"fields.{mapped.field}"
    value = f"r{draft.index}"
    if draft.digits:
        coerced = values.digits(value)
    else:
        coerced = values.coerce(value, kind, mapped.type, mapped.limits, subject=subject)
    plain = mapped.kind == "column" and not draft.textual and coerced.type == kept(value, source).type
    return MappedField(
        draft.name, draft.index, draft.origin, draft.raw, coerced, draft.rounds, draft.failures, plain, draft.unlimited
    )


def _bound_types(engine: Binder, relation: str, raw: str, drafts: Sequence[_Draft]) -> dict[str, str]:
    import duckdb

    try:
        return engine.types(f"SELECT {raw} FROM {relation}")
    except duckdb.Error as error:
        for draft in drafts:
            try:
                engine.types(f"SELECT {draft.raw} FROM {relation}")
            except duckdb.Error as culprit:
                raise ConfigError(
                    f"fields.{draft.name}: {first_line(culprit)}",
                    code="config.expression",
                    hint="the types of the model's columns are shown by `levada preview`",
                ) from error
        raise


def _type_of(engine: Binder, relation: str, expression: str) -> str:
    """The type of an expression; text if it has none, which `_bound_types` tells."""
    import duckdb

    try:
        return engine.types(f"SELECT {expression} AS x FROM {relation}")["x"]
    except duckdb.Error:
        return "VARCHAR"


def _distinct(names: Sequence[str], what: str) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            raise ConfigError(
                f"{what} {seen[name.casefold()]!r} and {name!r} differ only in case",
                code="config.mapping",
                hint="a record has each field once",
            )
        seen[name.casefold()] = name
