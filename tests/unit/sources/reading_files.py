"""Data files that a test writes by hand, as a source."""

from __future__ import annotations

from pathlib import Path

from levada.sources.files import TYPE, FilesOptions, FilesSource


def source(folder: Path, **options: object) -> FilesSource:
    found = TYPE.open("data", FilesOptions.model_validate({"path": str(folder), **options}), Path("/nowhere"))
    assert isinstance(found, FilesSource)
    return found


def put(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Writes files, each with its folders."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder
