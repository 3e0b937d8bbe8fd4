"""A DuckDB file as a source, where files are missing, locked, newer, damaged or replaced."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from contracts.sources import table_of
from levada.errors import LevadaError, SourceError
from levada.sources.duckdb import TYPE, DuckDBOptions, DuckDBSource


def source(path: Path, name: str = "shop") -> DuckDBSource:
    found = TYPE.open(name, DuckDBOptions(path=path.name), path.parent)
    assert isinstance(found, DuckDBSource)
    return found


def database(path: Path, *statements: str) -> Path:
    with duckdb.connect(str(path)) as connection:
        for statement in statements or ("CREATE TABLE t AS SELECT 1 AS a",):
            connection.execute(statement)
    return path


def failure(found: DuckDBSource) -> LevadaError:
    with pytest.raises(LevadaError) as caught:
        found.check()
    with pytest.raises(LevadaError) as again:
        found.attachment()
    assert caught.value.code == again.value.code
    return caught.value


def test_a_missing_file_is_named_and_not_created(tmp_path: Path) -> None:
    """Opening a path with a typing error must not leave an empty database there."""
    error = failure(source(tmp_path / "none.duckdb"))
    assert error.code == "source.missing"
    assert str(tmp_path / "none.duckdb") in error.message
    assert error.hint
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_writes_is_locked(tmp_path: Path) -> None:
    """The process that holds the file is named by its number."""
    path = database(tmp_path / "shop.duckdb")
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        error = failure(source(path))
        holder.communicate()
    assert error.code == "source.locked"
    assert str(holder.pid) in error.message
    source(path).check()


def test_a_file_of_a_newer_version_is_told_as_such(tmp_path: Path) -> None:
    """A storage version from the future, with a right checksum, is not called damaged."""
    path = database(tmp_path / "shop.duckdb")
    block = bytearray(path.read_bytes())
    block[12:20] = struct.pack("<Q", 9999)
    total = 5381
    for (word,) in struct.iter_unpack("<Q", bytes(block[8:4096])):
        total ^= (word * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    block[:8] = struct.pack("<Q", total)
    path.write_bytes(block)
    assert failure(source(path)).code == "source.newer_format"


@pytest.mark.parametrize("content", [b"hello" * 2000, b"", b"PAR1" + b"\0" * 5000])
def test_what_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file of another kind is named as such, and left as it is."""
    path = tmp_path / "shop.duckdb"
    path.write_bytes(content)
    assert failure(source(path)).code == "source.not_a_database"
    assert path.read_bytes() == content


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    """DuckDB's checksums turn a damaged file into an error and not into other values."""
    path = database(tmp_path / "shop.duckdb", "CREATE TABLE t AS SELECT range AS a FROM range(10000)")
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    with pytest.raises(SourceError):
        table_of(source(path), "SELECT * FROM t")


def test_a_source_named_like_a_schema_of_its_own_is_not_ambiguous(tmp_path: Path) -> None:
    """`analytics.customers` means the schema, also when the source is called analytics."""
    path = database(
        tmp_path / "a.duckdb", "CREATE SCHEMA analytics", "CREATE TABLE analytics.customers AS SELECT 1 AS id"
    )
    for name in ("analytics", "Analytics", "main", "memory", "temp", "system"):
        assert table_of(source(path, name), "SELECT * FROM analytics.customers").num_rows == 1, name
    attachment = source(path, "analytics").attachment()
    assert 'AS "analytics_source"' in attachment.statements[0]


def test_a_view_over_files_outside_is_refused_with_a_way_out(tmp_path: Path) -> None:
    """A view inside the database reaches no further than a query."""
    outside = tmp_path / "outside.csv"
    outside.write_text("a\n1\n")
    path = database(tmp_path / "shop.duckdb", f"CREATE VIEW v AS SELECT * FROM read_csv('{outside}')")
    with pytest.raises(SourceError) as caught:
        table_of(source(path), "SELECT * FROM v")
    assert caught.value.code == "source.outside"
    assert "type: files" in str(caught.value.hint)


def test_errors_do_not_quote_values(tmp_path: Path) -> None:
    """A value that does not fit a cast may be a person's, and an error is shown and logged."""
    path = database(tmp_path / "shop.duckdb", "CREATE TABLE t AS SELECT 'mary@example.com' AS email")
    with pytest.raises(SourceError) as caught:
        table_of(source(path), "SELECT email::INTEGER AS x FROM t")
    assert "mary" not in str(caught.value)


def test_a_database_with_a_log_is_read_to_its_last_commit(tmp_path: Path) -> None:
    """Rows that a crashed writer left in the write-ahead log are part of the database; nothing is checkpointed."""
    path = tmp_path / "shop.duckdb"
    program = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('PRAGMA disable_checkpoint_on_shutdown');"
        "c.execute('CREATE TABLE t AS SELECT 1 AS a'); c.execute('INSERT INTO t VALUES (2)'); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert any(name.endswith(".wal") for name in before)
    assert table_of(source(path), "SELECT a FROM t ORDER BY a").column("a").to_pylist() == [1, 2]
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
