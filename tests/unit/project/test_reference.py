"""The reference page of the project's files."""

from __future__ import annotations

from pathlib import Path

from levada.project.reference import page, write_page
from unit.project.folders import DESTINATIONS, SOURCES

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "project-files.md"


def test_the_page_is_what_the_classes_say(tmp_path: Path) -> None:
    """A key that is added shows up in the page; run `levada.project.reference.write_page` to renew it."""
    write_page(tmp_path / "new" / "page.md")
    assert PAGE.read_text(encoding="utf-8") == (tmp_path / "new" / "page.md").read_text(encoding="utf-8") == page()


def test_options_of_types_have_tables_of_their_own() -> None:
    """With the mappings inside them."""
    text = page(SOURCES, DESTINATIONS)
    assert "| `port` | a whole number | `5432` | Its port. |" in text
    assert "### type: tool: auth\n\n| key |" in text
    assert "| `bearer` | text | required | The token. |" in text
    assert "| `headers` | a mapping to text |  | Sent with every request. |" in text


def test_no_table_is_broken_and_every_key_is_explained() -> None:
    """Every row has four cells, the last of them filled."""
    rows = [line for line in page(SOURCES, DESTINATIONS).splitlines() if line.startswith("| `") and "\\|" not in line]
    assert len(rows) > 60
    assert [row for row in rows if row.count("|") != 5 or not row.split("|")[4].strip()] == []
