"""What docs/reference/sources.md says is run: each row of its tables, and each option."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.sources import table_of
from levada.sources import source_type, source_types
from levada.sources.csv_files import DELIMITERS
from levada.sources.files import TYPE as FILES
from levada.sources.files import FilesOptions
from levada.sources.postgres import TYPE as POSTGRES
from levada.sources.postgres import PostgresOptions

PAGE = (Path(__file__).parents[2] / "docs/reference/sources.md").read_text(encoding="utf-8")


def rows_below(heading: str) -> list[list[str]]:
    """The cells of the table under a header row that begins so."""
    lines = PAGE.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(heading))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def test_every_option_is_documented() -> None:
    """The first table has each kind of source with each of its own options."""
    documented = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows_below("| type | options")}
    assert set(documented) == set(source_types())
    for name in source_types():
        found = source_type(name)
        assert found is not None
        names = {field.alias or key for key, field in found.options.model_fields.items()}
        assert names - {"type", "description", "statement_timeout_seconds"} == documented[name]


@pytest.mark.parametrize("row", rows_below("| written | becomes"), ids=lambda row: str(row[0]))
def test_every_rule_of_csv_holds(tmp_path: Path, row: list[str]) -> None:
    """Values written as the page says become the type that it says."""
    values = re.findall(r"`([^`]*)`", row[0])
    assert values
    delimiter = next(mark for mark in DELIMITERS if not any(mark in value for value in values))
    lines = [delimiter.join(["x", "y"]), *(delimiter.join([value, "text"]) for value in values)]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    source = FILES.open("files", FilesOptions(path=str(tmp_path)), tmp_path)
    assert source.columns("SELECT x FROM t")[0].native == row[1]


@pytest.mark.needs("postgres")
def test_every_type_of_postgresql_arrives_as_documented(postgres_url: str) -> None:
    """The example of each row arrives as that row says, with its mark."""
    source = POSTGRES.open("warehouse", PostgresOptions(url=postgres_url), Path())
    rows = rows_below("| PostgreSQL | for instance")
    assert len(rows) > 15
    items = ", ".join(f"{row[1].strip('`')} AS c{index}" for index, row in enumerate(rows))
    schema = table_of(source, f"SELECT {items}").schema
    for field, row in zip(schema, rows, strict=True):
        kind, *mark = re.findall(r"`([^`]*)`", row[2])
        assert str(field.type) == kind, row
        assert (field.metadata or {}).get(b"levada.type", b"").decode() == (mark[0] if mark else ""), row
