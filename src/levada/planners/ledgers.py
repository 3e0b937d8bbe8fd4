"""A ledger's segments as relations: the newest entry of each key, narrow for comparing and wide for values.

The first segment is the base; what later ones say of a key is gathered in a small overlay table, so that the
base is only scanned. Hashes that were made by another mapping or DuckDB are computed again from the values.
Not here: writing segments (`levada.planners.fold`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Thread

from levada.errors import ConfigError, LevadaError
from levada.planner import Ledger, Segment
from levada.planners import files, sql, unmapped_fields
from levada.planners.engine import Engine
from levada.planners.mapped import after_name, hash_of, input_name, key_name, late_part
from levada.sql.text import json_of
from levada.sql.types import type_of
from levada.wording import plural

CREATED = "created"
"""Of a segment or a plan's file: did this sync make the record?"""
NARROW = "levada_ledger"
UNSURE = "levada_unsure"
OVERLAY = "levada_overlay"


@dataclass(frozen=True, slots=True)
class Shape:
    """How today's rows look: key columns with types, fields with name, type and lateness, and versions."""

    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    fields: tuple[tuple[str, str, bool], ...]
    mapping_version: str
    hash_version: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self.fields)


class Verification:
    """The digests of a ledger's segments, computed in a thread beside other work."""

    def __init__(self, ledger: Ledger) -> None:
        self._failure: LevadaError | None = None
        self._thread = Thread(target=self._run, args=(ledger,), name="levada-verify", daemon=True)
        self._thread.start()

    def _run(self, ledger: Ledger) -> None:
        try:
            for segment in ledger.segments:
                files.verify(ledger.folder, segment.file, "the ledger's file")
        except LevadaError as error:
            self._failure = error

    def finish(self) -> None:
        """Wait for the end. Raises CorruptedError for the first segment that is not what was written."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure


class LedgerView:
    """The relations of one ledger in one engine.

    NARROW has k0…, h (NULL: must be compared by value), one row per key held; UNSURE has k0…, st, op of the few
    that are not confirmed. `wide()` is a query
    with k0…, b0… (values in today's types), i0… (inputs of late fields), h, st, op, identifier, created, lapsed.
    `lapses`: may lapsed be more than NULL in any row? `tells_created`: may created be true in any row?
    """

    def __init__(self, engine: Engine, ledger: Ledger, shape: Shape, *, doubted: int = 0) -> None:
        """What the first `doubted` segments say is confirmed counts as unknown."""
        self.engine = engine
        self.ledger = ledger
        self.shape = shape
        self.doubted = doubted
        self.columns: list[dict[str, str]] = []
        self.overlaid = False

    @property
    def count(self) -> int:
        return len(self.shape.keys)

    @property
    def lapses(self) -> bool:
        return any(unmapped_fields.known(columns, self.shape.names) for columns in self.columns)

    @property
    def tells_created(self) -> bool:
        segments = zip(self.ledger.segments, self.columns, strict=True)
        return any(segment.created or CREATED in columns for segment, columns in segments)

    @property
    def absent(self) -> tuple[str, ...]:
        """Fields that a segment does not have: they were mapped after it was written."""
        segments = zip(self.ledger.segments, self.columns, strict=True)
        held = [columns for segment, columns in segments if segment.kind == "upsert"]
        return tuple(name for name in self.shape.names if any(f"after.{name}" not in columns for columns in held))

    def prepare(self) -> None:
        """Make NARROW. Raises ConfigError if the key is not the ledger's any more."""
        ledger = self.ledger
        if ledger.segments and tuple(ledger.keys) != self.shape.keys:
            raise ConfigError(
                f"the key of {ledger.sync} changed from {', '.join(ledger.keys)} to {', '.join(self.shape.keys)}",
                code="config.key_changed",
                hint=f"another key is another sync: give it a new name, or `levada resync {ledger.sync} --rebuild`",
            )
        self.columns = [self.engine.types(f"SELECT * FROM {self._scan(each)}") for each in ledger.segments]
        for segment, columns in zip(ledger.segments, self.columns, strict=True):
            self._check_keys(segment, columns)
        keys = sql.columns("k", self.count)
        types = sql.listed(f"k{i} {kind}" for i, kind in enumerate(self.shape.key_types))
        self.engine.run(f"CREATE TEMP TABLE {UNSURE} ({types}, st VARCHAR, op VARCHAR)")
        if not ledger.segments:
            empty = sql.listed(f"CAST(NULL AS {kind}) AS k{i}" for i, kind in enumerate(self.shape.key_types))
            self.engine.run(f"CREATE TEMP VIEW {NARROW} AS SELECT {empty}, CAST(NULL AS UBIGINT) AS h WHERE false")
            return
        if len(ledger.segments) > 1:
            self._make_overlay()
        base = f"SELECT {keys}, h FROM ({self._narrow(0)})"
        matched = sql.equal("o", "b", "k", self.count)
        if self.overlaid:
            base = f"SELECT b.* FROM ({base}) b ANTI JOIN {OVERLAY} o ON {matched}"
            base += f" UNION ALL SELECT {keys}, h FROM {OVERLAY} WHERE live"
        self.engine.run(f"CREATE TEMP VIEW {NARROW} AS {base}")
        self._gather_unsure(keys, matched)

    def _gather_unsure(self, keys: str, matched: str) -> None:
        if "state" in self.columns[0]:
            unsure = f"SELECT {keys}, st, op FROM ({self._narrow(0)}) WHERE st <> 'confirmed'"
            if self.overlaid:
                unsure = f"SELECT b.* FROM ({unsure}) b ANTI JOIN {OVERLAY} o ON {matched}"
            self.engine.run(f"INSERT INTO {UNSURE} {unsure}")
        if self.overlaid:
            self.engine.run(
                f"INSERT INTO {UNSURE} SELECT {keys}, st, op FROM {OVERLAY} WHERE live AND st <> 'confirmed'"
            )

    def wide(self) -> str:
        """The query for values; see the class."""
        if not self.ledger.segments:
            empty = [f"CAST(NULL AS {kind}) AS k{i}" for i, kind in enumerate(self.shape.key_types)]
            empty += [f"CAST(NULL AS {kind}) AS b{i}" for i, (_, kind, _) in enumerate(self.shape.fields)]
            empty += [f"CAST(NULL AS VARCHAR) AS i{i}" for i, (_, _, late) in enumerate(self.shape.fields) if late]
            empty += ["CAST(NULL AS UBIGINT) AS h"]
            empty += [f"CAST(NULL AS VARCHAR) AS {name}" for name in ("st", "op", "identifier")]
            empty += [f"false AS {CREATED}", f"{unmapped_fields.NONE} AS lapsed"]
            return f"SELECT {sql.listed(empty)} WHERE false"
        matched = sql.equal("s", "o", "k", self.count)
        parts = []
        for index, segment in enumerate(self.ledger.segments):
            if segment.kind == "remove":
                continue
            rows = self._wide(index)
            if index == 0 and self.overlaid:
                rows = f"SELECT s.* FROM ({rows}) s ANTI JOIN {OVERLAY} o ON {matched}"
            elif index:
                live = f"(SELECT * FROM {OVERLAY} WHERE live AND seg = {index})"
                rows = f"SELECT s.* FROM ({rows}) s SEMI JOIN {live} o ON {matched}"
            parts.append(rows)
        return " UNION ALL ".join(parts) if parts else self._nothing_wide()

    def _nothing_wide(self) -> str:
        return LedgerView(self.engine, Ledger(self.ledger.sync, self.ledger.folder), self.shape).wide()

    def stale(self, segment: Segment) -> bool:
        """Were the segment's hashes made under another mapping or by another DuckDB?"""
        now = (self.shape.mapping_version, self.shape.hash_version)
        return segment.kind == "upsert" and (segment.mapping_version, segment.hash_version) != now

    def _scan(self, segment: Segment) -> str:
        return sql.parquet(self.ledger.folder / segment.file.name)

    def _make_overlay(self) -> None:
        keys = sql.columns("k", self.count)
        types = sql.listed(f"k{i} {kind}" for i, kind in enumerate(self.shape.key_types))
        self.engine.run(
            f"CREATE TEMP TABLE {OVERLAY} ({types}, h UBIGINT, st VARCHAR, op VARCHAR, seg INTEGER, live BOOLEAN)"
        )
        for index in range(len(self.ledger.segments) - 1, 0, -1):
            live = self.ledger.segments[index].kind == "upsert"
            rows = self._narrow(index)
            self.engine.run(
                f"INSERT INTO {OVERLAY} SELECT {keys}, h, st, op, {index}, {str(live).lower()} FROM ({rows}) s "
                f"ANTI JOIN {OVERLAY} o ON {sql.equal('s', 'o', 'k', self.count)}"
            )
        self.overlaid = True

    def _keys(self, columns: dict[str, str]) -> str:
        parts = []
        for index, (name, kind) in enumerate(zip(self.shape.keys, self.shape.key_types, strict=True)):
            column = key_name(name)
            same = columns.get(f"key.{name}") == kind
            parts.append(f"{column} AS k{index}" if same else f"CAST({column} AS {kind}) AS k{index}")
        return sql.listed(parts)

    def _check_keys(self, segment: Segment, columns: dict[str, str]) -> None:
        """A key of another type goes on only if every key is the same in today's type."""
        for name, kind in zip(self.shape.keys, self.shape.key_types, strict=True):
            stored = columns[f"key.{name}"]
            if stored == kind:
                continue
            column = key_name(name)
            back = f"TRY_CAST(TRY_CAST({column} AS {kind}) AS {stored})"
            (lost,) = self.engine.row(
                f"SELECT count(*) FROM {self._scan(segment)} WHERE {back} IS DISTINCT FROM {column}"
            )
            if lost:
                why = plural(lost, "known key is no such value", "known keys are no such values")
                raise key_changed(self.ledger, name, stored, kind, why)

    def _state(self, index: int) -> str:
        sure = "'unknown'" if index < self.doubted else "'confirmed'"
        if "state" not in self.columns[index]:
            return sure
        return f"CASE WHEN state IN ('unknown', 'maybe_present') THEN state ELSE {sure} END"

    def _narrow(self, index: int) -> str:
        segment, columns = self.ledger.segments[index], self.columns[index]
        scan = self._scan(segment)
        if segment.kind == "remove":
            nothing = "CAST(NULL AS UBIGINT) AS h, CAST(NULL AS VARCHAR) AS st, CAST(NULL AS VARCHAR) AS op"
            return f"SELECT {self._keys(columns)}, {nothing} FROM {scan}"
        state = self._state(index)
        stored = self._hash(segment, columns)
        if "state" in columns:
            stored = f"CASE WHEN {state} = 'confirmed' THEN {stored} END"
        if unmapped_fields.LAPSED in columns:
            stored = f"CASE WHEN NOT {unmapped_fields.met(unmapped_fields.LAPSED, self.shape.names)} THEN {stored} END"
        operation = "CAST(NULL AS VARCHAR)"
        if "state" in columns and "operation" in columns:
            operation = f"CASE WHEN {state} = 'maybe_present' THEN operation END"
        return f"SELECT {self._keys(columns)}, {stored} AS h, {state} AS st, {operation} AS op FROM {scan}"

    def _hash(self, segment: Segment, columns: dict[str, str]) -> str:
        if self.ledger.distrusted:
            return "CAST(NULL AS UBIGINT)"
        if not self.stale(segment):
            return "hash"
        return self.rehashed(segment, columns)

    def rehashed(self, segment: Segment, columns: dict[str, str]) -> str:
        """The hash of the values that a segment holds, in today's types; NULL where they cannot tell."""
        if late_part(segment.hash_version) != late_part(self.shape.hash_version):
            return "CAST(NULL AS UBIGINT)"
        return hash_of(
            [
                (self._compared(columns, name, kind, late), "VARCHAR" if late else kind)
                for name, kind, late in self.shape.fields
            ]
        )

    def _compared(self, columns: dict[str, str], name: str, kind: str, late: bool) -> str:
        if late:
            return input_name(name) if f"input.{name}" in columns else "CAST(NULL AS VARCHAR)"
        return self._value(columns, name, kind)

    def _value(self, columns: dict[str, str], name: str, kind: str) -> str:
        """A stored value in today's type; NULL if the segment lacks it or it is no such value."""
        stored = columns.get(f"after.{name}")
        column = after_name(name)
        if stored is None:
            return f"CAST(NULL AS {kind})"
        if stored == kind:
            return column
        # what is JSON today has its form: a number or a list was kept as such by another version
        text = json_of(column, type_of(stored)) if kind == "JSON" and stored != "VARCHAR" else column
        tried = f"TRY_CAST({text} AS {kind})"
        return f"CASE WHEN TRY_CAST({tried} AS {stored}) IS NOT DISTINCT FROM {column} THEN {tried} END"

    def _wide(self, index: int) -> str:
        segment, columns = self.ledger.segments[index], self.columns[index]
        parts = [self._keys(columns)]
        for number, (name, kind, late) in enumerate(self.shape.fields):
            parts.append(f"{self._value(columns, name, kind)} AS b{number}")
            if late:
                parts.append(f"{self._compared(columns, name, kind, late)} AS i{number}")
        stored = self.rehashed(segment, columns) if self.stale(segment) else "hash"
        operation = "operation" if "state" in columns and "operation" in columns else "CAST(NULL AS VARCHAR)"
        identifier = "identifier" if "identifier" in columns else "CAST(NULL AS VARCHAR)"
        parts += [
            f"{stored} AS h",
            f"{self._state(index)} AS st",
            f"{operation} AS op",
            f"{identifier} AS identifier",
            f"{created_of(segment, columns)} AS {CREATED}",
            f"{unmapped_fields.told(columns, self.shape.names)} AS lapsed",
        ]
        return f"SELECT {sql.listed(parts)} FROM {self._scan(segment)}"


def created_of(segment: Segment, columns: dict[str, str]) -> str:
    """Whether this sync made the record of a segment's row, never NULL."""
    told = f"coalesce({CREATED}, false)" if CREATED in columns else "false"
    return "true" if segment.created else told


def key_changed(ledger: Ledger, name: str, stored: str, kind: str, why: str) -> ConfigError:
    """The error for a key whose type is not the ledger's any more, and whose values would become other keys."""
    return ConfigError(
        f"the key {name} was {stored} and is {kind} now: {why}",
        code="config.key_changed",
        hint="cast the key in the model as it was; of a CSV or JSON file, `text:` in the source keeps a column text; "
        f"or `levada resync {ledger.sync} --rebuild`",
    )


def overlay_rows(segments: Sequence[Segment]) -> int:
    """How many rows lie above the base."""
    return sum(segment.file.rows for segment in segments[1:])
