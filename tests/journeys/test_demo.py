"""`levada demo`, as a newcomer runs it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

LEVADA = str(Path(sys.executable).parent / "levada")
SECONDS_MAX = 60


def test_the_demo_tells_its_story_and_proves_every_claim(tmp_path: Path) -> None:
    """Six steps, all claims checked with the tools, exit code 0, under a minute, without a terminal."""
    done = subprocess.run(
        [LEVADA, "demo"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^(\d)\. ", done.stdout, re.MULTILINE) == ["1", "2", "3", "4", "5", "6"]
    assert re.search(r"^All \d+ claims above were checked", done.stdout, re.MULTILINE)
    assert "✗" not in done.stdout


def test_the_commands_it_names_work_while_the_tools_are_served(tmp_path: Path) -> None:
    """`levada demo --serve` keeps the tools up for `levada plan`; SIGTERM ends them."""
    serving = subprocess.Popen([LEVADA, "demo", "--serve"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert serving.stdout is not None
        addresses = [serving.stdout.readline().split()[1] for _ in range(3)]
        planned = subprocess.run(
            [LEVADA, "plan", "customers_to_crm"], cwd=tmp_path / "demo", capture_output=True, text=True, check=False
        )
        assert planned.returncode == 0, planned.stderr
        with urllib.request.urlopen(addresses[2], timeout=10) as answer:  # noqa: S310 -- loopback
            assert answer.status == 200
    finally:
        os.kill(serving.pid, signal.SIGTERM)
        assert serving.stdout is not None
        serving.stdout.close()
        assert serving.wait(10) == 0
