"""Instants and days are the same in every zone of the IANA database: of the column, and of the machine."""

from __future__ import annotations

import datetime as dt
import json
import random
import zoneinfo
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import claims
from levada_process import started, write

ZONES = sorted(zoneinfo.available_timezones() - {"localtime", "posixrules"})
DRAWN = random.Random("zones").sample(ZONES, 5)
YEARS = (1950, 1999, 2024, 2026)
MODEL = "models/values.sql"
PROJECT = {
    "levada.yml": "name: zones\n",
    "sources/warehouse.yml": "type: files\npath: data\n",
    MODEL: "/*\nsource: warehouse\nkey: id\n*/\nselect *, {more} from model\n",
    "destinations/there.yml": "type: files\npath: out\nformat: jsonl\n",
    "syncs/values.yml": "model: values\nto: there.values\nmode: append\nfields: all\n",
}


def changes(zone: str) -> list[dt.datetime]:
    """The hours in which a zone's clocks are set, in some years, and the moments before and at the change."""
    there, found = zoneinfo.ZoneInfo(zone), []
    for year in YEARS:
        hour = dt.datetime(year, 1, 1, tzinfo=dt.UTC)
        while hour.year == year:
            later = hour + dt.timedelta(hours=6)
            if hour.astimezone(there).utcoffset() != later.astimezone(there).utcoffset():
                found += [hour, later - dt.timedelta(microseconds=1), later]
            hour = later
    return found


def project(folder: Path, model: pa.Table, more: str) -> None:
    """A project whose model is this table, and a column made of it in SQL."""
    write(folder, {**PROJECT, MODEL: PROJECT[MODEL].format(more=more)})
    (folder / "data").mkdir()
    pq.write_table(model, folder / "data/model.parquet")


def sent(folder: Path, **variables: str) -> list[dict[str, object]]:
    done = started(folder, "run", **variables)
    assert done.code == 0, done.talk
    (file,) = (folder / "out/values").iterdir()
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def shown(instant: dt.datetime) -> str:
    return f"{clock(instant.astimezone(dt.UTC).replace(tzinfo=None))}Z"


def clock(moment: dt.datetime) -> str:
    """ISO 8601, a fraction only where it is not zero."""
    text = moment.isoformat()
    return text.rstrip("0") if "." in text else text


@pytest.mark.claim("H12")
def test_an_instant_is_the_same_from_a_column_of_any_zone(tmp_path: Path, figure: claims.Figure) -> None:
    """One column for each zone there is, rows about the hours in which clocks are set somewhere."""
    instants = sorted({moment for zone in (ZONES if claims.full() else DRAWN) for moment in changes(zone)})
    instants += [dt.datetime(1, 1, 2, tzinfo=dt.UTC), dt.datetime(9999, 12, 30, 23, 59, 59, 999_999, tzinfo=dt.UTC)]
    columns = {zone.replace("/", "__"): pa.array(instants, pa.timestamp("us", tz=zone)) for zone in ZONES}
    project(tmp_path, pa.table({"id": range(len(instants)), **columns}), "'UTC' as zone")
    rows = sent(tmp_path)
    assert len(rows) == len(instants)
    for row in rows:
        values = {value for name, value in row.items() if name not in ("id", "zone")}
        assert values == {shown(instants[int(str(row["id"]))])}, row
    figure("H12", f"{len(rows):,} instants in columns of {len(columns)} zones, every one the same instant")


@pytest.mark.claim("H12")
@pytest.mark.timeout(1_800)
def test_days_and_instants_are_the_same_on_a_machine_of_any_zone(tmp_path: Path, figure: claims.Figure) -> None:
    """A day stays that day, a time without a zone that time, around the hours in which the machine's clock is set."""
    zones = ZONES if claims.full() else DRAWN
    for number, zone in enumerate(zones):
        folder = tmp_path / str(number)
        instants = [*changes(zone), dt.datetime(2026, 6, 1, tzinfo=dt.UTC)]
        local = [moment.astimezone(zoneinfo.ZoneInfo(zone)).replace(tzinfo=None) for moment in instants]
        columns = {
            "id": pa.array(range(len(instants))),
            "day": pa.array([moment.date() for moment in local]),
            "naive": pa.array(local, pa.timestamp("us")),
            "instant": pa.array(instants, pa.timestamp("us", tz=zone)),
        }
        project(folder, pa.table(columns), "instant::date as utc_day")
        for row in sent(folder, TZ=zone):
            place = int(str(row["id"]))
            assert row["day"] == local[place].date().isoformat(), (zone, row)
            assert row["naive"] == clock(local[place]), (zone, row)
            assert row["instant"] == shown(instants[place]), (zone, row)
            assert row["utc_day"] == instants[place].date().isoformat(), (zone, row)
    figure("H12", f"the machine set to each of {len(zones)} zones: every day, time and instant as in the model")
