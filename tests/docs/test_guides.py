"""What the guides tell a reader to do works as they say, from their own words alone."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from docs.guides import ROOT, Page, shell
from levada import Project


@contextmanager
def pretend_crm() -> Iterator[str]:
    """The pretended CRM of the examples, on a free port."""
    spec = importlib.util.spec_from_file_location("pretend_crm", ROOT / "examples" / "pretend_crm.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.Handler.log_message = lambda *_: None
    with module.Crm(0) as crm:
        thread = threading.Thread(target=crm.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{crm.server_address[1]}"
        crm.shutdown()
        thread.join()


def contacts(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - of a server on loopback
        found: dict[str, Any] = json.load(answer)
    return found


@pytest.mark.needs("postgres")
def test_the_way_from_the_warehouse_to_a_crm(tmp_path: Path, postgres_url: str) -> None:
    """207 is read record by record, 429 is waited for, and a mended row arrives."""
    page = Page.read("guides/warehouse-to-crm.md")
    folder = page.write(tmp_path)
    with pretend_crm() as url, psycopg.connect(postgres_url, autocommit=True) as warehouse:
        warehouse.execute((folder / "warehouse.sql").read_bytes())
        variables = (folder / ".env").read_text()
        variables = variables.replace("postgresql://reader:secret@localhost:5432/shop", postgres_url)
        (folder / ".env").write_text(variables.replace("http://127.0.0.1:8899", url))
        ended = [shell(folder, command) for command in page.commands[:4]]
        assert [end.code for end in ended] == [0, 0, 3, 0], ended
        assert "'not an address' is no address" in ended[3].out
        assert contacts(url)["1"] == {"email": "ada@example.com", "firstname": "Ada", "revenue": 120.5}
        warehouse.execute((folder / "mend.sql").read_bytes())
        (again,) = page.commands[4:]
        assert shell(folder, again).code == 0
        assert contacts(url) == {
            "1": {"email": "ada@example.com", "firstname": "Ada", "revenue": 130.0},
            "3": {"email": "linus@example.com", "firstname": "Linus", "revenue": 12.0},
        }
        assert shell(folder, again + " --json").document["requests"] == 0


def test_the_shells_of_the_schedule_read_codes_and_figures(tmp_path: Path) -> None:
    assert shell(tmp_path, "levada init acme").code == 0
    folder = Page.read("guides/on-a-schedule.md").write(tmp_path / "acme")
    assert shell(folder, "sh bin/sync.sh").code == 0
    figures = shell(folder, "sh bin/figures.sh")
    if figures.code != 127:  # jq is not everywhere
        assert figures.out.split("\t")[:2] == ["customers_to_crm", "succeeded"]
    assert shell(folder, "sh bin/judge.sh").code == 0
    assert json.loads((folder / "plan.json").read_text())["sync"] == "customers_to_crm"


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        ("run.py", "customers_to_crm succeeded {rows} 0"),
        ("careful.py", "0"),
        ("watch.py", "PlanMade"),
        ("notebook.py", "{rows}"),
    ],
)
def test_the_scripts_of_the_python_page_run(tmp_path: Path, script: str, printed: str) -> None:
    Page.read("guides/from-python.md").write(tmp_path)
    assert shell(tmp_path, "levada init acme").code == 0
    rows = len((tmp_path / "acme" / "data" / "customers.csv").read_text().splitlines()) - 1
    ended = shell(tmp_path, f"python {script}")
    assert ended.code == 0, ended.talk
    assert printed.format(rows=rows) in ended.out


def test_the_python_page_names_what_there_is() -> None:
    """Each method of its table is one of the project, and each has what the page says."""
    page = (ROOT / "docs" / "guides" / "from-python.md").read_text()
    table = page[page.index("| method |") : page.index("\n\nResults have")]
    named = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)\(", row.split("|")[1])}
    assert {name for name in named if not callable(getattr(Project, name, None))} == set()
