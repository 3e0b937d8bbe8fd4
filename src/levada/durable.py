"""Files and folders that are private and survive a power cut: modes, fsync, renaming, locking; and what is said when
the disk is full or fails.

What is not here: what the files mean.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from levada.errors import StoreError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""There is no room: of the disk, of a quota, of the limit on the size of files."""
CHECKSUM = "checksum"
LOCK_POLL_SECONDS = 0.02
LOCK_WAIT_SECONDS = 30.0
_LOCK_POLLS_MAX = int(LOCK_WAIT_SECONDS / LOCK_POLL_SECONDS)


def private_folder(folder: Path) -> None:
    """Make the folder, and what is missing above it, durably and for its owner only, whatever the umask. One that is
    there is narrowed, the folders above it are not."""
    for missing in [each for each in (*reversed(folder.parents), folder) if not each.exists()]:
        missing.mkdir(mode=FOLDER_MODE, exist_ok=True)
        sync_path(missing.parent)
    if folder.stat().st_mode & 0o777 != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)


def private_file(path: Path) -> None:
    """Make the file if it is missing, empty and for its owner only; narrow one that is there."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.fstat(descriptor).st_mode & 0o777 != FILE_MODE:
            os.fchmod(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)


def sync_path(path: Path) -> None:
    """Return when the file's content, or the names inside the folder, are on disk. One is not the other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _named(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes) -> None:
    """Replace the file in one step: after a crash it holds either what it held or `content`."""
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        with _named(partial):
            os.fchmod(descriptor, FILE_MODE)
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    partial.replace(path)
    sync_path(path.parent)


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file, as `write_durably` does, by a JSON document that carries its own checksum. What JSON does not
    know is written as its text."""
    kept = json.loads(json.dumps(document, default=str))
    write_durably(path, json.dumps({**kept, CHECKSUM: _checksum(kept)}, indent=1).encode())


def read_document(path: Path) -> dict[str, Any]:
    """What `write_document` wrote. Raises OSError, or ValueError if it is anything else."""
    document = json.loads(path.read_bytes())
    if not isinstance(document, dict):
        raise ValueError("it is not an object")
    if document.pop(CHECKSUM, None) != _checksum(document):
        raise ValueError("it is not what was written: its checksum differs")
    return document


def _checksum(document: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(document, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """A call on an open file fails without its name: say it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def system_error(path: Path, error: OSError) -> StoreError:
    """A system call for a file of the state that failed, as what it means; `path` where the error names none."""
    named = Path(error.filename) if error.filename else path
    if error.errno in FULL:
        return disk_full(named)
    return StoreError(
        f"{named}: {error.strerror or error}",
        code="store.io",
        hint="Levada's state folder must be on a healthy local disk and belong to the user who runs it",
    )


def disk_full(path: Path) -> StoreError:
    return StoreError(
        f"no space left for {path}",
        code="store.disk_full",
        hint="free some space and run again: what was stored is intact, and the run resumes",
    )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file's lock against other processes and threads. Raises StoreError after LOCK_WAIT_SECONDS."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, FILE_MODE)
    try:
        pause = threading.Event()
        for _ in range(_LOCK_POLLS_MAX):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                pause.wait(LOCK_POLL_SECONDS)
        else:
            raise StoreError(
                f"{path} has been locked by another process for {LOCK_WAIT_SECONDS:.0f} s",
                code="store.locked",
                hint="wait for it to end, or look for a hanging levada process",
            )
        yield
    finally:
        os.close(descriptor)
