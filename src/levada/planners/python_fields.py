"""Fields that SQL cannot compute: Python on Arrow columns, for the rows of a plan only.

A late field goes through rounds: its text is put through a Python step (a template, `phone_e164`), the SQL
transforms that follow it are applied, and so on. What a step refuses makes the row invalid.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levada.planners import sql
from levada.planners.engine import Engine
from levada.planners.kept import Problem
from levada.planners.mapped import Layout, MappedField, field_problems, first_problem, subject
from levada.planners.template_process import Rendered, TemplateProcess
from levada.planners.transforms import Transform

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 20_000


def completed(engine: Engine, layout: Layout, source: Path, folder: Path) -> str:
    """A query over the rows of `source` (columns k, v, h and others) with final values.

    It has all columns of `source`, v of late fields replaced by their values, their inputs as i<index>, and
    `p`: NULL, or what is wrong. Writes its intermediate files into `folder`.
    """
    late = layout.late
    replaced = sql.listed(f"v{each.index}" for each in late)
    inputs = sql.listed(f"v{each.index} AS i{each.index}, v{each.index} AS t{each.index}" for each in late)
    current = (
        f"SELECT * EXCLUDE ({replaced}), {inputs}, CAST(NULL AS VARCHAR) AS e "
        f"FROM (SELECT *, file_row_number AS n FROM {sql.parquet(source, 'file_row_number = true')})"
    )
    with TemplateProcess() as process, engine.interrupting(process.kill):
        for number in range(max(len(each.rounds) for each in late)):
            active = [each for each in late if len(each.rounds) > number]
            target = folder / f"late-{number}.parquet"
            _write(engine, current, active, number, target, process)
            current = _joined(current, active, number, target)
    problems = [(name, problem) for each in late for name, problem in field_problems(each, layout.match)]
    finals = sql.listed(f"{each.coerced.sql} AS v{each.index}" for each in late)
    raw = sql.listed(f"t{each.index} AS r{each.index}" for each in late)
    dropped = sql.listed(f"t{each.index}" for each in late)
    named = sql.listed(f"r{each.index}" for each in late)
    return (
        f"SELECT * EXCLUDE ({named}, e, n), {finals}, coalesce(e, {first_problem(problems)}) AS p "
        f"FROM (SELECT * EXCLUDE ({dropped}), {raw} FROM ({current}))"
    )


def _joined(current: str, active: Sequence[MappedField], number: int, target: Path) -> str:
    """The rows with the results of one round, and its SQL transforms applied."""
    changed = []
    errors = ["a.e"]
    for each in active:
        text = f"o.o{each.index}"
        failed: list[tuple[str, Problem]] = []
        for step in each.rounds[number].then:
            assert step.sql is not None
            after = step.sql(text)
            if step.fails:
                condition = f"(({text}) IS NOT NULL AND ({after}) IS NULL)"
                failed.append((each.name, Problem(condition, "transform", sql.text(f"{subject(each)}: {step.fails}"))))
            text = after
        changed.append(f"{text} AS t{each.index}")
        errors.append(f"o.e{each.index}")
        if failed:
            errors.append(first_problem(failed))
    dropped = sql.listed(f"t{each.index}" for each in active)
    return (
        f"SELECT a.* EXCLUDE ({dropped}, e), {sql.listed(changed)}, coalesce({sql.listed(errors)}, NULL) AS e "
        f"FROM ({current}) a JOIN {sql.parquet(target)} o ON o.n = a.n"
    )


def _write(
    engine: Engine,
    current: str,
    active: Sequence[MappedField],
    number: int,
    target: Path,
    process: TemplateProcess,
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = sql.listed(f"t{each.index}" for each in active)
    fields: list[pa.Field[Any]] = [pa.field("n", pa.int64())]
    for each in active:
        fields += [pa.field(f"o{each.index}", pa.string()), pa.field(f"e{each.index}", pa.string())]
    schema = pa.schema(fields)
    reader = engine.connection.sql(f"SELECT n, {wanted} FROM ({current})").to_arrow_reader(BATCH_ROWS)
    with pq.ParquetWriter(target, schema, compression="lz4") as writer:
        for batch in reader:
            columns: list[pa.Array[Any]] = [batch.column(0)]
            for position, each in enumerate(active, 1):
                columns += _computed(each, number, batch.column(position), process)
            writer.write_batch(pa.record_batch(columns, schema=schema))


def _computed(mapped: MappedField, number: int, column: pa.Array[Any], process: TemplateProcess) -> list[pa.Array[Any]]:
    """The texts and the problems of one column; each distinct text is computed once."""
    import pyarrow as pa

    step = mapped.rounds[number]
    encoded = column.dictionary_encode()
    values = [str(value) for value in encoded.dictionary.to_pylist()]
    if step.transform is None:
        code, found = "template", process.render(step.template, values, f"fields.{mapped.name}")
    else:
        code, found = "transform", [_transformed(step.transform, value) for value in values]
    start = f"{code}\x1f{mapped.name}\x1f{subject(mapped)}: "
    errors = [None if reason is None else start + reason for _, reason in found]
    indices = encoded.indices
    return [
        pa.array([text for text, _ in found], pa.string()).take(indices),
        pa.array(errors, pa.string()).take(indices),
    ]


def _transformed(transform: Transform, value: str) -> Rendered:
    assert transform.python is not None
    try:
        return transform.python(value, transform.argument), None
    except ValueError as reason:
        return None, str(reason)
