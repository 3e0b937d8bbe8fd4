"""Looks at everything that can be known without sending: files, sources, keys, destinations, mappings, first rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from levada.batch import python_rows
from levada.destination import Request, TableDestination, Talk
from levada.errors import ConfigErrors, LevadaError, StoppedError
from levada.model import Model
from levada.planners.apart import columns_apart
from levada.runner.attempt import ISSUES, crash_of, words_of
from levada.runner.ownership import overlaps
from levada.runner.plan import request
from levada.runner.proof import Place, check_proof
from levada.runner.resolve import model_columns, resolve
from levada.runner.sending import Sending, sendings
from levada.runner.target import check_target
from levada.source import Cautious, without_unfit
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.world import World

ROWS_TRIED = 20
"""How many first rows of a sync are mapped."""
KEYS_SHOWN = 3
ROWS_COMPARED = 60
"""Of so many rows with such keys it is told by what they differ."""


State = Literal["ok", "notice", "wrong", "bug", "away", "rows"]
EXIT_CODES: Mapping[State, int] = {"wrong": 2, "bug": 1, "away": 5, "rows": 3}
"""Of what is found, the first of these tells."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `rows`: only some rows are wrong, and a run would call them invalid. `notice`: it
    may well be meant so, and somebody should know. `away`: it cannot be reached now, which nobody has to mend here."""

    subject: str
    state: State
    message: str
    hint: str = ""
    where: str = ""
    code: str = ""
    #: of a sync: what each kind of change becomes
    sending: tuple[Sending, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "subject": self.subject,
            "ok": self.state in ("ok", "notice"),
            "state": self.state,
            "message": self.message,
            "hint": self.hint or None,
            "where": self.where or None,
            "code": self.code or None,
        }
        return {**found, "sending": [each.as_dict() for each in self.sending]} if self.sending else found


@dataclass(frozen=True, slots=True)
class CheckReport:
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """The code of the first state of EXIT_CODES that was found, 0 if all is well."""
        states = {finding.state for finding in self.findings}
        return next((code for state, code in EXIT_CODES.items() if state in states), 0)

    def as_dict(self) -> dict[str, Any]:
        return {"ok": self.exit_code == 0, "checks": [finding.as_dict() for finding in self.findings]}


def check(world: World, syncs: Sequence[str] | None = None) -> CheckReport:
    """Check these syncs and all that they are made of; the whole project by default.

    Errors are findings, not raised; what depends on something wrong is left out.
    """
    files = world.files
    names = tuple(sorted(files.listed["sync"])) if syncs is None else tuple(syncs)
    errors = files.errors if syncs is None else files.errors_for(names)
    findings = [_error("files", error) for error in errors]
    declared = [name for name in names if name in files.syncs and not files.errors_for([name])]
    if not errors:
        count = sum(len(by_name) for by_name in files.listed.values())
        findings.append(Finding("files", "ok", plural(count, "file is well-formed", "files are well-formed")))
    models = sorted({files.syncs[name].sync.model or "" for name in declared})
    if syncs is None:
        models = sorted(files.models)
    sources = sorted({files.models[name].model.source for name in models} & set(files.sources))
    reached = {name for name in sources if _add(world, findings, f"source {name}", partial(_source, world, name))}
    for name in sorted(reached):
        findings += _cautions(world, name)
    keyed = {
        name
        for name in models
        if files.models[name].model.source in reached
        and _add(world, findings, f"model {name}", partial(_key, world, name, files.models[name].model))
    }
    destinations = sorted({files.syncs[name].sync.destination for name in declared})
    open_ = {
        name
        for name in destinations
        if _add(world, findings, f"destination {name}", partial(_destination, world, name))
    }
    for name in declared:
        sync = files.syncs[name].sync
        if sync.model in keyed and sync.destination in open_:
            try:
                findings += _sync(world, name)
            except StoppedError:
                raise
            except Exception as error:  # noqa: BLE001 -- a bug of ours is a finding like any other
                findings.append(_error(f"sync {name}", crash_of(world, name, error)))
    findings += [
        Finding(f"sync {name}", "notice", one.message, one.hint, str(one.where), "config.shared_object")
        for name, shared in overlaps(world, declared).items()
        for one in shared
    ]
    clean = world.redaction.clean
    return CheckReport(tuple(replace(one, message=clean(one.message), hint=clean(one.hint)) for one in findings))


def _add(world: World, findings: list[Finding], subject: str, look: Callable[[], Finding]) -> bool:
    """Look at one thing and add what is found: may what depends on it be looked at?"""
    try:
        finding = look()
    except StoppedError:
        raise
    except Exception as error:  # noqa: BLE001 -- a bug of ours is a finding like any other
        finding = Finding(
            subject, "bug", words_of(error, world.redaction.clean), f"this is a bug in Levada: please tell {ISSUES}"
        )
    findings.append(finding)
    return finding.state not in ("wrong", "bug", "away")


def _error(subject: str, error: LevadaError) -> Finding:
    """What is wrong, as a finding. A stop is none, and is raised."""
    if isinstance(error, StoppedError):
        raise error
    where = str(error.where) if error.where else ""
    state: State = "bug" if error.code == "bug" else "away" if error.exit_code == EXIT_CODES["away"] else "wrong"
    return Finding(subject, state, error.message, error.hint or "", where, error.code)


def _source(world: World, name: str) -> Finding:
    subject = f"source {name}"
    try:
        world.source(name).check()
    except LevadaError as error:
        return _error(subject, error)
    return Finding(subject, "ok", "answers")


def _cautions(world: World, name: str) -> list[Finding]:
    """What the account of a source may do that it need not: the last wall is its own rights."""
    source = world.source(name)
    try:
        found = source.cautions() if isinstance(source, Cautious) else ()
    except LevadaError:
        return []
    hint = "give Levada an account that may only SELECT: docs/guides/reading-account.md"
    return [Finding(f"source {name}", "notice", f"its account {words}", hint, code="access.wide") for words in found]


def _destination(world: World, name: str) -> Finding:
    subject = f"destination {name}"
    try:
        destination = world.destination(name)
        if isinstance(destination, TableDestination):
            destination.check()
            return Finding(subject, "ok", "answers")
        asked: list[Request] = []
        world.dispatcher.check_address(destination)
        world.talk(destination, _noting(destination.check(), asked))
    except LevadaError as error:
        return _error(subject, error)
    return Finding(subject, "ok", "answers" if asked else "is well-formed; it has no `check`, so it was not asked")


def _noting(talk: Talk[None], asked: list[Request]) -> Talk[None]:
    """The same talk; its requests are put into `asked`."""
    try:
        request = next(talk)
        while True:
            asked.append(request)
            request = talk.send((yield request))
    except StopIteration:
        return


def _key(world: World, name: str, model: Model) -> Finding:
    """Do the key's columns exist, and are they neither NULL nor twice the same? Counted by the warehouse."""
    subject = f"model {name}"
    query = model.query_for(world.source(model.source).abilities.dialect)
    try:
        columns = [column.name for column in model_columns(world, name, model)]
        missing = [key for key in model.key if key not in columns]
        if missing:
            from levada.nearest import nearest_hint

            where = str(world.model_position(name, "key"))
            return Finding(
                subject,
                "wrong",
                f"the model has no column {missing[0]}, which is its key",
                nearest_hint(missing[0], columns),
                where,
                "config.missing_key_column",
            )
        rows, nulls, twice = _key_figures(world, model, query)
        if not nulls and not twice:
            return Finding(subject, "ok", f"{plural(rows, 'row')}, key {', '.join(model.key)} is unique")
        return Finding(subject, "rows", _key_words(world, model, query, rows, nulls, twice), _KEY_HINT, code="rows.key")
    except LevadaError as error:
        return _error(subject, error)


_KEY_HINT = "a run calls such rows invalid and sends the others; rows that are wholly equal count as one"


def _key_words(world: World, model: Model, query: str, rows: int, nulls: int, twice: int) -> str:
    parts = []
    if nulls:
        parts.append(f"{nulls:,} with NULL in the key")
    if twice:
        keys = _listed_keys(model)
        often = (
            f"SELECT {keys}, count(*) AS levada_count FROM (\n{query}\n) AS m WHERE {_no_nulls(model)} GROUP BY {keys} "
            f"HAVING count(*) > 1 ORDER BY count(*) DESC, {keys} LIMIT {KEYS_SHOWN}"
        )
        samples = "; ".join(_key_samples(world, model, query, often))
        parts.append(f"{plural(twice, 'key that occurs', 'keys that occur')} more than once ({samples})")
    return f"{plural(rows, 'row')}, of them {' and '.join(parts)}"


def _key_samples(world: World, model: Model, query: str, often: str) -> list[str]:
    """Some keys that occur more than once: how often, and by what their rows differ (of many rows, the first ones)."""
    names = ['"' + key.replace('"', '""') + '"' for key in model.key]
    same = " AND ".join(f"m.{name} = k.{name}" for name in names)
    joined = f"SELECT m.* FROM (\n{query}\n) AS m JOIN (\n{often}\n) AS k ON {same} LIMIT {ROWS_COMPARED}"
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in _ask(world, model, joined):
        rows.setdefault(_shown_key(row, model), []).append(row)
    found = []
    for row in _ask(world, model, often):
        key, times = _shown_key(row, model), row["levada_count"]
        told = columns_apart(rows.get(key, []), model.key)
        if not told and len(rows.get(key, [])) == times:
            told = "all equal"
        found.append(f"{key} {times} times" + (f": {told}" if told else ""))
    return found


def _shown_key(row: Mapping[str, Any], model: Model) -> str:
    return ", ".join(str(row[key]) for key in model.key)


def _key_figures(world: World, model: Model, query: str) -> tuple[int, int, int]:
    """Rows, rows with NULL in the key, and keys that occur more than once."""
    keys = _listed_keys(model)
    statement = (
        f"SELECT sum(levada_count) AS all_rows,"
        f" sum(CASE WHEN {_no_nulls(model)} THEN 0 ELSE levada_count END) AS nulls,"
        f" sum(CASE WHEN levada_count > 1 AND {_no_nulls(model)} THEN 1 ELSE 0 END) AS twice"
        f" FROM (SELECT {keys}, count(*) AS levada_count FROM (\n{query}\n) AS m GROUP BY {keys}) AS k"
    )
    row = _ask(world, model, statement)[0]
    figures = [int(value) if value is not None else 0 for value in row.values()]
    return figures[0], figures[1], figures[2]


def _ask(world: World, model: Model, statement: str) -> list[dict[str, Any]]:
    with world.source(model.source).read(statement) as batches:
        return [row for batch in batches for row in python_rows(without_unfit(batch)[0])]


def _listed_keys(model: Model) -> str:
    return ", ".join('"' + key.replace('"', '""') + '"' for key in model.key)


def _no_nulls(model: Model) -> str:
    return "(" + " AND ".join('"' + key.replace('"', '""') + '" IS NOT NULL' for key in model.key) + ")"


def _passed(rows: int) -> str:
    return "the model has no rows" if not rows else f"the first {plural(rows, 'row passes', 'rows pass')}"


def _sync(world: World, name: str) -> list[Finding]:
    """Does the mapping hold against both ends, and do the first rows pass it?"""
    subject = f"sync {name}"
    try:
        resolved = resolve(world, name)
        ledger = world.ledger(name)
        check_target(world, resolved, ledger)
        _, told = check_proof(world, Place.of(resolved), ledger, None)
        with request(world, resolved, ledger) as asked:
            shown = resolved.planner.preview(asked, ROWS_TRIED)
    except ConfigErrors as errors:
        return [_error(subject, error) for error in errors.errors]
    except LevadaError as error:
        return [_error(subject, error)]
    fields = len(resolved.mapping.fields)
    invalid = [row for row in shown.to_pylist() if row.get("invalid")]
    if invalid:
        message = f"{len(invalid)} of the first {plural(shown.num_rows, 'row')} cannot be sent: {invalid[0]['invalid']}"
        hint = f"`levada preview {name}` shows them"
        found = [Finding(subject, "rows", message, hint, code="rows.invalid", sending=sendings(resolved))]
    else:
        message = f"{plural(fields, 'field')} → {resolved.sync.to}; {_passed(shown.num_rows)}"
        found = [Finding(subject, "ok", message, sending=sendings(resolved))]
    return found + [Finding(subject, "ok", f"notice: {notice}") for notice in (*resolved.notices, *told)]
