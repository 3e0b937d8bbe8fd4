"""The encodings of text files: which one a file has, and its text in UTF-8, which DuckDB reads.

A byte order mark tells the encoding for sure, and is believed. Nothing else is guessed: bytes that the declared
encoding has no letter for are an error, and its hint names only encodings that have letters for all of them.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import IO, Literal, cast

from levada.errors import SourceError

Encoding = Literal[
    "utf-8", "utf-16", "utf-16le", "utf-16be", "utf-32",
    "windows-1250", "windows-1251", "windows-1252", "windows-1253", "windows-1254", "windows-1255", "windows-1256",
    "windows-1257", "windows-1258", "windows-874", "windows-932", "windows-936", "windows-949", "windows-950",
    "latin-1", "iso-8859-2", "iso-8859-15", "koi8-r", "ibm437", "ibm850", "ibm852", "mac-roman", "gb18030",
]  # fmt: skip

CHUNK_CHARACTERS = 1_000_000
SAMPLE_BYTES = 16_000_000
"""So much of a file is looked at for the hint of an error."""

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROLS = re.compile("[\x80-\x9f]")
_LIKELY = {"windows-1252": "Western Europe", "windows-1250": "Central Europe", "windows-1251": "Cyrillic"}


class Copies:
    """A private folder for texts in UTF-8; it goes when this object does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="levada-text-"))
        self.remove = weakref.finalize(self, shutil.rmtree, self.folder, True)

    def of(self, path: Path, codec: str) -> Path:
        """A copy of a file in UTF-8 without a mark. Raises SourceError for bytes that the codec has no letter for."""
        # below the same folders, whose names may be columns
        target = self.folder / path.relative_to(path.anchor)
        target = target.with_suffix("") if target.name.lower().endswith(".gz") else target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened(path, codec) as source, target.open("w", encoding="utf-8", newline="") as copy:
                while text := source.read(CHUNK_CHARACTERS):
                    if codec.startswith("iso8859") and _CONTROLS.search(text):
                        raise _wrong(path, _name(codec), "it holds bytes from 0x80 to 0x9F")
                    copy.write(text)
        except UnicodeError as error:
            raise undecodable(path, codec, error) from error
        except (OSError, EOFError) as error:
            raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
        return target


def codec_of(path: Path, declared: Encoding) -> str:
    """Python's name of a file's encoding: what its byte order mark says, else what is declared."""
    try:
        with raw(path) as file:
            start = file.read(4_096)
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
    for mark, codec in _MARKS:
        if start.startswith(mark):
            return codec
    match declared:
        case "utf-16":
            return _order(path, start)
        case "utf-16le" | "utf-16be":
            return f"utf-16-{declared[-2:]}"
        case "latin-1":
            return "iso8859-1"
        case "iso-8859-2" | "iso-8859-15":
            return declared.replace("iso-", "iso", 1)
    return re.sub("^(windows-|ibm)", "cp", declared)


def _order(path: Path, start: bytes) -> str:
    """Which order the bytes of UTF-16 without a mark have: that in which more of them are letters of ASCII."""
    little = sum(high == 0 < low < 128 for low, high in zip(start[::2], start[1::2], strict=False))
    big = sum(high == 0 < low < 128 for high, low in zip(start[::2], start[1::2], strict=False))
    if start and little == big:
        raise _wrong(path, "utf-16", "it has no byte order mark, and its beginning does not tell its order")
    return "utf-16-be" if big > little else "utf-16-le"


def opened(path: Path, codec: str) -> IO[str]:
    """A text file, compressed or not, with its line ends as they are."""
    if path.name.lower().endswith(".gz"):
        return io.TextIOWrapper(cast("IO[bytes]", gzip.open(path)), encoding=codec, newline="")
    return path.open(encoding=codec, newline="")


def raw(path: Path) -> IO[bytes]:
    """A file's bytes, decompressed."""
    return cast("IO[bytes]", gzip.open(path)) if path.name.lower().endswith(".gz") else path.open("rb")


def undecodable(path: Path, codec: str, error: UnicodeError) -> SourceError:
    """The error for a file that is not in the encoding that it is read with."""
    return _wrong(path, _name(codec), getattr(error, "reason", str(error)))


def _wrong(path: Path, name: str, reason: str) -> SourceError:
    fitting = [f"`encoding: {each}` ({where})" for each, where in _LIKELY.items() if each != name and _fits(path, each)]
    hint = "say in the source which encoding its writer used"
    if _start(path).count(0):
        hint += "; it holds bytes of zero, as `encoding: utf-16` writes them"
    elif fitting:
        hint += f": {', '.join(fitting)} would read it, each with other letters; `levada preview` shows which are right"
    return SourceError(f"{path} is not {name}: {reason}", code="source.encoding", hint=hint)


def _fits(path: Path, name: str) -> bool:
    """Has an encoding of single bytes a letter for each byte of a file's beginning?"""
    try:
        _start(path).decode(name.replace("windows-", "cp"))
    except UnicodeError:
        return False
    return True


def _start(path: Path) -> bytes:
    with raw(path) as file:
        return file.read(SAMPLE_BYTES)


def _name(codec: str) -> str:
    """An encoding as it is declared."""
    special = {"iso8859-1": "latin-1", "utf-8-sig": "utf-8", "utf-16-le": "utf-16le", "utf-16-be": "utf-16be"}
    if codec in special:
        return special[codec]
    name = re.sub("^cp(437|85)", r"ibm\1", codec.replace("iso8859", "iso-8859"))
    return re.sub("^cp", "windows-", name)
