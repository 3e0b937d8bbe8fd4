"""A name that is not known is told the same way wherever it is written, with the one that was probably meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from levada.cli.app import execute
from levada_process import small_project

SYNC = "did you mean customers_to_crm?"


@pytest.mark.parametrize(
    ("command", "message", "hint"),
    [
        *(
            (f"{command} customer_to_crm", "there is no sync customer_to_crm", SYNC)
            for command in ["check", "plan", "run", "status", "runs", "records", "resync", "retry", "mark-synced"]
        ),
        ("preview customer_to_crm", "there is no sync or model customer_to_crm", SYNC),
        ("approve customer_to_crm@0123456789ab", "there is no sync customer_to_crm", SYNC),
        ("plan --select model:custmers", "there is no model custmers", "did you mean customers?"),
        ("plan --exclude destination:cmr", "there is no destination cmr", "did you mean crm?"),
        ("plan nothing", "there is no sync nothing", "there are: customers_to_crm"),
        ("connectors sqlit", "there is no source or destination of type sqlit", "did you mean sqlite?"),
        ("schema modle", "there is no schema modle", "did you mean model?"),
        ("plam", "there is no command plam", "did you mean levada plan?"),
        ("secrets lst", "there is no command lst", "did you mean levada secrets list?"),
        ("secrets remove TOKEN", "there is no secret TOKEN", "there are none"),
        ("plan --smple 3", "there is no option --smple", "did you mean --sample?"),
        ("plan --zzz", "there is no option --zzz", "`levada plan --help` shows how it is used"),
    ],
)
def test_the_name_that_was_meant_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    message: str,
    hint: str,
) -> None:
    """One line that names it, one that helps on; exit code 2."""
    monkeypatch.chdir(small_project(tmp_path))
    monkeypatch.setattr("sys.argv", ["levada"])
    assert execute(command.split()) == 2
    assert capsys.readouterr().err.splitlines() == [f"error: {message}", f"hint: {hint}"]
