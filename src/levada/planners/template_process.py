"""Renders templates in a process of their own, whose time and memory the kernel limits.

A template is a small program: each of its steps is bounded, and it may still take hours for one row. The process gets
nothing of this one's environment and opens no file; what it is asked comes by its standard input. Not here: what a
template may say (`levada.planners.templates`).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from types import TracebackType

from levada.errors import ConfigError, StoppedError
from levada.planners import templates

SECONDS_MAX = 2.0
"""How long a template may compute for one row, on the processor."""
OVERDUE_MAX = 10
"""After so many rows that took too long, it is the template that is wrong, and not a row."""
MEMORY_BYTES_MAX = 1 << 30
START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from levada.planners.template_process import main
main()
"""
KEPT = ("PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
"""Variables without which some installations of Python do not start."""

Rendered = tuple[str | None, str | None]
"""The text, or why there is none."""


class TemplateProcess:
    """Use as a context manager. Starts when it is first needed, and again after a row that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._overdue = 0

    def __enter__(self) -> TemplateProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End the process. Called from any thread: who waits for an answer gets none."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for end in (process.stdin, process.stdout):
                with suppress(OSError):
                    assert end is not None
                    end.close()

    def render(self, source: str, rows: Sequence[str], subject: str) -> list[Rendered]:
        """The texts of a template for rows in JSON. Raises ConfigError for one that is too slow again and again."""
        found: list[Rendered] = []
        while len(found) < len(rows):
            found += self._answers(source, rows[len(found) :], subject)
            if len(found) < len(rows):
                found.append((None, self._ended(subject)))
        return found

    def _answers(self, source: str, rows: Sequence[str], subject: str) -> Iterator[Rendered]:
        """What one process answers before it ends."""
        process = self._process or self._started()
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([source, subject, list(rows)]) + "\n")
            process.stdin.flush()
            for _ in rows:
                line = process.stdout.readline()
                if not line.endswith("\n"):
                    return
                text, problem = json.loads(line)
                yield text, problem
        except (OSError, ValueError):
            return

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - this very Python
            [sys.executable, "-c", START, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={name: os.environ[name] for name in KEPT if name in os.environ},
            # Ctrl-C is for the process that asked
            start_new_session=True,
        )

    def _ended(self, subject: str) -> str:
        """Why the process ended in the middle of a row."""
        process = self._process
        if process is None:
            raise StoppedError
        late = process.wait() == -signal.SIGPROF
        self.kill()
        self._overdue += 1
        what = f"takes longer than {SECONDS_MAX:g} s" if late else "needs too much memory"
        if self._overdue > OVERDUE_MAX:
            raise ConfigError(
                f"{subject}: the template {what} for a row, and did for {self._overdue} rows",
                code="config.template",
                hint="compute it in the model's query",
            )
        return f"the template {what}"


def main() -> None:
    """The process: one question a line, one answer a line for each row. Ends with its input."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for line in sys.stdin:
        source, subject, rows = json.loads(line)
        for row in rows:
            answer = _answer(source, row, subject)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _answer(source: str, row: str, subject: str) -> Rendered:
    # its signal ends the process wherever it is, also inside of a function of C
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MAX)
    try:
        text = templates.rendered(source, row, subject)
        text.encode()
        return text, None
    except UnicodeError:
        return None, "the template makes text that is not Unicode"
    except ValueError as reason:
        return None, str(reason)
    except MemoryError:
        return None, "the template needs too much memory"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
