"""The blocks of a page of the docs: files by the name in their first line, and commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from levada_process import TIMEOUT_SECONDS, Ended, environment

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"(?:#|--) (\S+\.\w+|\.env)\n")


@dataclass(frozen=True, slots=True)
class Page:
    #: the text of each file that the page shows, by its name
    files: dict[str, str]
    #: the lines of the `sh` blocks that are no file, in the page's order
    commands: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> Page:
        files: dict[str, str] = {}
        commands: list[str] = []
        for language, text in _BLOCK.findall((ROOT / "docs" / name).read_text(encoding="utf-8")):
            named = _NAME.match(text)
            if named:
                files[named[1]] = text[named.end() :]
            elif language == "sh":
                commands += text.splitlines()
        return cls(files, tuple(commands))

    def write(self, folder: Path) -> Path:
        """Put the page's files into a folder."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder


def shell(folder: Path, command: str, **variables: str) -> Ended:
    """Run a line of a page as a person would, with `levada` and `python` of this installation."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment(PATH=path, **variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
