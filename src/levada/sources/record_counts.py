"""How many records a text file holds, counted without the reader that is to deliver them.

A reader that passes over a record says nothing: the records would count as gone, and be deleted. So each new
version of a file is counted a second time, and a difference fails the read.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from levada.errors import SourceError
from levada.sources.encoding import opened, raw, undecodable
from levada.wording import plural

CHUNK_BYTES = 4_000_000
LINE_BYTES_MAX = 2_000_000
"""The longest line of a CSV file that DuckDB reads."""
_NOT_COUNTED = bytes(set(range(256)) - {ord('"'), ord("\n")})


def check_csv(path: Path, delimiter: str, columns: int, found: int) -> None:
    """Raises SourceError if a CSV file with a header holds another number of rows than were found, or is not UTF-8."""
    if _lines_outside_quotes(path) == found + 1:
        return
    # carriage returns, blank lines and quotes in the middle of a field are counted only by the slower way
    if (rows := _csv_records(path, delimiter, columns) - 1) == found:
        return
    check_line_lengths(path)
    raise SourceError(
        f"{path} holds {plural(rows, 'row')}, and {found:,} of them could be read",
        code="source.read",
        hint="nothing was taken from it; is a quote left open, or do the ends of its lines differ?",
    )


def json_lines(path: Path) -> tuple[int, int]:
    """How many lines with content a file has, and the bytes of its longest line."""
    lines, longest = 0, 0
    try:
        with raw(path) as file:
            for line in file:
                lines += not line.isspace()
                longest = max(longest, len(line))
    except (OSError, EOFError) as error:
        raise SourceError(f"{path} cannot be read: {error}", code="source.read") from error
    return lines, longest


def check_json_lines(path: Path, lines: int, found: int) -> None:
    """Raises SourceError if a file of so many JSON lines holds another number of them than were found."""
    if lines != found:
        raise SourceError(
            f"{path} holds {lines:,} lines, and {found:,} objects could be read",
            code="source.read",
            hint="nothing was taken from it; one JSON object a line",
        )


def check_array_ends(path: Path) -> None:
    """Raises SourceError if a file that holds one JSON array breaks off before the array's end."""
    last = b""
    for chunk in _chunks(path):
        last = chunk.rstrip()[-1:] or last
    if last != b"]":
        raise SourceError(
            f"{path} breaks off: its array does not end",
            code="source.read",
            hint="nothing was taken from it; run again when its writer has finished",
        )


def _chunks(path: Path) -> Iterator[bytes]:
    with raw(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _lines_outside_quotes(path: Path) -> int:
    """Line ends that no pair of quotes holds, and one more for a last line without its end."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    lines, quoted, last = 0, False, b"\n"
    try:
        for chunk in _chunks(path):
            decoder.decode(chunk)
            last = chunk[-1:]
            # what stays is quotes and line ends; neighbours among quotes are a whole field, or an escaped quote
            marks = (b'"' if quoted else b"") + chunk.translate(None, _NOT_COUNTED)
            parts = marks.replace(b'""', b"").split(b'"')
            lines += sum(part.count(b"\n") for part in parts[::2])
            quoted = len(parts) % 2 == 0
        decoder.decode(b"", final=True)
    except UnicodeError as error:
        raise undecodable(path, "utf-8", error) from error
    return lines + (last != b"\n")


def _csv_records(path: Path, delimiter: str, columns: int) -> int:
    """Records as Python's reader finds them. A blank line is one only where there is one column."""
    before = csv.field_size_limit(2**31 - 1)
    try:
        with opened(path, "utf-8-sig") as file:
            return sum(1 for record in csv.reader(file, delimiter=delimiter) if record or columns == 1)
    except csv.Error as error:
        raise SourceError(f"{path} is not well-formed: {error}", code="source.read") from error
    finally:
        csv.field_size_limit(before)


def check_line_lengths(path: Path) -> None:
    """Raises SourceError for a line that is longer than DuckDB reads."""
    with raw(path) as file:
        for number, length in _lengths(file):
            if length > LINE_BYTES_MAX:
                raise SourceError(
                    f"line {number:,} of {path} has {length:,} bytes; the most is {LINE_BYTES_MAX:,}",
                    code="source.read",
                    hint="is a quote left open? Parquet and JSON lines hold longer values",
                )


def _lengths(file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """The number and the length of each line."""
    for number, line in enumerate(file, 1):
        yield number, len(line)
