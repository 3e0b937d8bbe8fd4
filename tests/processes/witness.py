"""What a real process does to the files below a folder, as strace sees it, data included."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from levada_process import TIMEOUT_SECONDS, Ended, environment

CALLS = (
    *("open", "openat", "creat", "lseek", "write", "pwrite64", "writev", "pwritev", "pwritev2", "fsync"),
    *("fdatasync", "sync_file_range", "ftruncate", "truncate", "fallocate", "copy_file_range", "sendfile", "splice"),
    *("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "rmdir"),
    *("mkdir", "mkdirat", "mmap", "msync", "io_uring_enter", "dup", "dup2", "dup3"),
)
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?")
_DESCRIPTOR = re.compile(r"(\d+|AT_FDCWD)<([^>]*)>")


END = -1


@dataclass(frozen=True, slots=True)
class Event:
    """One thing done. `when`: seconds since 1970. `at`: the place of data (END: behind all), the new length, or 1: open
    empties."""

    when: float
    call: str
    path: str
    at: int = 0
    data: bytes | None = None
    target: str = ""


def watched(
    folder: Path,
    trace: Path,
    arguments: Sequence[str],
    *,
    boot: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run `levada …` in the folder under strace. `boot`: a file that holds the id of another boot than this one.
    `variables`: for the environment of levada alone."""
    traced = ["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", "100000000", "-ttt", "-o", str(trace)]
    traced += [word for name, value in (variables or {}).items() for word in ("-E", f"{name}={value}")]
    command = [*traced, "-e", f"trace={','.join(CALLS)}", sys.executable, "-m", "levada", *arguments]
    if boot is not None:
        mounted = 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", mounted, str(boot), *command]
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(TMPDIR=str(trace.parent)),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def events(trace: Path, folder: Path) -> Iterator[Event]:
    """What was done below the folder, in the order in which the calls returned."""
    below = _Below(folder)
    for when, call, arguments, result, opened in _calls(trace):
        if result >= 0:
            yield from below.seen(when, call, arguments, result, opened)


def _calls(trace: Path) -> Iterator[tuple[float, str, list[str], int, str]]:
    begun: dict[str, tuple[float, str]] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            found = _LINE.match(line)
            assert found, line[:200]
            pid, when, text = found[1], float(found[2]), found[3]
            if text.startswith(("+++", "---")):
                continue
            if text.endswith("<unfinished ...>"):
                begun[pid] = (when, text.removesuffix("<unfinished ...>").rstrip())
                continue
            if text.startswith("<... "):
                when, first = begun.pop(pid)
                text = first + text.partition("resumed>")[2].lstrip()
            call = _CALL.match(text)
            if call is None:
                assert " = ?" in text, text[:200]
                continue
            yield when, call[1], _split(call[2]), int(call[3]), _plain(call[4] or "")


class _Below:
    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._places: dict[int, int] = {}

    def seen(self, when: float, call: str, given: list[str], result: int, opened: str) -> Iterator[Event]:
        call = call.removesuffix("64")
        if call in ("open", "openat", "creat"):
            yield from self._opened(when, given, result, opened)
            return
        if call in ("rename", "renameat", "renameat2", "link", "linkat"):
            old, new = _paths(given, self._folder)
            if (path := self._inside(old)) is not None:
                target = self._inside(new)
                assert target is not None, f"{old} left the folder"
                yield Event(when, "rename" if call.startswith("rename") else "link", path, target=target)
            return
        if call in ("unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "truncate"):
            if (path := self._inside(*_paths(given, self._folder))) is not None:
                at = int(given[1]) if call == "truncate" else 0
                yield Event(
                    when, {"unlinkat": "unlink", "rmdir": "unlink"}.get(call, call.removesuffix("at")), path, at
                )
            return
        described = _DESCRIPTOR.match(given[0]) if given else None
        if call == "mmap":
            mapped = self._inside(_plain(_DESCRIPTOR.match(given[4])[2])) if "<" in given[4] else None  # type: ignore[index]
            shared = "MAP_SHARED" in given[3] and "PROT_WRITE" in given[2]
            assert not (mapped and shared and not mapped.endswith("-shm")), f"{mapped} is written as memory"
            return
        path = self._inside(_plain(described[2])) if described else None
        if described is None or path is None:
            return
        yield from self._written(when, call, int(described[1]), path, given, result)

    def _written(
        self, when: float, call: str, descriptor: int, path: str, given: list[str], result: int
    ) -> Iterator[Event]:
        match call:
            case "lseek":
                if self._places.get(descriptor) != END:
                    self._places[descriptor] = result
            case "write":
                at = self._places.get(descriptor, 0)
                if at != END:
                    self._places[descriptor] = at + result
                yield Event(when, "write", path, at, _bytes(given[1])[:result])
            case "pwrite":
                yield Event(when, "write", path, int(given[3]), _bytes(given[1])[:result])
            case "fsync" | "fdatasync":
                yield Event(when, "sync", path)
            case "ftruncate":
                yield Event(when, "truncate", path, int(given[1]))
            case _:
                raise AssertionError(f"{call} of {path}: a call that the disk does not know")

    def _opened(self, when: float, given: list[str], result: int, opened: str) -> Iterator[Event]:
        flags = next(each for each in given if each.startswith("O_"))
        self._places[result] = END if "O_APPEND" in flags else 0
        path = self._inside(opened)
        if path is not None and ("O_CREAT" in flags or "O_TRUNC" in flags) and "O_DIRECTORY" not in flags:
            yield Event(when, "open", path, int("O_TRUNC" in flags))

    def _inside(self, path: str) -> str | None:
        if path.endswith("(deleted)") or not path.startswith(f"{self._folder}"):
            return None
        return os.path.relpath(path, self._folder)


def _paths(given: list[str], folder: str) -> list[str]:
    """The paths among a call's arguments, joined with the folder whose descriptor stands before them, or this one."""
    found: list[str] = []
    for each in given:
        if described := _DESCRIPTOR.match(each):
            folder = _plain(described[2])
        elif each.startswith('"'):
            found.append(os.path.normpath(Path(folder) / _bytes(each).decode()))
    return found


def _split(text: str) -> list[str]:
    """Arguments. With all strings in hexadecimal, only flags and structures have a comma: those are not looked at."""
    return text.split(", ")


def _bytes(text: str) -> bytes:
    assert text.startswith('"'), text[:100]
    assert text.endswith('"'), "strace has cut the data short"
    return bytes.fromhex(text[1:-1].replace("\\x", ""))


def _plain(text: str) -> str:
    """A path as strace shows it behind a descriptor."""
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text
