"""The page of the conformance kit says what the kit does, and the guide's test files work."""

from __future__ import annotations

import re
from pathlib import Path

from levada.testing.destination_files import benches_of
from levada.testing.destinations import CHECKS, ConnectorBench, checks_for, run
from levada.testing.reference import page

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guides" / "your-own-destination.md").read_text(encoding="utf-8")


def blocks(beginning: str) -> str:
    found: list[str] = re.findall(r"```\w+\n(.*?)```", GUIDE, re.DOTALL)
    return next(text for text in found if text.startswith(beginning))


def test_the_page_is_up_to_date() -> None:
    """Run `make docs` if this fails."""
    assert (DOCS / "reference" / "conformance-kit.md").read_text(encoding="utf-8") == page()


def test_the_guide_s_function_keeps_every_check(tmp_path: Path) -> None:
    """As the guide shows it, tested as the guide shows it: its bench is made by the two lines."""
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "loyalty.py").write_text(blocks("# connectors/loyalty.py"))
    given: list[ConnectorBench] = []

    def conformance(name: str, **facts: object) -> None:
        given.extend(benches_of(name, tmp_path / "tests" / "test_loyalty.py", facts))

    lines = blocks("# tests/test_loyalty.py").replace("from levada.testing.destinations import conformance\n", "")
    exec(lines, {"conformance": conformance})  # noqa: S102 - the guide's own lines
    assert len(given) == 2
    for bench in given:
        for check in checks_for(bench):
            run(check, bench)


def test_the_guide_counts_the_checks_rightly() -> None:
    """The number that it names is the kit's."""
    assert f"{len(CHECKS)} checks" in GUIDE
