"""What the pages on HTTP destinations say is true, and what they show works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from levada.declaration.keys import keys_of
from levada.declaration.yaml import parse
from levada.destination import Response, Surroundings
from levada.destinations import reference
from levada.destinations.cases import run_cases
from levada.destinations.connectors import connector_type
from levada.destinations.declared import open_http
from levada.destinations.example import example_batch
from levada.destinations.language import Connector, HttpOptions
from levada.destinations.python import PythonOptions, open_python
from levada.destinations.reading import Reading
from levada.destinations.webhook import WebhookOptions

DOCS = Path(__file__).parents[2] / "docs"
LANGUAGE = (DOCS / "reference" / "connector-language.md").read_text(encoding="utf-8")
GUIDE = (DOCS / "guides" / "your-own-destination.md").read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def block(page: str, language: str, beginning: str) -> str:
    return next(text for text in blocks(page, language) if text.startswith(beginning))


def test_the_tables_of_the_language_are_up_to_date() -> None:
    """Run `python -m levada.destinations.reference docs/reference/connector-language.md` if this fails."""
    assert LANGUAGE.partition(reference.MARK)[1:] == (reference.MARK, reference.tables()[len(reference.MARK) :])


def test_every_word_of_the_language_is_explained() -> None:
    """No key without a docstring: the schema, the reference and the form are made of them."""
    for _, cls in reference.SECTIONS:
        for key in keys_of(cls):
            assert key.meaning, f"{cls.__name__}.{key.name}"


def test_the_page_s_first_destination_is_a_whole_one() -> None:
    """Ten lines, and records can be sent."""
    text = block(LANGUAGE, "yaml", "# destinations/crm.yml")
    value = parse(text, "crm.yml").value
    assert value.pop("type") == "http"
    found = open_http("crm", HttpOptions.model_validate(value), Surroundings(Path()))
    assert found.limits("contacts", "upsert").records_per_request == 100
    assert found.limits("contacts", "delete").records_per_request == 1


ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in LANGUAGE.partition("| the tool | words |\n|---|---|\n")[2].partition("\n\n")[0].splitlines()
]


@pytest.mark.parametrize("words", [row[1] for row in ROWS])
def test_the_table_of_answers_shows_words_of_the_language(words: str) -> None:
    """Each recipe is accepted as it stands."""
    declared: dict[str, Any] = {}
    for snippet in re.findall(r"`([^`]+)`", words):
        if ":" in snippet:
            name, _, rest = snippet.partition(": ")
            declared[name] = parse(f"x: {rest}", "recipe").value["x"]
    assert declared
    Reading.model_validate(declared)


def test_the_guide_s_connector_passes_its_cases() -> None:
    """And a destination of its type can be opened."""
    document = parse(block(GUIDE, "yaml", "# connectors/acme_erp.yml"), "acme_erp.yml")
    connector = Connector.model_validate(document.value)
    (result,) = run_cases("acme_erp", connector, document.positions.at)
    assert result.passed, result.failure
    options = parse(block(GUIDE, "yaml", "# destinations/erp.yml"), "erp.yml").value
    assert options.pop("type") == "acme_erp"
    kind = connector_type("acme_erp", connector)
    kind.open("erp", kind.options.model_validate(options), Surroundings(Path()))


def test_the_guide_s_function_is_a_destination(tmp_path: Path) -> None:
    """As shown, in the place shown, with the conversation shown."""
    (tmp_path / "connectors").mkdir()
    (tmp_path / "connectors" / "loyalty.py").write_text(block(GUIDE, "python", "# connectors/loyalty.py"))
    options = parse(block(GUIDE, "yaml", "# destinations/loyalty.yml"), "loyalty.yml").value
    assert options.pop("type") == "python"
    loyalty = open_python("loyalty", PythonOptions.model_validate(options), Surroundings(tmp_path))
    batch = example_batch([{"id": 1}], object_name="members", verb="upsert", match=("id",), template=None)
    talk = loyalty.deliver(batch)
    assert next(talk).url == "https://loyalty.example.com/members"
    with pytest.raises(StopIteration) as stop:
        talk.send(Response(200))
    assert stop.value.value.of(0).end == "delivered"


def test_the_webhook_page_names_every_option() -> None:
    """The table of the page has the options of the class, in their order."""
    page = (DOCS / "reference" / "webhooks.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \| (?:text|whole|mapping|number)", page, re.MULTILINE)
    assert named == list(WebhookOptions.model_fields)
