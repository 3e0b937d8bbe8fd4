"""Text in other encodings: read letter by letter where it is told which, refused where it is not."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import get_args

import pytest

from contracts.sources import table_of
from levada.errors import SourceError
from levada.sources.encoding import Encoding
from unit.sources.reading_files import put, source

WORDS = {
    "windows-1250": "Žluťoučký „kůň“ €", "windows-1251": "Привет «мир»", "windows-1252": "José “Zoë” € Œ",
    "windows-1253": "Ελλάδα", "windows-1254": "İstanbul ğış", "windows-1255": "שלום", "windows-1256": "سلام",
    "windows-1257": "Ąžuolas", "windows-1258": "Đà", "windows-874": "สวัสดี", "windows-932": "日本語 ｶﾅ",
    "windows-936": "简体", "windows-949": "한국어", "windows-950": "繁體", "latin-1": "José ÿ", "iso-8859-2": "Žluť",
    "iso-8859-15": "€ Œuvre", "koi8-r": "Привет", "ibm437": "é █", "ibm850": "é ß", "ibm852": "Ž", "mac-roman": "é Ω",
    "gb18030": "汉字 😀", "utf-8": "é 😀", "utf-16": "é 😀", "utf-16le": "é 😀", "utf-16be": "é 😀", "utf-32": "é 😀",
}  # fmt: skip
CODECS = {"utf-16": "utf-16-le", "iso-8859-2": "iso8859_2", "iso-8859-15": "iso8859_15"}


def codec(encoding: str) -> str:
    """Python's name of an encoding."""
    return CODECS.get(encoding, re.sub("^(windows-|ibm)", "cp", encoding))


def text(word: str) -> str:
    return f'id,name\n1,{word}\n2,"{word}\n{word}"\n'


def names(folder: Path, **options: object) -> list[object]:
    found: list[object] = table_of(source(folder, **options), "SELECT name FROM t ORDER BY id").column(0).to_pylist()
    return found


@pytest.mark.parametrize("encoding", get_args(Encoding))
@pytest.mark.parametrize("compressed", [False, True])
def test_each_encoding_is_read_by_the_letter(tmp_path: Path, encoding: str, compressed: bool) -> None:
    """A declared encoding gives the letters that were written, several in a quoted field among them."""
    word = WORDS[encoding]
    content = text(word).encode(codec(encoding))
    put(tmp_path, {"t.csv.gz": gzip.compress(content)} if compressed else {"t.csv": content})
    assert names(tmp_path, encoding=encoding) == [word, f"{word}\n{word}"]


@pytest.mark.parametrize("codec", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("declared", ["utf-8", "windows-1252", "utf-16"])
def test_a_byte_order_mark_is_believed(tmp_path: Path, codec: str, declared: str) -> None:
    """It tells the encoding for sure, whatever is declared; of JSON too."""
    put(tmp_path, {"t.csv": ("\ufeff" + text("Zoë 😀")).encode(codec)})
    put(tmp_path, {"j.jsonl": '\ufeff{"name": "Zoë 😀"}\n'.encode(codec)})
    put(tmp_path, {"a.json": '\ufeff[{"name": "Zoë 😀"}]'.encode(codec)})
    assert names(tmp_path, encoding=declared) == ["Zoë 😀", "Zoë 😀\nZoë 😀"]
    for table in ("j", "a"):
        assert table_of(source(tmp_path, encoding=declared), f"FROM {table}").to_pylist() == [{"name": "Zoë 😀"}]


@pytest.mark.parametrize("order", ["utf-16-le", "utf-16-be"])
def test_the_order_of_utf_16_without_a_mark_is_told_by_its_line_ends(tmp_path: Path, order: str) -> None:
    """Delimiters and line ends are letters of ASCII in every language."""
    put(tmp_path, {"t.csv": text("日本語").encode(order)})
    assert names(tmp_path, encoding="utf-16") == ["日本語", "日本語\n日本語"]


@pytest.mark.parametrize(
    ("content", "declared", "offered"),
    [
        ("é €".encode("cp1252"), "utf-8", {"windows-1252", "windows-1250", "windows-1251"}),
        (b"Z\x81\xe9", "utf-8", {"windows-1251"}),
        ("é €".encode("cp1252"), "latin-1", {"windows-1252", "windows-1250", "windows-1251"}),
        (b"\x81", "windows-1252", {"windows-1251"}),
        ("é".encode("utf-16-le"), "utf-8", {"utf-16"}),
        (b"\x98\x81", "utf-8", set()),
        (b"a" * 1_200_000 + b"\xe9", "utf-8", {"windows-1252", "windows-1250", "windows-1251"}),
    ],
)
def test_bytes_without_a_letter_are_refused_with_what_could_read_them(
    tmp_path: Path, content: bytes, declared: str, offered: set[str]
) -> None:
    """The hint offers no encoding that gives a control character or nothing, and never one alone for certain."""
    header = "id,name\n1," if b"\0" not in content else "id,name\n1,\0".encode("utf-16-le").decode()
    put(tmp_path, {"t.csv": header.encode() + content + b"\n"})
    with pytest.raises(SourceError) as caught:
        names(tmp_path, encoding=declared)
    assert caught.value.code == "source.encoding"
    assert "t.csv" in caught.value.message
    assert declared in caught.value.message
    assert set(re.findall(r"`encoding: ([\w-]+)`", caught.value.hint or "")) == offered


@pytest.mark.parametrize("cut", [1, 3])
def test_half_a_letter_at_the_end_is_refused(tmp_path: Path, cut: int) -> None:
    """A file that breaks off within a letter is not read as a shorter one."""
    put(tmp_path, {"t.csv": "id,name\n1,a😀".encode("utf-16")[:-cut]})
    with pytest.raises(SourceError) as caught:
        names(tmp_path)
    assert caught.value.code == "source.encoding"


def test_text_in_utf_16_that_is_not_declared_is_named(tmp_path: Path) -> None:
    """Without a mark it is valid UTF-8 full of NUL characters."""
    put(tmp_path, {"t.csv": text("abc").encode("utf-16-le")})
    with pytest.raises(SourceError, match="utf-16") as caught:
        names(tmp_path)
    assert caught.value.code == "source.encoding"


def test_the_copies_go_with_the_source(tmp_path: Path) -> None:
    """A file that is not UTF-8 is copied once for each version, in a folder that nobody else can read."""
    put(tmp_path, {"month=01/t.csv": text("é").encode("utf-16")})
    found = source(tmp_path)
    attachment = found.attachment()
    copies = [path for path in attachment.paths if "levada-text-" in str(path) and path.exists()]
    assert len(copies) == 1
    assert found.attachment() == attachment
    folder = next(parent for parent in copies[0].parents if parent.name.startswith("levada-text-"))
    assert folder.stat().st_mode & 0o777 == 0o700
    found.close()
    assert not folder.exists()


def test_partitions_and_error_messages_are_those_of_the_original(tmp_path: Path) -> None:
    """Columns from names of folders, and the file in an error."""
    put(tmp_path, {"s/month=01/t.csv": "a,b\n1,é\n".encode("utf-16"), "s/month=02/t.csv": "a,b\n2,x\n"})
    table = table_of(source(tmp_path), "FROM s ORDER BY a")
    assert table.to_pylist() == [{"a": 1, "b": "é", "month": "01"}, {"a": 2, "b": "x", "month": "02"}]
    put(tmp_path, {"s/month=01/t.csv": "a,b\n1,é,2\n".encode("utf-16")})
    with pytest.raises(SourceError) as caught:
        table_of(source(tmp_path), "FROM s")
    assert f"{tmp_path}/s/month=01/t.csv" in caught.value.message
    assert "levada-text-" not in caught.value.message
