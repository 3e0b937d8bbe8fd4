"""Commands of Levada in processes that are forked from one that is warm: see `zygote`.

One warm process for each process of tests; it ends with it. What is not here: the start of a process itself, which
`levada_process.started` has.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import zygote


@dataclass(slots=True)
class Warm:
    """The process that forks, started when it is first asked for. Whoever asks waits until nobody else does."""

    timeout_seconds: float
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(
        self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str], text: str | None
    ) -> tuple[int, str, str]:
        """The exit code of a command (negative: the signal that ended it), its result and its talk.

        Raises subprocess.TimeoutExpired, after the end of the command.
        """
        with self._lock, tempfile.TemporaryDirectory(prefix="levada-warm-") as place:
            asked: dict[str, object] = {
                "arguments": [str(each) for each in arguments],
                "folder": str(folder),
                "environment": dict(environment),
            }
            files = {name: Path(place) / name for name in ("input", "out", "talk")}
            files["input"].write_text(text or "", encoding="utf-8")
            asked.update({name: str(file) for name, file in files.items()})
            code = self._code(json.dumps(asked).encode() + b"\n", arguments)
            return code, files["out"].read_text(encoding="utf-8"), files["talk"].read_text(encoding="utf-8")

    def _code(self, asked: bytes, arguments: Sequence[str]) -> int:
        process = self._started()
        assert process.stdin is not None
        process.stdin.write(asked)
        process.stdin.flush()
        pid = self._told(process)["pid"]
        with selectors.DefaultSelector() as selector:
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ)
            ended = selector.select(self.timeout_seconds)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        code = self._told(process)["code"]
        if not ended:
            raise subprocess.TimeoutExpired(["levada", *arguments], self.timeout_seconds)
        return code

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, zygote.__file__]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            assert "ready" in self._told(self._process)
        return self._process

    @staticmethod
    def _told(process: subprocess.Popen[bytes]) -> dict[str, int]:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the process that forks has ended with {process.poll()}"
        found: dict[str, int] = json.loads(line)
        return found
