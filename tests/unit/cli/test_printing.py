"""What the command line makes of values, selections, plans and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from levada import events
from levada.change import Counts
from levada.cli.drawing import change_lines, counts_lines, guard_lines
from levada.cli.outcome import worst
from levada.cli.progress import Progress
from levada.cli.selection import spread
from levada.cli.terminal import Terminal, duration, shown, to_json
from levada.guard import GuardDecision, GuardReason
from levada.wording import plural

HEAVY = ("rich", "duckdb", "pyarrow", "pydantic", "aiohttp", "sqlglot", "cryptography", "yaml")


def test_help_and_version_load_nothing_heavy() -> None:
    """`levada --help` must answer within a quarter of a second, so it imports none of the large libraries."""
    script = (
        "import sys\nfrom levada.cli.app import execute\ncode = execute(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], code, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] 0"
    assert "mark-synced" in done.stdout


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([], 0), ([0, 0], 0), ([0, 3], 3), ([3, 5], 5), ([5, 4, 3], 4), ([4, 1], 1), ([1, 2, 0], 2)],
)
def test_the_code_of_several_syncs_is_the_most_urgent_one(codes: list[int], expected: int) -> None:
    """In the order of docs/reference/exit-codes.md: 2, 1, 4, 5, 3, 0."""
    assert worst(codes) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--select", "a", "b", "--json"], ["--select", "a", "--select", "b", "--json"]),
        (["x", "--exclude", "a", "b"], ["x", "--exclude", "a", "--exclude", "b"]),
        (["-s", "a", "--exclude", "b", "-p", "dir", "c"], ["-s", "a", "--exclude", "b", "-p", "dir", "c"]),
        (["--select"], ["--select"]),
    ],
)
def test_a_selection_takes_words_up_to_the_next_option(given: list[str], expected: list[str]) -> None:
    """As in dbt: `--select a b`."""
    assert spread(given) == expected


def test_a_value_cannot_speak_to_the_terminal() -> None:
    """Control characters and those that turn the direction of text are shown as escapes."""
    assert shown("a\x1b[31mb\r\n\u202ec") == "a\\x1b[31mb\\r\\n\\u202ec"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "∅"),
        ("", '""'),
        (True, "true"),
        (Decimal("1.50"), "1.50"),
        (b"\x01\xff", "0x01ff"),
        ({"a": [1, None]}, '{"a": [1, null]}'),
        (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01 12:00:00+00:00"),
        ("x" * 70, "x" * 59 + "…"),
    ],
)
def test_values_are_shown_on_one_line(value: object, expected: str) -> None:
    """Each kind of value has one way to be shown, at most 60 characters wide."""
    assert shown(value) == expected


def test_json_keeps_what_json_has_no_word_for() -> None:
    """Decimals, instants, bytes and numbers that are none stay exact, as text."""
    document = {"d": Decimal("12345678901234567890.10"), "n": float("nan"), "b": b"\xff", "i": 2**63, "t": "é"}
    expected = {"d": "12345678901234567890.10", "n": "nan", "b": "ff", "i": 2**63, "t": "é"}
    assert json.loads(to_json(document)) == expected


def test_figures_of_a_plan_stand_below_each_other() -> None:
    """Signs first, figures aligned to the right; what does not occur is left out, but for the three kinds."""
    lines = [line.plain for line in counts_lines(Counts(1200, 5, 0, 9, 0), {"email": 4, "name": 1}, True)]
    assert lines == [
        "  + 1,200 added",
        "  ~     5 changed    email 4, name 1",
        "  −     0 removed    this sync removes nothing",
        "  =     9 unchanged",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_a_change_is_shown_before_and_after_within_the_width(width: int) -> None:
    """One line per changed field, however long the values are; unchanged fields are left out."""
    before = {"id": 1, "name": "A" * 200, "city": "Faro"}
    after = {"id": 1, "name": "B" * 200, "city": "Lagos"}
    lines = [line.plain for line in change_lines("changed", 1, before, after, width, 4)]
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)
    assert lines[0].startswith("  ~ 1     name")
    assert lines[1].endswith("Faro → Lagos")


def test_an_unknown_record_says_why_it_is_sent_again() -> None:
    """Nothing differs, and still it is planned: what the destination holds is not known."""
    [line] = change_lines("changed", 1, {"a": 1}, {"a": 1}, 80, 1)
    assert "not known" in line.plain


def test_the_verdict_of_the_guard_comes_first_with_keys_as_examples() -> None:
    """Blocked, and the reasons below; an approval turns the verdict."""
    guard = GuardDecision(True, (GuardReason("removed_max", "900 rows would be removed", 900, 10, (1, {"a": 2})),))
    lines = [line.plain for line in guard_lines(guard, approved=False)]
    expected = ["  guard: would stop this run", "    900 rows would be removed", "      such as 1, 2"]
    assert lines == expected
    assert "approved" in guard_lines(guard, approved=True)[0].plain


def test_elsewhere_than_on_a_terminal_progress_is_a_line_a_second_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    """A thousand events within a moment make one line, on stderr."""
    with Progress(Terminal()) as progress:
        for done in range(1, 1001):
            progress(events.BatchSettled("s", "run_1", done, 1000, done, 0, 0, done))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "s: 1 of 1,000 (0 %)\n"


def test_numbers_are_said_as_people_say_them() -> None:
    """Singular and plural, seconds and minutes."""
    assert [plural(1, "row"), plural(2127, "row")] == ["1 row", "2,127 rows"]
    assert [duration(0.42), duration(12), duration(185), duration(7440)] == ["0.4 s", "12 s", "3 min 5 s", "2 h 4 min"]
