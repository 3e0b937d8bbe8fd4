"""How a command stands that an error ended, in its JSON."""

from __future__ import annotations

import json

import pytest

from levada.cli.app import report
from levada.cli.invocation import Invocation
from levada.errors import BusyError, LevadaError, StoppedError, UnreachableError


@pytest.mark.parametrize("sync", ["", "people"])
@pytest.mark.parametrize(
    ("error", "status"), [(StoppedError(), "cancelled"), (UnreachableError("away"), "paused"), (BusyError("x"), "busy")]
)
def test_the_json_of_an_error_says_how_it_stands(
    capsys: pytest.CaptureFixture[str], error: LevadaError, status: str, sync: str
) -> None:
    """A stop before the run is none that failed."""
    invocation = Invocation()
    invocation.absorb(["--json"])
    report(error, invocation, sync=sync)
    document = json.loads(capsys.readouterr().out)
    assert (document["status"], document["error"]["code"]) == (status, error.code)
