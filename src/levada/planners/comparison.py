"""The difference between a model's mapped rows and a ledger, as the operation files of a plan.

Keys and hashes are compared first, in one pass that carries no values. Values are read only for keys that
differ, and decide: a row whose hash differs but whose values do not is no operation (it is *refreshed*, so
that it is not looked at again). Not here: reading the model, the plan's id and its figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from levada.change import Counts
from levada.planner import KindPolicy, Ledger
from levada.planners import apart, python_fields, sql, unmapped_fields
from levada.planners.engine import Engine
from levada.planners.ledgers import CREATED, NARROW, UNSURE, LedgerView
from levada.planners.mapped import (
    Layout,
    after_name,
    before_name,
    input_name,
    key_name,
    problem_text,
    split_problem,
)
from levada.planners.model_rows import MAPPED, Reading
from levada.planners.plan_figures import null_counts, parts_for

ROWS = "levada_rows"
DIFF = "levada_diff"
FRESH = "levada_fresh"
TWICE = "levada_twice"
BITMAP_BITS_MAX = 400_000_000
LEFT_ROWS_COMPARED = 100_000
CONFIRMED = "'confirmed'"


@dataclass(slots=True)
class Difference:
    """What was found. `rows` counts the rows of each file that was written, by its stem."""

    rows: dict[str, int] = field(default_factory=dict)
    counts: Counts = Counts()
    #: rows of the model that are equal to another row in key and mapped values
    collapsed: int = 0
    everything: bool = False
    #: keys whose rows left the model, and whose records are kept because this sync did not make them
    not_ours: int = 0
    nulls: dict[str, float] = field(default_factory=dict)


class Comparison:
    """One comparison, step by step. The plan's files go into `folder`, intermediate ones into `work`."""

    def __init__(
        self,
        engine: Engine,
        reading: Reading,
        layout: Layout,
        view: LedgerView,
        ledger: Ledger,
        policy: KindPolicy,
        folder: Path,
        work: Path,
    ) -> None:
        self.engine = engine
        self.reading = reading
        self.layout = layout
        self.view = view
        self.ledger = ledger
        self.policy = policy
        self.folder = folder
        self.work = work
        self.found = Difference()
        self.repeated = False
        self.fresh_rows = 0
        self.bad_late = 0
        self.bad_match = 0

    # names

    @property
    def _count(self) -> int:
        return len(self.layout.keys)

    @property
    def _keys(self) -> str:
        return sql.columns("k", self._count)

    def _same_key(self, left: str, right: str) -> str:
        return sql.equal(left, right, "k", self._count)

    def _keys_out(self, table: str) -> str:
        return sql.listed(f"{table}.k{i} AS {key_name(name)}" for i, name in enumerate(self.layout.keys))

    def _null_key(self, table: str = "") -> str:
        start = f"{table}." if table else ""
        return sql.any_of([f"{start}k{i} IS NULL" for i in range(self._count)])

    def run(self) -> Difference:
        """Compare and write. Returns what was found."""
        self.found.everything = self.policy.everything
        first = not self.ledger.segments and not self.layout.late and self.policy.added
        if first and self._written_at_once():
            return self.found
        self.view.prepare()
        self._compare_keys()
        if self._repeats():
            self._group_repeated()
            self._compare_keys()
        self._write_operations()
        self._write_invalid()
        self._count_all()
        return self.found

    # the first plan: nothing to compare with

    def _written_at_once(self) -> bool:
        """Write added.parquet straight from the model. False (and no file) if rows repeat each other."""
        engine, layout = self.engine, self.layout
        target = self.folder / "added.parquet"
        values = sql.listed(f"v{each.index} AS {after_name(each.name)}" for each in layout.fields)
        query = f"SELECT {sql.listed([self._keys_out('m'), values])}, h AS hash, CAST(NULL AS VARCHAR) AS operation"
        with engine.reading():
            rows = engine.copy(f"{query} FROM {MAPPED} m WHERE NOT bad", target)
        invalid = self.reading.rows - rows
        if rows and (self._repeated_in(target, rows, invalid) or self._matched_twice_in(target)):
            target.unlink()
            return False
        self.found.rows["added"] = rows
        if invalid:
            self._copy_invalid([self._mapped_problems()])
        self.found.counts = Counts(added=rows, invalid=invalid)
        if rows:
            self.found.nulls = {name: count / rows for name, count in self._null_counts(target, "after").items()}
        return True

    def _repeated_in(self, target: Path, rows: int, invalid: int) -> bool:
        engine, scan = self.engine, sql.parquet(target)
        columns = [key_name(name) for name in self.layout.keys]
        if invalid:
            shown = sql.listed(f"{column} AS k{i}" for i, column in enumerate(columns))
            matched = self._same_key("m", "a")
            query = f"SELECT count(*) FROM {MAPPED} m SEMI JOIN (SELECT {shown} FROM {scan}) a ON {matched} WHERE bad"
            if engine.row(query)[0]:
                return True
            grouped = (
                f"SELECT 1 FROM {MAPPED} WHERE bad AND NOT {self._null_key()} GROUP BY {self._keys} HAVING count(*) > 1"
            )
            if engine.row(f"SELECT count(*) FROM ({grouped})")[0]:
                return True
        if len(columns) == 1 and self.layout.key_types[0] in ("BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER"):
            low, high = engine.row(f"SELECT min({columns[0]}), max({columns[0]}) FROM {scan}")
            if high - low < min(BITMAP_BITS_MAX, 16 * rows + 1_000_000):
                bits = f"bit_count(bitstring_agg({columns[0]}, {low}, {high}))"
                return int(engine.row(f"SELECT {bits} FROM {scan}")[0]) != rows
        grouped = f"SELECT 1 FROM {scan} GROUP BY {sql.listed(columns)} HAVING count(*) > 1"
        return bool(engine.row(f"SELECT count(*) FROM ({grouped})")[0])

    def _matched_twice_in(self, target: Path) -> bool:
        if self.layout.match_is_key:
            return False
        columns = sql.listed(after_name(each.name) for each in self.layout.matched)
        grouped = f"SELECT 1 FROM {sql.parquet(target)} GROUP BY {columns} HAVING count(*) > 1"
        return bool(self.engine.row(f"SELECT count(*) FROM ({grouped})")[0])

    # keys and hashes

    def _compare_keys(self) -> None:
        engine = self.engine
        if not self.repeated:
            engine.run(f"DROP VIEW IF EXISTS {ROWS}")
            engine.run(f"CREATE TEMP VIEW {ROWS} AS SELECT {self._keys}, h, bad, false AS unequal FROM {MAPPED}")
        engine.run(f"DROP TABLE IF EXISTS {DIFF}")
        keys = sql.listed(f"coalesce(m.k{i}, l.k{i}) AS k{i}" for i in range(self._count))
        with engine.reading():
            engine.run(
                f"CREATE TEMP TABLE {DIFF} AS SELECT d.*, coalesce(u.st, {CONFIRMED}) AS st, u.op FROM (SELECT {keys}, "
                "m.h IS NOT NULL AS present, l.k0 IS NOT NULL AS held, coalesce(m.bad, false) AS bad, "
                "coalesce(m.unequal, false) AS unequal "
                f"FROM {ROWS} m FULL JOIN {NARROW} l ON {self._same_key('m', 'l')} "
                "WHERE m.h IS DISTINCT FROM l.h OR m.h IS NULL OR m.bad OR m.unequal) d "
                f"LEFT JOIN {UNSURE} u ON {self._same_key('d', 'u')}"
            )

    def _repeats(self) -> bool:
        """Do two rows of the model have the same key? Exact, and cheap while there is none.

        Keys held are distinct. So rows that met a key held are distinct if they are as many as the keys held
        that were met; the others are few, and are grouped.
        """
        engine = self.engine
        null_keys, met_none, gone = engine.row(
            f"SELECT count(*) FILTER (present AND {self._null_key()}), "
            f"count(*) FILTER (present AND NOT held AND NOT {self._null_key()}), count(*) FILTER (NOT present) "
            f"FROM {DIFF}"
        )
        if self.reading.rows - null_keys - met_none != self.ledger.rows - gone:
            return True
        grouped = (
            f"SELECT 1 FROM {DIFF} WHERE present AND NOT held AND NOT {self._null_key()} "
            f"GROUP BY {self._keys} HAVING count(*) > 1"
        )
        return bool(engine.row(f"SELECT count(*) FROM ({grouped})")[0])

    def _group_repeated(self) -> None:
        """One row per key: equal rows collapse, unequal ones are marked."""
        engine = self.engine
        engine.run(f"DROP VIEW {ROWS}")
        with engine.reading():
            engine.run(
                f"CREATE TEMP TABLE {ROWS} AS SELECT {self._keys}, min(h) AS h, bool_or(bad) AS bad, "
                f"min(h) <> max(h) OR (bool_or(bad) AND count(*) > 1) AS unequal, count(*) AS n "
                f"FROM {MAPPED} GROUP BY {self._keys}"
            )
        self.repeated = True
        (self.found.collapsed,) = engine.row(
            f"SELECT coalesce(sum(n - 1), 0) FROM {ROWS} WHERE NOT bad AND NOT unequal"
        )

    # values

    def _write_operations(self) -> None:
        if self.policy.everything and not self._differs():
            return
        scratch = self._write_fresh()
        if scratch is None and not self._held_wanted():
            return
        if scratch is not None:
            self._complete(scratch)
        before = self._write_before()
        if scratch is not None:
            self._write_changed(before)
            self._write_added(before)
        if before is not None and self.policy.removed and not self.policy.everything:
            self._write_removed(before)

    def _differs(self) -> bool:
        (rows,) = self.engine.row(f"SELECT count(*) FROM {DIFF} WHERE NOT present OR NOT (bad OR unequal) OR held")
        return bool(rows)

    def _candidates(self, table: str) -> str:
        """The condition on DIFF for rows whose values are wanted from the model."""
        start = f"{table}."
        added = f"(NOT {start}held OR {start}st = 'maybe_present')"
        kinds = [added] if self.policy.added else []
        if self.policy.changed:
            kinds.append(f"({start}held AND {start}st <> 'maybe_present')")
        return f"{start}present AND NOT {start}bad AND NOT {start}unequal AND {sql.any_of(kinds)}"

    def _write_fresh(self) -> Path | None:
        """The model's rows that may be operations, with values; None if there are none."""
        engine = self.engine
        values = sql.columns("v", len(self.layout.fields), "m")
        target = self.work / "fresh.parquet"
        if self.policy.everything:
            unequal = f"SELECT {self._keys} FROM {ROWS} WHERE unequal" if self.repeated else ""
            excluded = f"ANTI JOIN ({unequal}) u ON {self._same_key('m', 'u')}" if unequal else ""
            held = "false AS held, CAST(NULL AS VARCHAR) AS st, CAST(NULL AS VARCHAR) AS op"
            shown = sql.listed([self._keys_of("m"), values, "m.h", held])
            rows = f"SELECT {shown} FROM {MAPPED} m {excluded} WHERE NOT m.bad"
        else:
            wanted = f"(SELECT * FROM {DIFF} d WHERE {self._candidates('d')})"
            (any_wanted,) = engine.row(f"SELECT count(*) FROM {wanted}")
            if not any_wanted:
                return None
            rows = (
                f"SELECT {sql.listed([self._keys_of('m'), values])}, m.h, d.held, d.st, d.op "
                f"FROM {MAPPED} m JOIN {wanted} d ON {self._same_key('m', 'd')}"
            )
        if self.repeated:
            rows = f"SELECT DISTINCT ON ({self._keys}) * FROM ({rows})"
        with engine.reading():
            self.fresh_rows = engine.copy(rows, target)
        return target if self.fresh_rows else None

    def _keys_of(self, table: str) -> str:
        return sql.columns("k", self._count, table)

    def _complete(self, scratch: Path) -> None:
        """Make FRESH: the candidate rows with final values; late and match problems are set apart."""
        engine, layout = self.engine, self.layout
        if layout.late:
            done = self.work / "completed.parquet"
            engine.copy(python_fields.completed(engine, layout, scratch, self.work), done)
            engine.run(f"CREATE TEMP VIEW levada_completed AS SELECT * FROM {sql.parquet(done)}")
            (self.bad_late,) = engine.row("SELECT count(*) FROM levada_completed WHERE p IS NOT NULL")
        else:
            engine.run(
                f"CREATE TEMP VIEW levada_completed AS SELECT *, CAST(NULL AS VARCHAR) AS p FROM {sql.parquet(scratch)}"
            )
        self._find_twice()
        kept = "SELECT * FROM levada_completed f WHERE p IS NULL"
        if self.bad_match:
            matched = self._same_match("f", "t")
            kept = f"SELECT f.* FROM levada_completed f ANTI JOIN {TWICE} t ON {matched} WHERE p IS NULL"
        engine.run(f"CREATE TEMP VIEW {FRESH} AS {kept}")

    def _same_match(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.v{each.index} = {right}.v{each.index}" for each in self.layout.matched)

    def _find_twice(self) -> None:
        """Make TWICE: the match values that more than one row of the model has, of those in the plan."""
        if self.layout.match_is_key:
            return
        values = sql.listed(f"v{each.index}" for each in self.layout.matched)
        fresh = f"SELECT {values} FROM levada_completed WHERE p IS NULL"
        rows = fresh
        if self.ledger.segments and not self.policy.everything:
            named = sql.listed(f"l.b{each.index} AS v{each.index}" for each in self.layout.matched)
            unchanged = f"SELECT {named} FROM ({self.view.wide()}) l ANTI JOIN {DIFF} d ON {self._same_key('l', 'd')}"
            rows += f" UNION ALL SELECT l.* FROM ({unchanged}) l SEMI JOIN ({fresh}) f ON {self._same_match('l', 'f')}"
        self.engine.run(
            f"CREATE TEMP TABLE {TWICE} AS SELECT {values} FROM ({rows}) GROUP BY {values} HAVING count(*) > 1"
        )
        (self.bad_match,) = self.engine.row(
            f"SELECT count(*) FROM levada_completed f SEMI JOIN {TWICE} t "
            f"ON {self._same_match('f', 't')} WHERE p IS NULL"
        )

    def _held_wanted(self) -> bool:
        (left,) = self.engine.row(f"SELECT count(*) FROM {DIFF} WHERE NOT present")
        return bool(left) and (self.policy.removed or left <= LEFT_ROWS_COMPARED)

    def _write_before(self) -> Path | None:
        """The ledger's entries of keys that changed or left, as before.parquet."""
        if not self.ledger.segments:
            return None
        gone = "OR NOT d.present" if self._held_wanted() else ""
        wanted = f"SELECT * FROM {DIFF} d WHERE d.held AND (({self._candidates('d')}) {gone})"
        (rows,) = self.engine.row(f"SELECT count(*) FROM ({wanted})")
        if not rows:
            return None
        target = self.work / "before.parquet"
        self.engine.copy(
            f"SELECT l.*, d.present FROM ({self.view.wide()}) l JOIN ({wanted}) d ON {self._same_key('l', 'd')}", target
        )
        return target

    def _after(self, index: int) -> str:
        """What the destination will hold: with nulls: skip a NULL leaves what is there."""
        return f"coalesce(f.v{index}, b.b{index})" if self.layout.skip_nulls else f"f.v{index}"

    def _write_changed(self, before: Path | None) -> None:
        engine, layout = self.engine, self.layout
        (candidates,) = engine.row(f"SELECT count(*) FROM {FRESH} WHERE held AND st <> 'maybe_present'")
        if not candidates or before is None:
            return
        differ = [f"{self._after(each.index)} IS DISTINCT FROM b.b{each.index}" for each in layout.fields]
        if self.view.lapses:
            differ += [
                f"({self._sent(each.index)} AND {unmapped_fields.met('b.lapsed', [each.name])})"
                for each in layout.fields
            ]
        if self.ledger.distrusted:
            differ = ["true"]
        differs = sql.any_of([*differ, f"b.st <> {CONFIRMED}"])
        joined = self._joined(before)
        befores = sql.listed(f"b.b{each.index} AS {before_name(each.name)}" for each in layout.fields)
        afters = sql.listed(f"{self._after(each.index)} AS {after_name(each.name)}" for each in layout.fields)
        state = "'unknown'" if self.ledger.distrusted else "b.st"
        start = sql.listed([self._keys_out("f"), befores, afters, self._inputs("f")])
        kept = f"b.identifier{self._created}{self._still_lapsed()}"
        rest = f"f.h AS hash, {state} AS state, b.op AS operation, {kept}"
        if self.view.lapses:
            rest += f", {unmapped_fields.returned('b.lapsed', layout.names)} AS {unmapped_fields.RETURNED}"
        parts = [f"SELECT {start}, {rest} {part} {differs}" for part in joined]
        rows = engine.copy_parts(parts, self.folder / "changed.parquet")
        self.found.rows["changed"] = rows
        if rows < candidates:
            start = sql.listed([self._keys_out("f"), afters, self._inputs("f")])
            parts = [f"SELECT {start}, f.h AS hash, {kept} {part} NOT {differs}" for part in joined]
            self.found.rows["refreshed"] = engine.copy_parts(parts, self.folder / "refreshed.parquet")

    def _joined(self, before: Path) -> list[str]:
        """New and old values of the candidates, joined; in parts by key, if all of them exceed the memory."""
        parts = parts_for(before, self.engine.memory_bytes)
        joined = (
            f"FROM {FRESH} f JOIN {sql.parquet(before)} b ON {self._same_key('f', 'b')} "
            "WHERE f.held AND f.st <> 'maybe_present' AND"
        )
        if parts == 1:
            return [joined]
        sides = [f"hash({self._keys_of(table)}) % {parts}" for table in ("f", "b")]
        return [f"{joined} {sides[0]} = {part} AND {sides[1]} = {part} AND" for part in range(parts)]

    def _inputs(self, table: str) -> str:
        return sql.listed(f"{table}.i{each.index} AS {input_name(each.name)}" for each in self.layout.late)

    def _sent(self, index: int) -> str:
        """Is the field part of what is sent? With nulls: skip a NULL is not."""
        return f"f.v{index} IS NOT NULL" if self.layout.skip_nulls else "true"

    def _still_lapsed(self) -> str:
        if not self.view.lapses:
            return ""
        sent = [(each.name, self._sent(each.index)) for each in self.layout.fields]
        return f", {unmapped_fields.left_over('b.lapsed', sent)} AS {unmapped_fields.LAPSED}"

    @property
    def _created(self) -> str:
        return f", b.{CREATED}" if self.view.tells_created else ""

    def _write_added(self, before: Path | None) -> None:
        values = sql.listed(f"f.v{each.index} AS {after_name(each.name)}" for each in self.layout.fields)
        start = sql.listed([self._keys_out("f"), values, self._inputs("f")])
        # what may be present may hold what an earlier mapping sent
        held = (
            f"LEFT JOIN {sql.parquet(before)} b ON {self._same_key('f', 'b')} " if before and self.view.lapses else ""
        )
        lapses = self._still_lapsed() if held else ""
        query = (
            f"SELECT {start}, f.h AS hash, f.op AS operation{lapses} FROM {FRESH} f {held}"
            "WHERE NOT f.held OR f.st = 'maybe_present'"
        )
        self.found.rows["added"] = self.engine.copy(query, self.folder / "added.parquet")

    def _write_removed(self, before: Path) -> None:
        befores = sql.listed(f"b.b{each.index} AS {before_name(each.name)}" for each in self.layout.fields)
        start = sql.listed([self._keys_out("b"), befores])
        lapses = ", b.lapsed" if self.view.lapses else ""
        rest = f"b.op AS operation, b.identifier{self._created}{lapses}"
        ours = "" if self.policy.adopt else f" AND b.{CREATED}"
        query = f"SELECT {start}, {rest} FROM {sql.parquet(before)} b WHERE NOT b.present{ours}"
        self.found.rows["removed"] = self.engine.copy(query, self.folder / "removed.parquet")

    # what cannot be sent

    def _mapped_problems(self) -> str:
        return f"SELECT {self._keys}, p FROM {MAPPED} WHERE bad"

    def _write_invalid(self) -> None:
        parts = []
        (bad,) = self.engine.row(f"SELECT count(*) FROM {DIFF} WHERE bad OR unequal")
        if bad:
            parts.append(self._mapped_problems())
        if self.repeated:
            reason = problem_text("duplicate_key", ", ".join(self.layout.keys), "words")
            told = apart.duplicates(self.layout, MAPPED, f"(SELECT * FROM {ROWS} WHERE unequal)")
            parts.append(f"SELECT {self._keys}, {reason} AS p FROM ({told})")
        if self.bad_late:
            parts.append(f"SELECT {self._keys}, p FROM levada_completed WHERE p IS NOT NULL")
        if self.bad_match:
            words = apart.match_words(self.layout, "f")
            reason = problem_text("duplicate_match", ", ".join(self.layout.match), words)
            parts.append(
                f"SELECT {self._keys_of('f')}, {reason} AS p FROM levada_completed f SEMI JOIN {TWICE} t "
                f"ON {self._same_match('f', 't')} WHERE f.p IS NULL"
            )
        if parts:
            self._copy_invalid(parts)

    def _copy_invalid(self, parts: list[str]) -> None:
        query = f"SELECT {self._keys_out('m')}, {split_problem('m.p')} FROM ({' UNION ALL '.join(parts)}) m"
        with self.engine.reading():
            self.found.rows["invalid"] = self.engine.copy(query, self.folder / "invalid.parquet")

    # figures

    def _count_all(self) -> None:
        rows, found = self.found.rows, self.found
        (gone,) = self.engine.row(f"SELECT count(*) FROM {DIFF} WHERE NOT present")
        added, changed, invalid = (rows.get(name, 0) for name in ("added", "changed", "invalid"))
        removed = rows.get("removed", 0)
        found.counts = Counts(
            added=added,
            changed=changed,
            removed=removed,
            unchanged=self.reading.rows - invalid - found.collapsed - added - changed,
            invalid=invalid,
            left=gone - removed,
        )
        found.not_ours = gone - removed if self.policy.removed and not self.policy.adopt else 0
        found.nulls = self._nulls(gone, gone - removed)

    def _nulls(self, gone: int, left: int) -> dict[str, float]:
        """The share of NULLs of each field over the model's valid rows, from the ledger's and the difference."""
        added = self.folder / "added.parquet"
        if self.policy.everything and added.exists():
            return {name: count / self.found.rows["added"] for name, count in self._null_counts(added, "after").items()}
        if left and not self._held_wanted():
            return self._nulls_of_model()
        counts = {name: round(self.ledger.nulls.get(name, 1.0) * self.ledger.rows) for name in self.layout.names}
        rows = self.ledger.rows
        before = self.work / "before.parquet"
        if before.exists():
            shown = sql.listed(f"count(*) FILTER (b{each.index} IS NULL)" for each in self.layout.fields)
            kept = self._kept_before()
            lost = self.engine.row(f"SELECT count(*), {shown} FROM {sql.parquet(before)} b WHERE {kept}")
            rows -= lost[0]
            for each, count in zip(self.layout.fields, lost[1:], strict=True):
                counts[each.name] -= count
        for name in ("changed", "added"):
            if self.found.rows.get(name):
                rows += self.found.rows[name]
                for field_name, count in self._null_counts(self.folder / f"{name}.parquet", "after").items():
                    counts[field_name] += count
        return {name: min(1.0, max(0.0, count / rows)) for name, count in counts.items()} if rows > 0 else {}

    def _kept_before(self) -> str:
        """Of the ledger's entries read: those that the plan replaces, or whose row left the model."""
        parts = []
        if self.found.rows.get("changed"):
            parts.append(self._key_in("changed"))
        if self.found.rows.get("added"):
            parts.append(self._key_in("added"))
        return sql.any_of(["NOT b.present", *parts])

    def _key_in(self, name: str) -> str:
        keys = sql.listed(key_name(key) for key in self.layout.keys)
        mine = self._keys_of("b")
        return (
            f"({mine}) IN (SELECT ({keys}) FROM {sql.parquet(self.folder / f'{name}.parquet')})"
            if self._count > 1
            else (f"{mine} IN (SELECT {keys} FROM {sql.parquet(self.folder / f'{name}.parquet')})")
        )

    def _nulls_of_model(self) -> dict[str, float]:
        told = [each for each in self.layout.fields if not each.late]
        shown = sql.listed(f"count(*) FILTER (v{each.index} IS NULL)" for each in told)
        with self.engine.reading():
            row = self.engine.row(f"SELECT {sql.listed(['count(*)', shown])} FROM {MAPPED} WHERE NOT bad")
        return {each.name: count / row[0] for each, count in zip(told, row[1:], strict=True)} if row[0] else {}

    def _null_counts(self, file: Path, side: str) -> dict[str, int]:
        return null_counts(self.engine, file, side, self.layout.names)
