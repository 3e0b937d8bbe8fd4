"""A second planner, written apart from the real one: plain Python over dicts, for the few rows of a schedule.

It makes the same plans and ledgers as `levada.planners.local`, which `test_planning` compares on random models, and
takes a fraction of the time. It knows what the simulation declares and no more: one integer key, columns and the
expressions of `world.FIELDS`, no transforms, rows that are all valid. A ledger is one segment, written whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from levada import events
from levada.change import KINDS, Counts, Kind
from levada.clock import Clock, isoformat
from levada.durable import sync_path
from levada.errors import ConfigError, StoreError
from levada.mapping import Mapping
from levada.plan import Plan, PlanFile
from levada.planner import REMOVAL, Ledger, PlanRequest, Segment, Settled
from levada.planners import files
from levada.planners.local import LocalPlanner, write_plan
from levada.source import Column

Entry = dict[str, Any]
KEY = "id"
TYPES: dict[str, pa.DataType] = {"id": pa.int64(), "name": pa.string(), "score": pa.int64()}
STATES = ("confirmed", "unknown", "maybe_present")
_SCHEMAS: dict[tuple[Any, ...], pa.Schema] = {}


class PlainPlanner:
    """Fulfils `levada.planner.Planner` as far as schedules go."""

    def __init__(self, spool: Path, clock: Clock) -> None:
        self.clock = clock
        self.spool = spool

    # -- planning

    def plan(self, request: PlanRequest) -> Plan:
        folder = request.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        assert request.model.key == (KEY,)
        rows = self._read(request)
        request.listener(events.ModelRead(request.sync, len(rows), 0.0))
        held = entries_of(request.ledger)
        names = request.mapping.names
        operations = compared(rows, held, names, request)
        described = {kind: written(folder, kind, operations[kind], names) for kind in KINDS if operations[kind]}
        counts = Counts(
            added=len(operations["added"]),
            changed=len(operations["changed"]),
            removed=len(operations["removed"]),
            unchanged=len(rows) - len(operations["added"]) - len(operations["changed"]),
            invalid=0,
            left=len(held.keys() - rows.keys()) - len(operations["removed"]),
        )
        valid = list(rows.values())
        plan = Plan(
            sync=request.sync,
            plan_id=f"{request.sync}@{_digest(operations, request.ledger.generation, request.mapping.version)}",
            purpose=request.purpose,
            generation=request.ledger.generation,
            mapping_version=request.mapping.version,
            hash_version="plain",
            keys=(KEY,),
            fields=names,
            match=request.mapping.match,
            counts=counts,
            model_rows=len(rows),
            files=described,
            fields_changed={
                name: sum(
                    op["before"].get(name) != op["after"][name] or name in (op["returned"] or ())
                    for op in operations["changed"]
                )
                for name in names
            }
            if operations["changed"]
            else {},
            nulls={name: sum(row[name] is None for row in valid) / len(valid) for name in names} if valid else {},
            created_at=isoformat(self.clock.now()),
        )
        write_plan(plan, folder, {"fields": list(names)})
        return plan

    def _read(self, request: PlanRequest) -> dict[int, Entry]:
        """The mapped rows by key. As with the real planner nothing counts before the read has ended well."""
        columns = {column.name for column in request.source.columns("")}
        for each in request.mapping.fields:
            wanted = each.origin if each.kind == "column" else "name"
            if wanted not in columns:
                raise ConfigError(f"the model has no column {wanted!r}", code="config.unknown_column")
        with request.source.read("") as batches:
            found = [row for batch in batches for row in batch.to_pylist()]
        fields = request.mapping.fields
        return {row[KEY]: {each.field: _value(each.kind, each.origin, row) for each in fields} for row in found}

    def types(self, mapping: Mapping, columns: Sequence[Column]) -> pa.Schema:
        """As the real planner tells them; remembered, for they are the same in every run."""
        asked = (mapping, tuple((column.name, column.type) for column in columns))
        if asked not in _SCHEMAS:
            _SCHEMAS[asked] = LocalPlanner(self.spool, "256MB", 1, self.clock).types(mapping, columns)
        return _SCHEMAS[asked]

    def unanswered(
        self, ledger: Ledger, folder: Path, match: tuple[str, ...], wanted: Callable[[str], bool], start: int = 0
    ) -> tuple[Plan, int] | None:
        held = entries_of(ledger)
        asked = {key: each for key, each in held.items() if each["operation"] and wanted(each["operation"])}
        lost = [key for key, each in asked.items() if each["operation"] == REMOVAL and each["identifier"]]
        made = [key for key, each in asked.items() if each["operation"] != REMOVAL]
        if start or not (lost or made):
            return None
        names = tuple(next(iter(asked.values()))["after"])
        operations: dict[Kind, list[Entry]] = {
            "removed": [{"key": key, "before": asked[key]["after"], **asked[key]} for key in lost],
            "changed": [],
            "added": [{"key": key, **asked[key]} for key in made],
        }
        segment = ledger.segments[0]
        plan = Plan(
            sync=ledger.sync,
            plan_id=f"{ledger.sync}@{_digest('settle', operations, ledger.generation)}",
            purpose="settle",
            generation=ledger.generation,
            mapping_version=segment.mapping_version,
            hash_version=segment.hash_version,
            keys=(KEY,),
            fields=names,
            match=match,
            counts=Counts(added=len(made), removed=len(lost)),
            model_rows=len(held),
            files={kind: written(folder, kind, operations[kind], names) for kind in KINDS if operations[kind]},
        )
        write_plan(plan, folder, {"fields": list(names)})
        return plan, 1

    # -- folding

    def fold(self, plan: Plan, plan_folder: Path, ledger: Ledger, settled: Settled) -> Ledger:
        if plan.generation != ledger.generation:
            raise StoreError("planned at another generation of the ledger", code="store.generation", hint="plan again")
        held = entries_of(replace(ledger, distrusted=False))
        trusted: set[int] = set()
        changed = any(segment.mapping_version != plan.mapping_version for segment in ledger.segments)
        for each in held.values():
            each["lapsed"] = lapsed_of(each, plan.fields)
            each["after"] = {name: each["after"].get(name) for name in plan.fields}
        for kind in KINDS:
            for key, entry in self._ended(kind, plan, plan_folder, settled):
                changed = True
                trusted.add(key)
                if entry is None:
                    held.pop(key, None)
                else:
                    held[key] = entry
        if ledger.distrusted and trusted and plan.purpose != "settle":
            for key, each in held.items():
                if key not in trusted and each["state"] == "confirmed":
                    each["state"] = "unknown"
        ledger.folder.mkdir(parents=True, exist_ok=True)
        segments = ledger.segments
        if changed:
            segments = self._segment(plan, ledger, held) if held else ()
        sync_path(ledger.folder)
        return Ledger(
            sync=ledger.sync,
            folder=ledger.folder,
            generation=ledger.generation + 1,
            segments=segments,
            rows=len(held),
            nulls={
                name: sum(entry["after"].get(name) is None for entry in held.values()) / len(held)
                for name in plan.fields
            }
            if held
            else {},
            keys=plan.keys,
            distrusted=ledger.distrusted and (plan.purpose == "settle" or not trusted),
        )

    def _ended(self, kind: Kind, plan: Plan, folder: Path, settled: Settled) -> list[tuple[int, Entry | None]]:
        """What the ledger holds from now on for each key of a kind whose operation had an effect, or may have."""
        if kind not in plan.files:
            return []
        files.verify(folder, plan.files[kind], "the plan's file")
        ends = _by_sequence(settled.exceptions, "settlement", "operation")
        named = _by_sequence(settled.identifiers, "identifier")
        created = _created(settled)
        found: list[tuple[int, Entry | None]] = []
        for sequence, row in enumerate(
            pq.read_table(folder / plan.files[kind].name, use_threads=False).to_pylist(), plan.first(kind)
        ):
            end, sent_as = ends.get(sequence, (settled.common, None))
            left = (kind, end) in (("removed", "delivered"), ("changed", "gone"))
            if not left and end not in (("delivered",) if plan.purpose == "settle" else ("delivered", "unknown")):
                continue
            if left:
                found.append((row[f"key.{KEY}"], None))
                continue
            entry: Entry = {
                "after": {name: row[f"{'before' if kind == 'removed' else 'after'}.{name}"] for name in plan.fields},
                "state": "confirmed",
                "operation": None,
                "identifier": named.get(sequence, (None,))[0] or row.get("identifier"),
                "created": sequence in created or bool(row.get("created") and not _moved(plan, kind, row)),
                "lapsed": row.get("lapsed"),
            }
            if end == "unknown":
                entry["state"] = "unknown" if kind == "changed" else "maybe_present"
                if kind == "added":
                    entry["operation"] = sent_as or row["operation"] or ""
                elif kind == "removed":
                    entry["operation"] = REMOVAL
                elif "@" in (sent_as or ""):
                    entry["operation"] = sent_as
            found.append((row[f"key.{KEY}"], entry))
        return found

    def _segment(self, plan: Plan, ledger: Ledger, held: dict[int, Entry]) -> tuple[Segment, ...]:
        names = sorted({name for entry in held.values() for name in entry["after"]})
        columns: dict[str, Any] = {f"key.{KEY}": pa.array(list(held), pa.int64())}
        for name in names:
            columns[f"after.{name}"] = pa.array([entry["after"].get(name) for entry in held.values()], TYPES[name])
        for name in ("state", "operation", "identifier"):
            columns[name] = pa.array([entry[name] for entry in held.values()], pa.string())
        columns["created"] = pa.array([entry["created"] for entry in held.values()], pa.bool_())
        columns["lapsed"] = pa.array([entry["lapsed"] for entry in held.values()], pa.list_(pa.string()))
        named = ledger.folder / f"{ledger.generation + 1:08d}-plain.parquet"
        pq.write_table(pa.table(columns), named)
        return (Segment(files.describe(named, len(held)), "upsert", plan.mapping_version, plan.hash_version),)


def compared(
    rows: dict[int, Entry], held: dict[int, Entry], names: Sequence[str], request: PlanRequest
) -> dict[Kind, list[Entry]]:
    """The operations by kind: dicts of key, before, after, state, operation, identifier, created, lapsed, returned."""
    found: dict[Kind, list[Entry]] = {"removed": [], "changed": [], "added": []}
    for key, row in rows.items():
        entry = held.get(key)
        lapsed = (lapsed_of(entry, names) if entry else None) or []
        left = [name for name in lapsed if name not in names] or None
        returned = [name for name in lapsed if name in names] or None
        if entry is None or entry["state"] == "maybe_present":
            if request.policy.added:
                operation = entry["operation"] if entry else None
                found["added"].append({"key": key, "after": row, "operation": operation, "lapsed": left})
            continue
        before = {name: entry["after"].get(name) for name in names}
        if request.policy.changed and (entry["state"] != "confirmed" or before != row or returned):
            shared = {name: entry[name] for name in ("state", "operation", "identifier", "created")}
            shared |= {"lapsed": left, "returned": returned}
            found["changed"].append({"key": key, "before": before, "after": row, **shared})
    for key, entry in held.items():
        if key not in rows and request.policy.removed and (request.policy.adopt or entry["created"]):
            before = {name: entry["after"].get(name) for name in names}
            shared = {name: entry[name] for name in ("operation", "identifier", "created")}
            found["removed"].append({"key": key, "before": before, **shared, "lapsed": lapsed_of(entry, names)})
    return found


def lapsed_of(entry: Entry, names: Sequence[str]) -> list[str] | None:
    """Fields that the record may hold, though they are not mapped or their value is not known any more."""
    doubtful = entry["stored"] != "confirmed"
    sent = {name for name, value in entry["after"].items() if name not in names and (doubtful or value is not None)}
    return sorted(sent | set(entry["lapsed"] or ())) or None


def written(folder: Path, kind: Kind, operations: list[Entry], names: Sequence[str]) -> PlanFile:
    """One file of a plan, with the columns that `levada.plan` names."""
    columns: dict[str, Any] = {f"key.{KEY}": pa.array([each["key"] for each in operations], pa.int64())}
    for side in {"added": ("after",), "changed": ("before", "after"), "removed": ("before",)}[kind]:
        for name in names:
            columns[f"{side}.{name}"] = pa.array([each[side][name] for each in operations], TYPES[name])
    if kind != "removed":
        columns["hash"] = pa.array([_hash(each["after"]) for each in operations], pa.uint64())
    told = {
        "added": ("operation",),
        "changed": ("state", "operation", "identifier"),
        "removed": ("operation", "identifier"),
    }[kind]
    for name in told:
        columns[name] = pa.array([each[name] for each in operations], pa.string())
    if kind != "added":
        columns["created"] = pa.array([each["created"] for each in operations], pa.bool_())
    for name in ("lapsed", "returned") if kind == "changed" else ("lapsed",):
        columns[name] = pa.array([each[name] for each in operations], pa.list_(pa.string()))
    target = folder / f"{kind}.parquet"
    pq.write_table(pa.table(columns), target)
    return files.describe(target, len(operations))


def entries_of(ledger: Ledger) -> dict[int, Entry]:
    """What a ledger holds, by key."""
    found: dict[int, Entry] = {}
    for segment in ledger.segments:
        files.verify(ledger.folder, segment.file, "the ledger's file")
        for row in pq.read_table(ledger.folder / segment.file.name, use_threads=False).to_pylist():
            found[row[f"key.{KEY}"]] = {
                "after": {name[6:]: value for name, value in row.items() if name.startswith("after.")},
                "state": "unknown" if ledger.distrusted and row["state"] == "confirmed" else row["state"],
                "operation": row["operation"],
                "identifier": row["identifier"],
                "created": row["created"],
                "stored": row["state"],
                "lapsed": row["lapsed"],
            }
    return found


def _value(kind: str, origin: str, row: Entry) -> Any:
    if kind == "column":
        return row[origin]
    assert (kind, origin) == ("sql", "upper(name)"), (kind, origin)
    return row["name"].upper()


def _by_sequence(table: pa.Table | None, *names: str) -> dict[int, tuple[Any, ...]]:
    if table is None:
        return {}
    return {row["sequence"]: tuple(row[name] for name in names) for row in table.to_pylist()}


def _moved(plan: Plan, kind: Kind, row: Entry) -> bool:
    """Has a changed record another match value than before?"""
    return kind == "changed" and any(row[f"before.{name}"] != row[f"after.{name}"] for name in plan.match)


def _created(settled: Settled) -> set[int]:
    """Operations of which the destination told that they made their record."""
    told = [] if settled.effects is None else settled.effects.to_pylist()
    return {place for row in told if row["effect"] == "created" for place in range(row["first"], row["stop"])}


def _hash(values: Entry) -> int:
    return int.from_bytes(hashlib.blake2b(repr(sorted(values.items())).encode(), digest_size=8).digest(), "big")


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
