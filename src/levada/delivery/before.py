"""What stood at the destination before a plan was written over it, as files in the plan's folder: for an undo.

A file holds what one part of the plan found, and is named by the kind and the part's first operation
(`before-changed-000000000000.parquet`). It goes with the plan's folder.
"""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from levada.change import Kind
from levada.durable import sync_path, write_durably
from levada.errors import CorruptedError


def keep_before(folder: Path, kind: Kind, first: int, table: pa.Table | None) -> None:
    """Keep what a part of the plan found (see `levada.destination.Keep`), in place of what it found when it was tried
    before. Durable when this returns."""
    path = folder / f"before-{kind}-{first:012d}.parquet"
    if table is not None:
        content = io.BytesIO()
        parquet.write_table(table, content, compression="zstd", write_page_checksum=True)
        write_durably(path, content.getvalue())
    elif path.exists():
        path.unlink()
        sync_path(folder)


def before_files(folder: Path, kind: Kind) -> list[Path]:
    """The files of a kind, in the order of the plan."""
    return sorted(folder.glob(f"before-{kind}-*.parquet"))


def kept_before(folder: Path, kind: Kind) -> pa.Table | None:
    """What the records of a kind held before the plan was written, a row for each of which it is known to be another
    thing than the plan says: `sequence`, `before.<field>`, and `unkept`, the fields whose old value is not known.

    None if there is none. Raises CorruptedError for a file that is not what was written.
    """
    found: list[pa.Table] = []
    for path in before_files(folder, kind):
        try:
            found.append(parquet.read_table(path, page_checksum_verification=True))
        except (OSError, pa.ArrowException) as error:
            raise CorruptedError(
                f"{path} cannot be read: {error}",
                code="store.plan_corrupted",
                hint="what stood there before this run is not known any more, and cannot be put back",
            ) from error
    return pa.concat_tables(found) if found else None
