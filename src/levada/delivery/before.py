"""What stood at the destination before a plan was written over it, as files in the plan's folder: for an undo.

A file holds what one part of the plan found, and is named by the kind and the part's first operation
(`before-changed-000000000000.parquet`). It goes with the plan's folder.
"""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from levada.change import KINDS, Kind
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


def verify_before(folder: Path) -> list[Path]:
    """The files of all kinds, read through: `sequence`, `before.<field>`, and `unkept`, the fields whose old value is
    not known; a row for each record that held something else than the plan says.

    Raises CorruptedError for a file that is not what was written.
    """
    found = [path for kind in KINDS for path in before_files(folder, kind)]
    for path in found:
        try:
            with parquet.ParquetFile(path, page_checksum_verification=True) as file:
                for _ in file.iter_batches():
                    pass
        except (OSError, pa.ArrowException) as error:
            raise CorruptedError(
                f"{path} cannot be read: {error}",
                code="store.plan_corrupted",
                hint="what stood there before this run is not known any more, and cannot be put back",
            ) from error
    return found
