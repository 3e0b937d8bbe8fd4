"""A key column whose type differs from day to day: keys stay the same keys, or the run stops before it sends."""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from levada import Project
from levada.run import RunResult
from levada_process import write

NUMBERS = [str(number) for number in range(1, 9)]
DAYS = [f"2024-02-{number:02}" for number in range(1, 9)]
LONG = [f"12345678901234567890{number}" for number in range(8)]


class Story:
    """A CSV whose keys are given anew each day, mirrored into a table of text."""

    def __init__(self, folder: Path, source: str = "") -> None:
        self.folder = folder
        write(
            folder,
            {
                "levada.yml": "name: keys\n",
                "sources/data.yml": f"type: files\npath: data\n{source}",
                "models/people.sql": "/*\nsource: data\nkey: id\n*/\nselect * from people\n",
                "destinations/shop.yml": "type: sqlite\npath: shop.db\n",
                "syncs/people.yml": "model: people\nto: shop.people\nmode: mirror\nguard: {removed_max: 20%}\n"
                "fields: {id: id}\n",
            },
        )
        connection = sqlite3.connect(folder / "shop.db")
        connection.execute("CREATE TABLE people (id TEXT PRIMARY KEY)")
        connection.close()
        self.project = Project.open(folder)

    def day(self, keys: list[str]) -> tuple[str, int, int, int]:
        """Outcome, added, removed, and rows that are untouched."""
        path = self.folder / "data/people.csv"
        path.parent.mkdir(exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["id"], *([key] for key in keys)])
        return self._told(self.project.run("people"))

    def approved(self) -> tuple[str, int, int, int]:
        """The same model, after a person has let the plan that a guard stopped pass."""
        plan = self.project.plan("people")
        assert [reason.rule for reason in plan.guard.reasons] == ["type_changed"]
        self.project.approve(plan.plan.plan_id)
        return self._told(self.project.run("people"))

    @staticmethod
    def _told(done: RunResult) -> tuple[str, int, int, int]:
        code = getattr(done.error, "code", "") or done.status
        return code, done.counts.added, done.counts.removed, done.counts.unchanged

    def held(self) -> list[str]:
        connection = sqlite3.connect(self.folder / "shop.db")
        try:
            return [key for (key,) in connection.execute("SELECT id FROM people ORDER BY rowid")]
        finally:
            connection.close()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path)
    yield made
    made.project.close()


@pytest.mark.parametrize("keys", [NUMBERS, DAYS, LONG])
def test_one_odd_key_for_a_day_is_added_and_removed_and_touches_no_other(story: Story, keys: list[str]) -> None:
    """The column is a number or a date, text for two days, and a number again; then the story is told once more.

    That it holds texts all of a sudden is asked about first, like any column's.
    """
    assert story.day(keys) == ("succeeded", 8, 0, 0)
    for odd in ("x", "n/a"):
        assert story.day([*keys, odd]) == ("blocked", 1, 0, 8)
        assert story.held() == keys
        assert story.approved() == ("succeeded", 1, 0, 8)
        assert story.day([*keys, odd]) == ("succeeded", 0, 0, 9)
        assert story.held() == [*keys, odd]
        assert story.day(keys) == ("succeeded", 0, 1, 8)
        assert story.day(keys) == ("succeeded", 0, 0, 8)
        assert story.held() == keys


def test_a_wider_number_for_a_day_is_the_same_column(story: Story) -> None:
    """Whole numbers of any size are the same keys."""
    assert story.day(NUMBERS) == ("succeeded", 8, 0, 0)
    assert story.day([*NUMBERS, "12345678901234567890"]) == ("succeeded", 1, 0, 8)
    assert story.day(NUMBERS) == ("succeeded", 0, 1, 8)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NUMBERS, [f"0{key}" for key in NUMBERS]),
        ([f"0{key}" for key in NUMBERS], NUMBERS),
        (["1.5", "2"], ["1.5", "2", "x"]),
        (["2024-01-01T00:00:00", "2024-01-02T00:00:00"], ["2024-01-01T00:00:00", "2024-01-02T00:00:00", "x"]),
        (["2024-01-01T00:00:00Z"], ["2024-01-01T00:00:00Z", "x"]),
        (["True", "False"], ["True", "False", "x"]),
        (["12:30:00.50", "12:30:00"], ["12:30:00.50", "12:30:00", "x"]),
        (["a", "b", "c"], ["1", "2", "3"]),
        ([*NUMBERS, "007"], [*NUMBERS[:6], "8", "7"]),
    ],
)
def test_keys_that_would_become_others_stop_the_run(story: Story, before: list[str], after: list[str]) -> None:
    """Nothing is removed and added under another name; the old model still runs, and `text:` is told."""
    assert story.day(before)[0] == "succeeded"
    held = story.held()
    assert story.day(after)[0] == "config.key_changed"
    assert story.held() == held
    assert story.day(before) == ("succeeded", 0, 0, len(before))
    error = story.project.run("people").error
    assert error is None


def test_a_key_that_is_pinned_as_text_never_changes_its_type(tmp_path: Path) -> None:
    """What the error offers: from the first day on the letters are the key."""
    story = Story(tmp_path, "text: [id]\n")
    assert story.day(["1.5", "2", "3", "4", "5"]) == ("succeeded", 5, 0, 0)
    assert story.day(["1.5", "2", "3", "4", "5", "x"]) == ("succeeded", 1, 0, 5)
    assert story.day(["1.5", "2", "3", "4", "5"]) == ("succeeded", 0, 1, 5)
    story.project.close()
