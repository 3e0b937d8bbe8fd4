"""The local planner beyond the contract: where it reads, what it may reach, how much it writes, how much it holds."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from contracts.planner_bench import BOTH, MIRROR, Planned, PlannerBench, exceptions, mapped, people
from levada import events
from levada.errors import ConfigError, CorruptedError, SourceError, StoppedError
from levada.halt import Halt
from levada.mapping import FieldMapping, Mapping
from levada.model import Model
from levada.plan import Plan
from levada.planner import KindPolicy, Ledger, PlanRequest, Settled
from levada.planners import samples
from levada.planners.engine import Engine, is_plain_scan
from levada.planners.files import linked
from levada.planners.local import LocalPlanner
from levada.source import Attachment, Column, SourceAbilities


@dataclass(slots=True)
class Warehouse:
    """A DuckDB database file read in place."""

    path: Path
    name: str = "warehouse"
    abilities: SourceAbilities = SourceAbilities("duckdb", in_place=True)
    extra: tuple[Path, ...] = ()
    statements: list[str] = field(default_factory=list)

    def make(self, *statements: str) -> None:
        with duckdb.connect(str(self.path)) as connection:
            for statement in statements:
                connection.execute(statement)

    def check(self) -> None: ...

    def tables(self) -> tuple[str, ...]:
        return ()

    def columns(self, query: str) -> tuple[Column, ...]:
        raise AssertionError(query)

    def read(self, query: str) -> AbstractContextManager[Iterator[pa.RecordBatch]]:
        raise AssertionError(query)

    def attachment(self, query: str | None = None) -> Attachment:
        attach = f"ATTACH '{self.path}' AS wh (READ_ONLY)"
        return Attachment((attach, "USE wh", *self.statements), (self.path, *self.extra))

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    found = Warehouse(tmp_path / "wh.duckdb")
    found.make("CREATE TABLE people AS SELECT range AS id, 'name ' || range AS name, range % 7 AS n FROM range(1000)")
    return found


def asked(warehouse: Warehouse, tmp_path: Path, query: str, number: int, ledger: Ledger | None = None) -> PlanRequest:
    model = Model(source="warehouse", key=("id",), query=query)
    held = ledger or Ledger("bench", tmp_path / "ledger")
    return PlanRequest("bench", model, warehouse, BOTH, MIRROR, held, tmp_path / f"plan {number} [x]")


PLAIN = [
    "SELECT * FROM people",
    "SELECT id, upper(name) AS name, n FROM people WHERE id > 5 -- a comment",
    "SELECT *, now() AS at FROM people",
    "SELECT * FROM shown",
]
SPOOLED = [
    "SELECT id, name, count(*) AS n FROM people GROUP BY ALL",
    "SELECT DISTINCT * FROM people",
    "SELECT * FROM people ORDER BY id LIMIT 10",
    "SELECT * FROM people LIMIT 10",
    "SELECT *, random() AS r FROM people",
    "SELECT * FROM people WHERE random() < 0.5",
    "SELECT *, uuid() AS u FROM people",
    "SELECT *, row_number() OVER () AS r FROM people",
    "SELECT p.* FROM people p JOIN people q USING (id)",
    "SELECT * FROM people USING SAMPLE 10%",
    "SELECT * FROM people TABLESAMPLE 10%",
    "SELECT * FROM drawn",
    "SELECT *, dice() AS d FROM people",
]


@pytest.mark.parametrize(("query", "plain"), [(each, True) for each in PLAIN] + [(each, False) for each in SPOOLED])
def test_only_plain_scans_are_read_more_than_once(
    warehouse: Warehouse, tmp_path: Path, query: str, plain: bool
) -> None:
    """Whatever might give other rows the second time, or costs more than a scan, is read once into a spool."""
    warehouse.make(
        "CREATE VIEW shown AS SELECT id, name, n FROM people WHERE id > 1",
        "CREATE VIEW inner_drawn AS SELECT *, random() AS x FROM people",
        "CREATE VIEW drawn AS SELECT id, name, n, x FROM inner_drawn",
        "CREATE MACRO dice() AS random() * 6",
    )
    attachment = warehouse.attachment()
    with Engine(tmp_path / "spill", memory="64MB", threads=1, folders=[], attachment=attachment) as engine:
        assert is_plain_scan(engine, query) is plain


@pytest.mark.parametrize("query", ["SELECT * FROM people", "SELECT id, name, n FROM people ORDER BY name"])
def test_in_place_and_spooled_models_plan_alike(warehouse: Warehouse, tmp_path: Path, query: str) -> None:
    """The way of reading makes no difference to what is planned."""
    planner = LocalPlanner(tmp_path / "spool")
    request = asked(warehouse, tmp_path, query, 1)
    plan = planner.plan(request)
    assert (plan.counts.added, plan.model_rows) == (1000, 1000)
    ledger = planner.fold(plan, request.folder, request.ledger, Settled("delivered"))
    later = f"SELECT id, name, CASE WHEN id = 3 THEN 99 ELSE n END AS n FROM ({query}) WHERE id <> 4"
    changed = asked(warehouse, tmp_path, later, 2, ledger)
    plan = planner.plan(changed)
    assert (plan.counts.added, plan.counts.changed, plan.counts.removed, plan.counts.unchanged) == (0, 1, 1, 998)
    assert sorted(path.name for path in changed.folder.iterdir()) == [
        "changed.parquet", "plan.json", "recipe.json", "removed.parquet",
    ]  # fmt: skip


ESCAPES = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT content AS id FROM read_text('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('https://example.com/x.parquet')",
    "COPY people TO '/tmp/levada-escaped.csv'",
    "ATTACH '/tmp/levada-escaped.duckdb'",
    "SELECT 1; COPY people TO '/tmp/levada-escaped.csv'",
    "SELECT * FROM people) UNION ALL (SELECT 1, 'a', 2",
    "INSERT INTO people VALUES (1, 'a', 2)",
    "DELETE FROM people",
    "SET memory_limit = '100GB'",
    "PRAGMA database_list",
    "INSTALL httpfs",
    "LOAD httpfs",
    "WITH x AS (DELETE FROM people RETURNING *) SELECT * FROM x",
    "this is not SQL",
    "",
]


@pytest.mark.parametrize("query", ESCAPES)
def test_a_models_query_reaches_its_source_and_nothing_else(warehouse: Warehouse, tmp_path: Path, query: str) -> None:
    """No file, no network, no writing, no setting, no second statement; and no plan."""
    before = warehouse.path.read_bytes()
    request = asked(warehouse, tmp_path, query or "--", 1)
    with pytest.raises((SourceError, ConfigError)):
        LocalPlanner(tmp_path / "spool").plan(request)
    assert not (request.folder / "plan.json").exists()
    assert not (request.folder / "work").exists()
    assert warehouse.path.read_bytes() == before
    assert not list(Path("/tmp").glob("levada-escaped*"))


def test_files_that_change_during_a_read_fail_it(warehouse: Warehouse, tmp_path: Path) -> None:
    """Half of an old file and half of a new one is no model."""
    beside = tmp_path / "beside.parquet"
    beside.write_bytes(b"1")
    warehouse.extra = (beside,)
    request = asked(warehouse, tmp_path, "SELECT * FROM people", 1)

    def touch(event: events.Event) -> None:
        beside.write_bytes(b"22")

    with pytest.raises(SourceError) as caught:
        LocalPlanner(tmp_path / "spool").plan(replace(request, listener=touch))
    assert caught.value.code == "source.changed"
    assert not (request.folder / "plan.json").exists()


def test_a_fold_of_a_delivered_plan_copies_nothing(tmp_path: Path) -> None:
    """The plan's files become the ledger's by a hard link."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    segment = bench.ledger.folder / bench.ledger.segments[0].file.name
    assert segment.samefile(planned.folder / "added.parquet")
    planned = bench.run(people((1, "Z", 1)), BOTH)
    assert [each.kind for each in bench.ledger.segments] == ["upsert", "remove", "upsert"]
    assert (bench.ledger.folder / bench.ledger.segments[1].file.name).samefile(planned.folder / "removed.parquet")
    assert sorted(path.name for path in bench.ledger.folder.iterdir()) == sorted(
        each.file.name for each in bench.ledger.segments
    )


def test_where_no_links_can_be_made_a_ledger_takes_private_durable_copies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner's alone from the first byte, and on disk before they have their name."""
    synced: list[tuple[str, int]] = []

    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    def watch(path: Path) -> None:
        synced.append((path.name, path.stat().st_mode & 0o777))

    monkeypatch.setattr("os.link", refuse)
    monkeypatch.setattr("levada.planners.files.sync_path", watch)
    source = tmp_path / "added.parquet"
    source.write_bytes(b"rows")
    target = linked(source, tmp_path, "segment.parquet")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"rows", 0o600)
    assert synced == [("segment.parquet.partial", 0o600)]


def test_many_small_segments_are_merged_and_the_base_is_left_alone(tmp_path: Path) -> None:
    """Run after run the number of segments stays bounded; the base file is the same all along."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    rows = dict.fromkeys(range(100), ("x", 0))
    bench.run(people(*((key, *values) for key, values in rows.items())), BOTH)
    base = bench.ledger.segments[0]
    for number in range(12):
        rows[number] = ("y", number)
        rows.pop(50 + number)
        rows[200 + number] = ("z", None)  # type: ignore[assignment]
        bench.run(people(*((key, *values) for key, values in rows.items())), BOTH)
        assert len(bench.ledger.segments) <= 16 + 3
        assert bench.ledger.rows == len(rows)
    assert bench.ledger.segments[0] == base
    assert len(bench.ledger.segments) < 16
    assert bench.plan(people(*((key, *values) for key, values in rows.items())), BOTH).counts == (0, 0, 0)


def test_a_ledger_that_is_mostly_overridden_is_rewritten(tmp_path: Path) -> None:
    """When more than a quarter of the base is out of date, one new base takes its place."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    ids = pa.array(range(30_000), pa.int64())

    def table(value: int) -> pa.Table:
        return pa.table({"id": ids, "name": pa.array(["x"] * 30_000), "n": pa.array([value] * 30_000, pa.int64())})

    bench.run(table(1), BOTH)
    bench.run(table(2), BOTH)
    (base,) = bench.ledger.segments
    assert base.file.rows == 30_000
    assert bench.plan(table(2), BOTH).counts == (0, 0, 0)


def test_a_mapping_change_rewrites_old_hashes_once(tmp_path: Path) -> None:
    """After the next fold the ledger is of today's mapping: no plan has to compute its hashes again."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH)
    planned = bench.run(people((1, "A", 1), (2, "C", 2)), mapped("name"))
    assert planned.counts == (0, 1, 0)
    assert {each.mapping_version for each in bench.ledger.segments} == {planned.plan.mapping_version}


LATE = Mapping(
    (
        FieldMapping("hello", "template", "{% if n > 1 %}Hi {{ name | upcase }}{% endif %}", type="text"),
        FieldMapping("n", "column", "n", type="integer"),
    ),
    (),
)


def test_a_template_is_compared_by_what_it_reads_and_sent_by_what_it_says(tmp_path: Path) -> None:
    """A changed input that renders the same sends nothing, and is not rendered again next time."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.run(people((1, "ana", 2), (2, "bo", 1)), LATE)
    assert planned.by_key("added")[1]["after"]["hello"] == "Hi ANA"
    assert planned.by_key("added")[2]["after"]["hello"] == ""
    (row,) = [row for row in planned.rows("added") if row["key.id"] == 1]
    assert json.loads(row["input.hello"]) == {"n": 2, "name": "ana"}
    planned = bench.run(people((1, "Ana", 2), (2, "bo", 1)), LATE)
    assert planned.counts == (0, 0, 0)
    assert (planned.folder / "refreshed.parquet").exists()
    planned = bench.plan(people((1, "Ana", 2), (2, "bo", 1)), LATE)
    assert not (planned.folder / "refreshed.parquet").exists()
    planned = bench.plan(people((1, "Eve", 2), (2, "bo", 1)), LATE)
    assert planned.by_key("changed")[1]["before"]["hello"] == "Hi ANA"
    assert planned.by_key("changed")[1]["after"]["hello"] == "Hi EVE"


def test_a_template_that_fails_makes_its_row_invalid_by_name(tmp_path: Path) -> None:
    """Loops without end and values that are not there are told apart from the value itself."""
    endless = "{% for i in (1..n) %}{{ name }}{% endfor %}"
    mapping = Mapping((FieldMapping("hello", "template", endless, type="text"),), ())
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.plan(people((1, "a", 2), (2, "b", 10**9)), mapping)
    assert planned.by_key("added")[1]["after"]["hello"] == "aa"
    (row,) = planned.invalid
    assert (row["key.id"], row["field"], row["code"]) == (2, "hello", "template")


@pytest.mark.parametrize(
    "template", ["Hi {{ nmae }}", "{{ name | upcaes }}", "{% include 'x' %}", "{{ name", "{% if %}"]
)
def test_a_wrong_template_is_a_config_error(tmp_path: Path, template: str) -> None:
    """Before anything is read."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    with pytest.raises(ConfigError) as caught:
        bench.plan(people((1, "a", 2)), Mapping((FieldMapping("x", "template", template),), ()))
    assert caught.value.code == "config.template"


def test_a_plain_template_says_in_sql_what_liquid_says(tmp_path: Path) -> None:
    """Columns between text cost no Python; NULL renders as nothing."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    table = people((1, "it's {{ }} %", -5), (2, None, None))
    plain = Mapping((FieldMapping("x", "template", "'{{ name }}' \\ {{n}}!"),), ())
    full = Mapping((FieldMapping("x", "template", "'{{ name | append: \"\" }}' \\ {{n}}!"),), ())
    rows = [bench.plan(table, each).by_key("added") for each in (plain, full)]
    assert rows[0][1]["after"] == rows[1][1]["after"] == {"x": "'it's {{ }} %' \\ -5!"}
    assert rows[0][2]["after"] == rows[1][2]["after"] == {"x": "'' \\ !"}


def test_samples_show_kinds_evenly_as_json(tmp_path: Path) -> None:
    """What `plan --json` prints, and what invalid rows look like."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    bench.run(people(*((number, "x", number) for number in range(20))), BOTH)
    rows = [(number, "y" if number < 5 else "x", number) for number in range(15)] + [(None, "z", 0)]
    planned = bench.plan(people(*rows, *((30 + number, "n", 1) for number in range(10))), BOTH)
    shown = samples.sample(planned.plan, planned.folder, 6)
    assert [row["kind"] for row in shown] == ["added"] * 2 + ["changed"] * 2 + ["removed"] * 2
    json.dumps(shown, allow_nan=False)
    one = samples.operations(planned.plan, planned.folder, sequences={planned.plan.first("changed")})
    assert [row["sequence"] for row in one] == [planned.plan.first("changed")]
    assert samples.invalid_rows(planned.plan, planned.folder)[0]["code"] == "null_key"


def test_a_plan_of_another_generation_is_not_folded(tmp_path: Path) -> None:
    """What was planned against an older ledger says nothing about the newer one."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.plan(people((1, "A", 1)), BOTH)
    bench.fold(planned)
    with pytest.raises(Exception, match="generation"):
        bench.fold(planned)


def test_a_damaged_plan_file_is_not_folded(tmp_path: Path) -> None:
    """A flipped byte between planning and folding is found, and the file is named."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.plan(people((1, "A", 1)), BOTH)
    path = planned.folder / "added.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptedError, match=r"added\.parquet"):
        bench.fold(planned)


def test_marked_synced_keeps_the_destinations_ids(tmp_path: Path) -> None:
    """mark-synced replaces what is held and loses no identifier."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.plan(people((1, "A", 1), (2, "B", 2)), BOTH)
    known = pa.table({"sequence": [planned.sequence("added", 1)], "identifier": ["crm-7"]})
    bench.fold(planned, Settled("delivered", None, known))
    bench.ledger = bench.planner.confirmed(bench.request(people((1, "Z", 1), (3, "C", 3)), BOTH))
    assert bench.ledger.rows == 2
    changed = bench.plan(people((1, "Y", 1), (3, "C", 3)), BOTH)
    assert changed.by_key("changed")[1]["identifier"] == "crm-7"


def test_a_replacement_whose_end_is_unknown_is_planned_again(tmp_path: Path) -> None:
    """Mode replace: nothing of the old content is forgotten until the new one is confirmed."""
    policy = KindPolicy(everything=True)
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    bench.run(people((1, "A", 1), (2, "B", 2)), BOTH, policy=policy)
    planned = bench.plan(people((3, "C", 3)), BOTH, policy=policy)
    bench.fold(planned, Settled("unknown", exceptions((0, "unknown", "op"))))
    assert bench.plan(people((3, "C", 3)), BOTH, policy=policy).counts == (1, 0, 0)


def test_columns_that_differ_only_in_case_are_refused(warehouse: Warehouse, tmp_path: Path) -> None:
    """DuckDB would silently take one for the other."""
    query = 'SELECT id, name AS "Name", n AS name, n FROM people'
    with pytest.raises(ConfigError, match="several columns"):
        LocalPlanner(tmp_path / "spool").plan(asked(warehouse, tmp_path, query, 1))
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    table = pa.table({"id": [1], "Name": ["a"], "name": ["b"]})
    with pytest.raises(ConfigError):
        bench.plan(table, mapped("name"))


def test_hostile_names_and_constants_are_only_names_and_constants(tmp_path: Path) -> None:
    """Quotes, brackets, dots, new lines and SQL in names of columns and fields, and in values."""
    hostile = ['a"b', "x'; DROP TABLE y; --", "a.b[0].c", "new\nline", "ключ", "key.id", "SELECT", " "]
    table = pa.table({"id": [1], **{name: [name] for name in hostile}})
    fields = [FieldMapping(f"field {name}", "column", name) for name in hostile]
    fields += [FieldMapping(f"constant {name}", "value", "", constant=name) for name in hostile]
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    planned = bench.run(table, Mapping(tuple(fields), ()))
    after = planned.by_key("added")[1]["after"]
    assert after == {f"{kind} {name}": name for kind in ("field", "constant") for name in hostile}
    assert bench.plan(table, Mapping(tuple(fields), ())).counts == (0, 0, 0)


SPILLING = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from levada.planners.local import LocalPlanner
from contracts.planner_bench import BOTH, PlannerBench
folder = Path(sys.argv[1])
bench = PlannerBench(LocalPlanner(folder / "spool", memory="64MB", threads=2), folder)
rows = 300_000
def table(extra):
    ids = pa.array(range(rows), pa.int64())
    return pa.table({"id": ids, "name": pa.array([f"name {i + extra} " * 4 for i in range(rows)]), "n": ids})
bench.run(table(0), BOTH)
planned = bench.plan(table(1), BOTH)
assert planned.counts == (0, rows, 0), planned.counts
"""


def test_a_plan_larger_than_its_memory_spills_to_disk(tmp_path: Path) -> None:
    """With a memory limit far below the data, a plan in which everything changed is complete, and leaves no spill."""
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-c", SPILLING, str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tests)}, check=True, timeout=120)
    assert not list(tmp_path.glob("plan-*/work"))
    assert Plan.read(tmp_path / "plan-2").counts.changed == 300_000


def test_a_read_that_ends_badly_leaves_the_ledger_and_no_plan(tmp_path: Path) -> None:
    """The spool of a broken read counts for nothing, whenever it broke."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    rows = people(*((number, "x", 1) for number in range(40)))
    bench.run(rows, BOTH)
    for breaks_after in (0, 1, 7, 35):
        request = bench.request(rows, BOTH, breaks_after=breaks_after)
        with pytest.raises(SourceError):
            bench.planner.plan(request)
        assert not request.folder.exists() or not list(request.folder.iterdir())
    assert Planned(bench.planner.plan(bench.request(rows, BOTH)), tmp_path).counts == (0, 0, 0)


def test_a_bare_table_is_read_by_name(warehouse: Warehouse, tmp_path: Path) -> None:
    """`table:` in place of a query."""
    request = asked(warehouse, tmp_path, "unused", 1)
    model = Model(source="warehouse", key=("id",), table="main.people")
    assert LocalPlanner(tmp_path / "spool").plan(replace(request, model=model)).counts.added == 1000


def test_fields_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    """A record has each field once."""
    bench = PlannerBench(LocalPlanner(tmp_path / "spool"), tmp_path)
    both = Mapping((FieldMapping("Email", "column", "name"), FieldMapping("email", "column", "name")), ())
    with pytest.raises(ConfigError):
        bench.plan(people((1, "a", 1)), both)


def test_a_plan_ends_when_the_halt_is_set(warehouse: Warehouse, tmp_path: Path) -> None:
    """Also after the model was read, and if the plan is done before it hears of it."""
    halt = Halt()
    planner = LocalPlanner(tmp_path / "spool", halt=halt)
    request = replace(asked(warehouse, tmp_path, "SELECT * FROM people", 1), listener=lambda event: halt.set())
    with pytest.raises(StoppedError):
        planner.plan(request)
    with pytest.raises(StoppedError):
        planner.preview(request, 5)
