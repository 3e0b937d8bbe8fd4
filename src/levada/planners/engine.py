"""The DuckDB in which a plan is made: one per plan, bounded, and shut in. Types alone are asked of one that is kept.

Memory is limited and spills into the plan's own folder. After the source was attached the connection can
read and write nothing but the folders it was given, can load nothing, and cannot be configured any more:
so a model's query reaches its source and nothing else. Not here: what is computed.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from levada.durable import FULL, disk_full, system_error
from levada.errors import LevadaError, SourceError, StoreError
from levada.planners import sql
from levada.planners.expressions import FUNCTIONS as SCALARS
from levada.source import Attachment, refused_in
from levada.sql.connection import bare, connect

if TYPE_CHECKING:
    import duckdb

THREADS_MAX = 4
COMPRESSION = "lz4_raw"
ROW_GROUP_ROWS = 122_880
ROW_GROUP_BYTES = "4MB"
"""Row groups are cut by size as well, or wide rows would fill the memory while they are written."""
PARTS_MAX = 1_000
_PATH = re.compile(r"""["'](/[^"'\\]+)""")
"""A path as DuckDB names it in an error, which is JSON at times."""


class Binder:
    """Tells the types of queries without running them. It reaches nothing; a context manager."""

    def __init__(self, connection: duckdb.DuckDBPyConnection | None = None) -> None:
        self.connection = connection or bare()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def run(self, statement: str, values: Sequence[object] | None = None) -> duckdb.DuckDBPyConnection:
        """Execute one statement of ours. Raises StoreError for too little memory."""
        import duckdb

        try:
            return self.connection.execute(statement, values) if values else self.connection.execute(statement)
        except duckdb.OutOfMemoryException as error:
            raise StoreError(
                "planning needs more memory than it may use",
                code="store.memory",
                hint="raise planner.memory in levada.yml, or free disk space for its spill files; how heavy rows "
                "may be is in docs/reference/limits.md",
            ) from error

    def rows(self, statement: str, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        """A small result."""
        return self.run(statement, values).fetchall()

    def row(self, statement: str) -> tuple[Any, ...]:
        found = self.run(statement).fetchone()
        assert found is not None, statement
        return found

    def types(self, query: str) -> dict[str, str]:
        """The columns of a query's result and their DuckDB types, without running it."""
        return {name: kind for name, kind, *_ in self.rows(f"DESCRIBE {query}")}


class Engine(Binder):
    """One restricted DuckDB of its own. Its spill folder goes when it closes.

    `folders` may be read and written; `attachment` is what the source needs. Errors of DuckDB leave as
    LevadaError: SourceError inside `reading()`, StoreError elsewhere.
    """

    def __init__(
        self, spill: Path, *, memory: str, threads: int | None, folders: Sequence[Path], attachment: Attachment | None
    ) -> None:
        self.spill = spill
        self._ours = (spill, *folders)
        self._interrupts: list[Callable[[], object]] = []
        super().__init__(
            connect(
                memory_limit=memory,
                threads=threads or min(os.cpu_count() or 1, THREADS_MAX),
                temp_directory=str(spill),
                preserve_insertion_order=False,
            )
        )
        try:
            self.run("SET python_enable_replacements = false")
            if attachment is not None:
                with self.reading():
                    for statement in attachment.statements:
                        self.run(statement)
            self._shut_in([spill, *folders], attachment.paths if attachment else ())
        except BaseException:
            self.close()
            raise

    def _shut_in(self, folders: Sequence[Path], paths: Sequence[Path]) -> None:
        allowed = [*folders, *(path for path in paths if path.is_dir())]
        files = [path for path in paths if not path.is_dir()]
        self.run(f"SET allowed_directories = [{_both(allowed)}]")
        self.run(f"SET allowed_paths = [{_both(files)}]")
        self.run("SET enable_external_access = false")
        self.run("SET lock_configuration = true")

    def interrupt(self) -> None:
        """End what computes. Called from another thread."""
        self.connection.interrupt()
        for each in tuple(self._interrupts):
            each()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """What runs inside, and is not DuckDB's, is ended by `interrupt`."""
        self._interrupts.append(interrupt)
        try:
            yield
        finally:
            self._interrupts.remove(interrupt)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.spill, ignore_errors=True)

    def run(self, statement: str, values: Sequence[object] | None = None) -> duckdb.DuckDBPyConnection:
        """Execute one statement of ours. Raises StoreError for a full or failing disk, or too little memory."""
        import duckdb

        try:
            return super().run(statement, values)
        except duckdb.IOException as error:
            found = self._of_the_disk(str(error))
            if found is None:
                raise
            raise found from error

    def _of_the_disk(self, text: str) -> StoreError | None:
        """The error of a file of ours that could not be read or written, from DuckDB's words; None for any other."""
        if "max_temp_directory_size" in text:
            return disk_full(self.spill)
        number = next((number for number in (errno.EIO, errno.EROFS, *FULL) if os.strerror(number) in text), None)
        named = next((Path(name) for name in _PATH.findall(text) if self._is_ours(Path(name))), None)
        if number is None or (named is None and number not in FULL):
            return None
        return system_error(named or self.spill, OSError(number, os.strerror(number)))

    def _is_ours(self, path: Path) -> bool:
        return any(path.is_relative_to(folder) for folder in self._ours)

    def copy(self, query: str, target: Path) -> int:
        """Write a query's result as one Parquet file; returns its rows. An empty result leaves no file."""
        (rows,) = self.row(
            f"COPY ({query}) TO {sql.path(target)} (FORMAT parquet, COMPRESSION {COMPRESSION},"
            f" ROW_GROUP_SIZE {ROW_GROUP_ROWS}, ROW_GROUP_SIZE_BYTES '{ROW_GROUP_BYTES}')"
        )
        if not rows:
            target.unlink(missing_ok=True)
        return int(rows)

    def copy_parts(self, queries: Sequence[str], target: Path) -> int:
        """The results of several queries as one file, one after the other, so that each has the memory."""
        if len(queries) == 1:
            return self.copy(queries[0], target)
        parts = [self.spill / f"{target.stem}-{number}.parquet" for number in range(len(queries))]
        written = [part for part, query in zip(parts, queries, strict=True) if self.copy(query, part)]
        if not written:
            return 0
        listed = sql.listed(sql.text(sql.escaped(part)) for part in written)
        rows = self.copy(f"SELECT * FROM read_parquet([{listed}])", target)
        for part in written:
            part.unlink()
        return rows

    @property
    def memory_bytes(self) -> int:
        """The memory limit, in bytes."""
        (limit,) = self.row("SELECT current_setting('memory_limit')")
        number, unit = re.fullmatch(r"([\d.]+) (\w+)", limit).groups()  # type: ignore[union-attr]
        return int(float(number) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit))

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Whatever fails inside failed because of the source or the model's query."""
        import duckdb

        try:
            yield
        except LevadaError:
            raise
        except duckdb.Error as error:
            if refused := refused_in(str(error)):
                raise refused from error
            raise SourceError(
                f"the model cannot be read: {first_line(error)}",
                code="source.query",
                hint="run the model's query by itself: `levada preview`",
            ) from error


def _both(paths: Sequence[Path]) -> str:
    """Paths as they are and as patterns: DuckDB compares what it is asked to read as it was written."""
    written = {str(path): None for path in paths} | {sql.escaped(path): None for path in paths}
    return sql.listed(sql.text(path) for path in written)


_OF_THE_TEXT = ("Binder Error", "Parser Error", "Catalog Error", "Syntax Error", "Permission Error")
_ROW = ("Original Line", "Possible solutions", "* ")
"""How lines begin that repeat a row of a CSV file, or give advice about DuckDB's own words."""
_QUOTED = re.compile(r"""'[^']*'|"[^"]*\"""")


def first_line(error: BaseException) -> str:
    """What DuckDB says, on one line, without the excerpt of the statement that it appends.

    An error that is not about the statement itself is about a row: what it quotes is left out.
    """
    lines = str(error).split("\nLINE ")[0].splitlines()
    text = " ".join(" ".join(line for line in lines if not line.strip().startswith(_ROW)).split())
    return (text if text.startswith(_OF_THE_TEXT) else _QUOTED.sub("'…'", text))[:500]


SCANS = frozenset({"SEQ_SCAN", "TABLE_SCAN", "PARQUET_SCAN", "READ_PARQUET", "PROJECTION", "FILTER"})
UNREPEATABLE = re.compile(
    r"\b(random|uuid\w*|gen_random_uuid|nextval|currval|setval|setseed|stats|vector_type|current_query\w*"
    r"|current_connection_id|over|read_csv\w*|read_json\w*)\s*\(|\b(tablesample|using\s+sample)\b",
    re.IGNORECASE,
)
DEFINITIONS_MAX = 10_000
FUNCTIONS = SCALARS | {
    "read_parquet",
    "parquet_scan",
    "in",
    "from",
    "and",
    "or",
    "not",
    "where",
    "select",
    "as",
    "decimal",
}


def is_plain_scan(engine: Engine, query: str) -> bool:
    """May the query be run several times at the cost of a scan, with the same rows each time?

    True only for filters and projections over tables and Parquet files, views looked through, with nothing
    that draws lots. (`now()` is the same throughout a transaction.) In doubt: False.
    """
    (plan,) = (row[1] for row in engine.rows(f"EXPLAIN (FORMAT json) {query}"))
    if not operators(json.loads(plan)) <= SCANS:
        return False
    seen = query.lower()
    waiting = engine.rows(f"SELECT view_name, sql FROM duckdb_views() WHERE NOT internal LIMIT {DEFINITIONS_MAX}")
    seen, waiting = _reached(seen, waiting)
    if any(name not in FUNCTIONS for name in re.findall(r"(\w+)\s*\(", seen)):
        waiting += engine.rows(
            "SELECT function_name, macro_definition FROM duckdb_functions() "
            f"WHERE NOT internal AND macro_definition IS NOT NULL LIMIT {DEFINITIONS_MAX}"
        )
        seen, waiting = _reached(seen, waiting)
    return len(waiting) < DEFINITIONS_MAX and UNREPEATABLE.search(seen) is None


def _reached(seen: str, waiting: list[tuple[Any, ...]]) -> tuple[str, list[tuple[Any, ...]]]:
    """The text with the definitions of all that it names, and the definitions that it does not name."""
    found = True
    while found:
        named = [pair for pair in waiting if str(pair[0]).lower() in seen]
        waiting = [pair for pair in waiting if pair not in named]
        seen += "".join("\n" + str(text).lower() for _, text in named)
        found = bool(named)
    return seen, waiting


def operators(plan: object) -> set[str]:
    """The names of all operators in a plan that EXPLAIN printed as JSON."""
    if isinstance(plan, list):
        return {name for node in plan for name in operators(node)}
    assert isinstance(plan, dict)
    return {str(plan["name"]).strip()} | operators(plan.get("children", []))
