"""One SQLite database, opened so that what was committed stays committed, and used by several threads.

Transactions, errors in the store's words, migrations. One connection under one lock: writers would wait for
each other anyway, and readers are short. What is not here: what the tables mean.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from levada.durable import disk_full, private_file, private_folder, sync_path, system_error
from levada.errors import BusyError, CorruptedError, StoreError
from levada.stores.checksums import ACCEPT_HINT, Row
from levada.stores.statements import migrations, sql

BUSY_SECONDS = 15.0
BACKUPS = "backups"
SHARED_BYTES = 32_768
"""By so much SQLite's shared memory, a file beside the database, grows."""


class Database:
    """`write` and `read` are transactions; inside one, `rows` and `change` run named statements.

    `migrated`: was its schema brought up to date as it was opened?
    """

    def __init__(self, path: Path, connection: sqlite3.Connection, *, migrated: bool = False) -> None:
        self.path = path
        self.migrated = migrated
        self._connection = connection
        self._lock = threading.RLock()
        self._suspect = ""
        self._closed = False

    @staticmethod
    def open(
        path: Path, *, steps: Sequence[Sequence[str]] | None = None, busy_seconds: float = BUSY_SECONDS
    ) -> Database:
        """Open or make the database and bring its schema up to date, with a copy of the old one beside it.

        Raises StoreError `store.newer`, having changed nothing, for the database of a newer Levada.
        The caller holds the folder's lock.
        """
        steps = migrations() if steps is None else steps
        with translated(path):
            if path.exists() and path.stat().st_size:
                _refuse_newer(path, len(steps))
            private_file(path)
            connection = _connect(path, busy_seconds)
            try:
                migrated = _migrate(connection, path, steps)
            except BaseException:
                connection.close()
                raise
        return Database(path, connection, migrated=migrated)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._connection.close()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[None]:
        """One transaction; it is on disk when the block has ended. Rolled back if the block raises.

        `durable=False` is for what a power cut may forget (heartbeats, sending times): it saves the fsync.
        """
        with self._lock, self._translated():
            self._usable()
            if not durable:
                self._connection.execute("pragma synchronous = normal")
            try:
                self._connection.execute("begin immediate")
                yield
                self._connection.execute("commit")
            except BaseException:
                if self._inside():
                    self._connection.execute("rollback")
                raise
            finally:
                if not durable:
                    self._connection.execute("pragma synchronous = full")

    @contextmanager
    def read(self) -> Iterator[None]:
        """One consistent view."""
        with self._lock, self._translated():
            self._usable()
            if self._inside():
                yield
                return
            self._connection.execute("begin")
            try:
                yield
            finally:
                if self._inside():
                    self._connection.execute("rollback")

    def rows(self, name: str, *values: object) -> list[Row]:
        return self._connection.execute(sql(name), values).fetchall()

    def row(self, name: str, *values: object) -> Row | None:
        found: Row | None = self._connection.execute(sql(name), values).fetchone()
        return found

    def change(self, name: str, values: Sequence[object]) -> int:
        """Run a changing statement; returns how many rows it changed."""
        return self._connection.execute(sql(name), values).rowcount

    def change_many(self, name: str, rows: Sequence[Sequence[object]]) -> int:
        return self._connection.executemany(sql(name), rows).rowcount

    def plain(self, statement: str) -> list[Row]:
        """A statement that no file names: a pragma."""
        return self._connection.execute(statement).fetchall()

    def foreign_schema(self) -> bool:
        """Is the schema another than the one that the migrations make?"""
        with closing(sqlite3.connect(":memory:")) as fresh:
            for statement in (statement for step in migrations() for statement in step):
                fresh.execute(statement)
            expected = fresh.execute(sql("store.schema")).fetchall()
        with self.read():
            return self.rows("store.schema") != expected

    def _inside(self) -> bool:
        return self._connection.in_transaction

    def _usable(self) -> None:
        if self._closed:
            raise StoreError(f"{self.path} is closed", code="store.closed", hint="open the store again")
        if self._suspect:
            raise StoreError(
                f"{self.path} is not written any more after an error: {self._suspect}",
                code="store.io",
                hint="end this process, look after the disk, then `levada doctor`",
            )

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.path):
                yield
        except StoreError as error:
            # After a failed write or fsync nobody knows what the disk holds: only re-opening reads it again.
            if error.code == "store.io" and not self._suspect:
                self._suspect = error.message
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's and the system's errors as StoreErrors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _store_error(path, error) from error
    except OSError as error:
        raise system_error(path, error) from error


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    match primary:
        case sqlite3.SQLITE_FULL:
            return disk_full(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BusyError(
                f"{path} has been locked by another process for {BUSY_SECONDS:.0f} s",
                code="store.locked",
                hint="wait for it to end; close other programs that have the file open",
            )
        case sqlite3.SQLITE_CORRUPT if code == sqlite3.SQLITE_CORRUPT_INDEX:
            return CorruptedError(
                f"{path} is damaged: an index is not that of its table", code="store.corrupted", hint=ACCEPT_HINT
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return CorruptedError(
                f"{path} is damaged: {error}",
                code="store.corrupted",
                hint="restore the state folder, or move that file elsewhere and "
                "`levada doctor --accept-rollback` to start with an empty store",
            )
        case sqlite3.SQLITE_IOERR | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            if code == sqlite3.SQLITE_IOERR_WRITE and _beyond_file_size(path):
                return disk_full(path)
            if code == sqlite3.SQLITE_IOERR_SHMSIZE and _without_room(path):
                return disk_full(path)
            return StoreError(
                f"{path} cannot be read or written: {error}",
                code="store.io",
                hint="Levada's state folder must be on a healthy local disk and belong to the user who runs it",
            )
        case _:
            return StoreError(f"{path}: {error}", code="store", hint=ACCEPT_HINT)


def _without_room(path: Path) -> bool:
    """Is there no room for the memory that processes share? SQLite does not tell that from a broken disk."""
    disk = os.statvfs(path.parent)
    return disk.f_bavail * disk.f_frsize < SHARED_BYTES


def _beyond_file_size(path: Path) -> bool:
    """Was the write refused by a limit on the size of files? SQLite does not tell that from a broken disk."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if limit == resource.RLIM_INFINITY:
        return False
    files = (path, path.with_name(f"{path.name}-wal"))
    return any(file.exists() and file.stat().st_size + 65_536 > limit for file in files)


def _connect(path: Path, busy_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, timeout=busy_seconds, cached_statements=256
    )
    # A damaged text must reach its checksum instead of failing here.
    connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
    for pragma in (
        "journal_mode = wal",
        "synchronous = full",
        "fullfsync = on",
        "foreign_keys = on",
        "trusted_schema = off",
        "cell_size_check = on",
    ):
        connection.execute(f"pragma {pragma}")
    return connection


def _refuse_newer(path: Path, known: int) -> None:
    """Look at the schema's version without changing anything, not even by making a write-ahead log.

    But where the power went while the file was made, it has a rollback journal beside its log, and SQLite reads nothing
    before it has rolled that back.
    """
    journal, log = (path.with_name(f"{path.name}-{name}") for name in ("journal", "wal"))
    logged = log.exists() and log.stat().st_size
    mode = "ro&immutable=1" if not logged else "rw" if journal.exists() else "ro"
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
        version = _version(connection)
    if version > known:
        raise _newer(path, version, known)


def _newer(path: Path, version: int, known: int) -> StoreError:
    return StoreError(
        f"{path} was made by a newer Levada (schema {version}; this one knows {known})",
        code="store.newer",
        hint=f"use that Levada, or the copy that it left in the folder `{BACKUPS}`",
    )


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("pragma user_version").fetchone()[0]
    return version


def _migrate(connection: sqlite3.Connection, path: Path, steps: Sequence[Sequence[str]]) -> bool:
    """Each step is one transaction with its version number, so a crash leaves the one or the other. Returns whether
    there was anything to bring up to date."""
    version = _version(connection)
    if version > len(steps):
        raise _newer(path, version, len(steps))
    if 0 < version < len(steps):
        _copy(connection, path, version)
    for number in range(version, len(steps)):
        connection.execute("begin immediate")
        try:
            for statement in steps[number]:
                connection.execute(statement)
            connection.execute(f"pragma user_version = {number + 1}")
            connection.execute("commit")
        except BaseException:
            if connection.in_transaction:
                connection.execute("rollback")
            raise
    return 0 < version < len(steps)


def _copy(connection: sqlite3.Connection, path: Path, version: int) -> None:
    folder = path.parent / BACKUPS
    private_folder(folder)
    target = folder / f"{path.stem}-schema-{version}{path.suffix}"
    partial = target.with_name(f"{target.name}.partial")
    partial.unlink(missing_ok=True)
    private_file(partial)
    with closing(sqlite3.connect(partial)) as copy:
        connection.backup(copy)
    sync_path(partial)
    partial.replace(target)
    sync_path(folder)
