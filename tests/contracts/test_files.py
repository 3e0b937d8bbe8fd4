"""Files keep what of the contract of a table is theirs to keep; what is not is named, and shown not to hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from claims import Figure
from contracts import table_shapes, tables
from contracts.tables import Check, TableBench, name_of
from levada.destination import Surroundings, TableDestination
from levada.destinations.files import TYPE
from levada.testing.plugin import NOTED, noted_line

CHECKS = (*tables.CHECKS, *table_shapes.CHECKS)
FORMATS = {
    "csv": "read_csv('{}', header = true, allow_quoted_nulls = false)",
    "jsonl": "read_json('{}', format = 'newline_delimited')",
    "parquet": "read_parquet('{}')",
}
"""How DuckDB reads them; in a CSV, "" is empty text and nothing at all is NULL."""

APPENDS = "files know the verb append alone: no record in them is found or changed"
NO_DDL = "nobody makes files by statements; a missing one is made, and any field taken"
NO_MARKS = "files keep no marks: the same batch makes the same file (class A)"
UNTYPED = "its text has no types of its own: what cannot be exact is refused by name (unit/destinations/test_files.py)"

APART: dict[str, str] = dict.fromkeys(
    (
        "upsert_adds_and_then_overwrites", "upsert_leaves_columns_that_are_not_mapped", "create_rejects_what_is_there",
        "update_never_creates", "delete_removes_only_what_it_is_told", "clear_empties_the_fields_and_keeps_the_record",
        "records_are_found_by_several_fields", "a_new_match_value_moves_the_record",
        "a_new_match_value_moves_the_record_in_update_too", "an_unchanged_match_value_may_be_empty_in_previous",
        "a_chain_of_match_values_moves_along", "two_records_exchange_their_match_values",
        "an_exchange_across_batches_loses_nobody", "a_removal_goes_by_the_former_match_value",
        "an_empty_match_value_is_rejected_by_index", "doubled_match_values_are_all_rejected", "nulls_clear_or_skip",
        "only_if_empty_keeps_what_is_there", "two_syncs_write_to_one_table", "identifiers_of_type_uuid_match",
        "without_a_unique_index_nothing_is_doubled", "another_unique_index_changes_no_other_record",
    ),
    APPENDS,
) | dict.fromkeys(
    (
        "a_poisoned_batch_is_refused_whole", "a_poisoned_value_of_a_direct_load_is_refused_too",
        "a_missing_table_is_an_error_that_shows_the_statement", "a_missing_column_is_an_error_that_shows_the_statement",
        "a_missing_table_suggests_the_nearest", "a_new_field_becomes_a_column_with_a_notice",
        "required_and_unique_columns_are_described", "a_type_that_is_no_type_never_reaches_a_statement",
        "odd_names_are_names", "describing_changes_nothing_and_foretells_the_table", "replace_swaps_in_one_step",
        "replace_by_nothing_empties_the_table",
    ),
    NO_DDL,
) | dict.fromkeys(
    (
        "a_batch_written_again_has_no_second_effect", "exceptions_are_remembered_with_the_mark",
        "a_part_that_was_committed_is_not_written_twice", "marks_of_older_plans_are_forgotten",
        "a_mark_counts_for_its_owner_only",
        "without_marks_nothing_is_promised_that_is_not_kept", "with_marks_the_class_is_transactional",
        "reserved_names_are_refused", "replace_needs_the_marks",
    ),
    NO_MARKS,
)  # fmt: skip
"""Checks that say nothing of files, with the reason."""

APART_BY_FORMAT: dict[str, dict[str, str]] = {
    "csv": {"every_type_arrives_exactly": UNTYPED},
    "jsonl": {"every_type_arrives_exactly": UNTYPED},
    "parquet": {},
}


def bench_of(kind: str, folder: Path) -> TableBench:
    """Files of one format; they are read by DuckDB."""

    def opened(**options: Any) -> TableDestination:
        del options["create_tables"]
        found = TYPE.open("out", TYPE.options(path="out", format=kind, **options), Surroundings(folder))
        assert isinstance(found, TableDestination)
        return found

    def named() -> list[str]:
        return sorted({path.name.removesuffix(f".{kind}") for path in (folder / "out").glob("[!.]*")})

    def query(statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("CREATE VIEW people AS SELECT 1 AS id, '' AS email, 1 AS score WHERE false")
            for name in named():
                where = folder / "out" / name
                place = str(where / f"*.{kind}") if where.is_dir() else f"{where}.{kind}"
                connection.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {FORMATS[kind].format(place)}")
            return connection.execute(statement).fetchall()

    def execute(statement: str) -> None:
        raise NotImplementedError(f"files take no statements: {statement}")

    return TableBench(opened, query, named, execute, adds="append", mode="append", marks=False)


def held(check: Check, kind: str, folder: Path) -> bool:
    bench = bench_of(kind, folder)
    try:
        check(bench)
    finally:
        bench.close()
    return True


def apart(kind: str) -> dict[str, str]:
    return APART | APART_BY_FORMAT[kind]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("check", [c for c in CHECKS if name_of(c) not in APART], ids=name_of)
def test_files_keep_the_contract(check: Check, kind: str, tmp_path: Path) -> None:
    """Each check's own docstring says its promise. One that does not apply to the format is shown not to hold."""
    if name_of(check) not in apart(kind):
        assert held(check, kind, tmp_path)
        return
    with pytest.raises(BaseException):  # noqa: B017
        held(check, kind, tmp_path)


@pytest.mark.claim("KIT")
def test_what_does_not_apply_is_named_and_does_not_hold(
    tmp_path: Path, figure: Figure, record_property: Callable[[str, object], None]
) -> None:
    """Every check is kept or named; a name is taken off the list as soon as the check holds."""
    assert set(APART) <= {name_of(check) for check in CHECKS}
    for check in CHECKS:
        if name_of(check) in APART:
            folder = tmp_path / name_of(check)
            folder.mkdir()
            with pytest.raises(BaseException):  # noqa: B017
                held(check, "parquet", folder)
    counts = {f"files ({kind})": (len(CHECKS) - len(apart(kind)), apart(kind)) for kind in FORMATS}
    record_property(NOTED, noted_line(counts))
    kept, others = sum(count for count, _ in counts.values()), sum(len(named) for _, named in counts.values())
    figure("KIT", f"{len(CHECKS)} table checks × 3 formats of files: {kept} held, {others} do not apply, each by name")
