"""What is unequal is planned, and nothing else is: by type, by the last digit, by the last letter."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from levada import Project
from levada_process import started, write
from values.kinds import BY_NAME, Row
from values.matrix import GUARD
from values.warehouses import fill_duckdb

NAIVE = dt.datetime(2024, 3, 31, 2, 30)  # noqa: DTZ001 -- naive on purpose, in a gap of European zones
MICROSECOND = dt.timedelta(microseconds=1)
INSTANT = NAIVE.replace(tzinfo=dt.UTC)
NEIGHBOURS: tuple[tuple[str, Any, Any], ...] = (
    ("flag", True, False), ("flag", False, None), ("tiny", 1, 0), ("int64", 2**53, 2**53 + 1), ("int64", 0, None),
    ("uint64", 2**64 - 1, 2**64 - 2), ("huge", 10**37, 10**37 + 1), ("money", Decimal("0.10"), Decimal("0.11")),
    ("precise", Decimal("0.1"), Decimal("0.100000000000000001")), ("double", 0.1 + 0.2, 0.3),
    ("double", 5e-324, 0.0), ("double", 2.0**53, 2.0**53 + 2), ("real", 0.5, 0.5000000596046448),
    ("words", "", None), ("words", "", " "), ("words", "1", "1.0"), ("words", "a", "a "), ("words", "a", "A"),
    ("words", "é", "e\u0301"), ("words", "NULL", None), ("words", "\ufeffa", "a"), ("words", "a\r\n", "a\n"),
    ("bytes", b"", None), ("bytes", b"a", b"a\0"), ("day", dt.date(1, 1, 1), dt.date(1, 1, 2)),
    ("clock", dt.time(0), dt.time(0, 0, 0, 1)), ("moment", NAIVE, NAIVE + MICROSECOND), ("nanos", 1_000, 2_000),
    ("instant", INSTANT, INSTANT + MICROSECOND), ("code", UUID(int=1), UUID(int=2)), ("mood", "", None),
    ("document", "1", '"1"'), ("document", "null", None), ("document", "[1]", "[true]"), ("document", "{}", "[]"),
    ("ids", [], None), ("ids", [None], []), ("ids", [1, 2], [2, 1]), ("tags", ["a,b"], ["a", "b"]),
    ("tags", [""], [None]), ("address", {"city": None, "zip": None, "at": None}, None),
    ("address", {"city": "", "zip": 1, "at": []}, {"city": None, "zip": 1, "at": []}), ("counts", [], None),
    ("span", (1, 0, 0), (0, 30, 0)), ("span", (0, 1, 0), (0, 0, 86_400_000_000)),
)  # fmt: skip
"""Unequal values that a careless comparison takes for equal."""
SAME: tuple[tuple[str, Any, Any], ...] = (("double", -0.0, 0.0), ("money", Decimal("1.5"), Decimal("1.50")))
"""Values that are equal by declaration."""


@pytest.mark.parametrize("destination", ["duckdb", "sqlite", "parquet"])
def test_exactly_the_unequal_is_planned(tmp_path: Path, destination: str) -> None:
    """A second run plans nothing; after each value was exchanged by its neighbour, just these fields are planned."""
    pairs = [*NEIGHBOURS, *SAME]
    used = [BY_NAME[name] for name in dict.fromkeys(name for name, _, _ in pairs)]
    used = [kind for kind in used if destination == "duckdb" or kind.name != "nanos"]
    pairs = [pair for pair in pairs if BY_NAME[pair[0]] in used]

    def fill(side: int) -> None:
        rows = [Row(i, dict.fromkeys((k.name for k in used), None) | {p[0]: p[side]}) for i, p in enumerate(pairs)]
        fill_duckdb(tmp_path, used, rows)

    place = {"duckdb": "path: a.duckdb\ncreate_tables: true\n", "sqlite": "path: a.db\ncreate_tables: true\n"}
    declaration = f"type: {destination}\n{place[destination]}" if destination in place else FOLDER
    mode = "mode: mirror" if destination in place else "mode: append\nchanged: send"
    write(
        tmp_path,
        {
            "levada.yml": "name: differences\n",
            "sources/warehouse.yml": "type: duckdb\npath: warehouse.duckdb\n",
            "models/values.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from model\n",
            "destinations/there.yml": declaration,
            "syncs/values.yml": f"model: values\nto: there.values\n{mode}\n{GUARD}fields: all\n",
        },
    )
    fill(1)
    with Project.open(tmp_path) as project:
        assert project.run("values").counts.added == len(pairs)
        quiet = project.run("values").counts
        assert (quiet.operations, quiet.invalid, quiet.unchanged) == (0, 0, len(pairs))
        fill(2)
        done = project.run("values")
        assert done.status == "succeeded", [r.reason for r in project.records("values") if r.outcome != "delivered"]
        found = {record.key: record.changed for record in project.records("values")}
        names = [name for name, _, _ in NEIGHBOURS if BY_NAME[name] in used]
        assert found == {index: (name,) for index, name in enumerate(names)}
        assert project.run("values").counts.operations == 0


FOLDER = "type: files\npath: out\nformat: parquet\n"


def test_the_zone_of_the_machine_changes_no_value(tmp_path: Path) -> None:
    """Under zones a day apart, one with half an hour, and without a zone database: the same bytes, the same days."""
    instant = "2024-10-27T01:30:00.000001Z"
    written = {}
    for number, variables in enumerate(
        (
            {"TZ": "UTC"},
            {"TZ": "Pacific/Kiritimati"},
            {"TZ": "America/St_Johns"},
            {"TZ": "Etc/GMT+12", "PYTHONTZPATH": "", "TZDIR": "/nowhere"},
        )
    ):
        folder = tmp_path / str(number)
        write(
            folder,
            {
                "levada.yml": "name: zones\n",
                "data/model.csv": f"id,day,moment,instant\n1,2024-02-29,2024-03-31 02:30:00,{instant}\n"
                "2,0001-01-01,9999-12-31 23:59:59.999999,0002-01-01T00:00:00+14:00\n",
                "sources/warehouse.yml": "type: files\npath: data\n",
                "models/values.sql": "/*\nsource: warehouse\nkey: id\n*/\n"
                "select *, instant::date as utc_day, moment::varchar as shown from model\n",
                "destinations/there.yml": "type: files\npath: out\nformat: jsonl\n",
                "syncs/values.yml": "model: values\nto: there.values\nmode: append\nfields: all\n",
            },
        )
        done = started(folder, "run", **variables)
        assert done.code == 0, done.talk
        (file,) = (folder / "out/values").iterdir()
        written[variables["TZ"]] = file.read_bytes()
    assert len(set(written.values())) == 1, written
    first, second = (json.loads(line) for line in written["UTC"].splitlines())
    assert first == {
        "id": 1, "day": "2024-02-29", "moment": "2024-03-31T02:30:00", "instant": "2024-10-27T01:30:00.000001Z",
        "utc_day": "2024-10-27", "shown": "2024-03-31 02:30:00",
    }  # fmt: skip
    assert (second["day"], second["moment"]) == ("0001-01-01", "9999-12-31T23:59:59.999999")
    assert second["instant"] == "0001-12-31T10:00:00Z"
