"""The page of limits says what the code does."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "limits.md"
ROW = re.compile(r"^\| (?P<what>[^|]+) \| (?P<limit>[^|]+) \| (?P<names>`levada[^|]+`) \|$", re.MULTILINE)


def value(name: str) -> Any:
    """What a dotted name stands for: a constant, or the default of a class's field."""
    parts = name.split(".")
    for size in range(len(parts) - 1, 0, -1):
        try:
            found: Any = import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for part in parts[size:]:
            fields = getattr(found, "model_fields", {})
            found = fields[part].default if part in fields else _default(found, part)
        return found
    raise AssertionError(name)


def _default(found: Any, part: str) -> Any:
    fields = getattr(found, "__dataclass_fields__", {})
    return fields[part].default if part in fields else getattr(found, part)


ROWS = [match.groupdict() for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("row", ROWS, ids=[row["what"] for row in ROWS])
def test_every_figure_is_the_codes_own(row: dict[str, str]) -> None:
    """Each named constant's value stands in its row, with thousands separated."""
    names = re.findall(r"`([^`]+)`", row["names"])
    home = names[0].rpartition(".")[0]
    for name in names:
        found = value(name if name.startswith("levada.") else f"{home}.{name}")
        if name.endswith("RATE_MARGIN"):
            found = round((found - 1) * 100)
        shown = f"{found:,g}" if isinstance(found, float) else f"{found:,}" if isinstance(found, int) else str(found)
        assert re.search(rf"(?<![\d,.]){re.escape(shown)}(?![\d,])", row["limit"]), (name, shown, row["limit"])


def test_the_page_has_its_rows() -> None:
    """A page whose rows are not found would prove nothing."""
    assert len(ROWS) >= 20
