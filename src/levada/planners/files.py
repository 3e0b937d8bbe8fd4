"""Files of plans and ledgers: digests, durability, links. Not here: what is in them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from levada.durable import FILE_MODE, private_file, sync_path
from levada.errors import CorruptedError
from levada.plan import PlanFile

READ_BYTES = 1 << 20
PLANS = "the plan's file"
"""How a file of a plan is called: what cannot be read of it is dropped with the plan, and no ledger with it."""
REBUILD_HINT = "`levada doctor` shows what is affected; `levada resync SYNC --rebuild` starts a new ledger"
DISCARD_HINT = (
    "`levada run SYNC --discard-plan` drops the plan; what it may have sent counts as unknown, and is compared anew"
)


def digest_of(path: Path) -> str:
    """The XXH3-128 digest of a file, as 32 hex digits."""
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def describe(path: Path, rows: int) -> PlanFile:
    """A finished file as a PlanFile; it is durable, and its owner's alone, when this returns."""
    path.chmod(FILE_MODE)
    sync_path(path)
    return PlanFile(path.name, rows, path.stat().st_size, digest_of(path))


def verify(folder: Path, file: PlanFile, what: str) -> None:
    """Raises CorruptedError naming the file if it is missing or not what was written. `what`: PLANS or the ledger's."""
    path = folder / file.name
    try:
        found = path.stat().st_size
        problem = "" if found == file.bytes else f"has {found:,} bytes instead of {file.bytes:,}"
        if not problem and digest_of(path) != file.digest:
            problem = "is not what was written: its checksum differs"
    except OSError as error:
        problem = f"cannot be read ({error.strerror or error})"
    if problem:
        if what == PLANS:
            raise CorruptedError(f"{what} {path} {problem}", code="store.plan_corrupted", hint=DISCARD_HINT)
        raise CorruptedError(f"{what} {path} {problem}", code="store.ledger_corrupted", hint=REBUILD_HINT)


def linked(source: Path, folder: Path, name: str) -> Path:
    """The same file under another name in `folder`: a hard link, or a durable copy where links cannot be made."""
    target = folder / name
    partial = folder / f"{name}.partial"
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        private_file(partial)
        shutil.copyfile(source, partial)
        sync_path(partial)
    partial.replace(target)
    return target
