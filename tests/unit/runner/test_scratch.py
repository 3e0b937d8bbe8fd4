"""What a process needs for a moment does not pile up, however processes end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from levada.runner.scratch import OWNER, make_spool

KILLED = "import os; from levada.runner.scratch import make_spool; print(make_spool().folder, flush=True); os._exit(9)"


def test_what_a_killed_process_left_is_deleted_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a living process stays, with what is in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living = make_spool()
    (living.folder / "rows").write_text("1")
    environment = {"TMPDIR": str(tmp_path), "PATH": ""}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED], env=environment, capture_output=True, text=True, check=False
    )
    left = Path(killed.stdout.strip())
    assert (left / OWNER).exists(), killed.stderr
    stranger = tmp_path / "levada-spool-stranger"
    stranger.mkdir()
    last = make_spool()
    assert sorted(tmp_path.iterdir()) == sorted([living.folder, stranger, last.folder])
    assert (living.folder / "rows").read_text() == "1"
    living.close()
    last.close()
    assert list(tmp_path.iterdir()) == [stranger]
