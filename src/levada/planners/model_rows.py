"""Getting at a model's rows, once and in full, whatever the source.

A source that DuckDB can read in place, and a query that is a plain scan: the rows stay where they are and are
read as often as needed, inside one transaction, and files that change meanwhile fail the read. Anything else
is read once into a spool file of mapped rows, which counts only when the read has ended well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from levada.errors import ConfigError, LevadaError, SourceError
from levada.halt import Halt
from levada.mapping import Mapping
from levada.model import Model
from levada.planners import sql
from levada.planners.engine import Engine, is_plain_scan
from levada.planners.mapped import Layout, lay_out, model_column
from levada.source import TYPE_KEY, Attachment, Source, instants, overdue

if TYPE_CHECKING:
    import pyarrow as pa

MODEL = "levada_model"
MAPPED = "levada_mapped"
STREAM = "levada_stream"
FILES_MAX = 100_000
Stamp = tuple[int, int, int]


class Reading:
    """The rows of one model in one engine. After `prepare`, the relation MAPPED can be queried.

    `rows` is the number of rows of the model, invalid ones included. Raises SourceError for anything that
    keeps the model from being read in full.
    """

    def __init__(
        self,
        engine: Engine,
        source: Source,
        model: Model,
        folder: Path,
        attachment: Attachment | None,
        halt: Halt,
        compared_as: Callable[[str, str], str] = lambda key, kind: kind,
    ) -> None:
        """`compared_as`: see `lay_out`."""
        self.engine = engine
        self.source = source
        self.query = model.query_for(source.abilities.dialect)
        self.keys = model.key
        self.folder = folder
        self.attachment = attachment
        self.halt = halt
        self.compared_as = compared_as
        self.spooled: Path | None = None
        self.rows = 0
        self._stack = ExitStack()
        self._failure: LevadaError | None = None
        self._stamps: dict[Path, Stamp] = {}

    def close(self) -> None:
        self._stack.close()
        if self.spooled is not None:
            self.spooled.unlink(missing_ok=True)

    def prepare(self, mapping: Mapping, *, limit: int | None = None) -> Layout:
        """Make the relation MAPPED and return its layout. With `limit`, only so many first rows are read."""
        if self.attachment is None:
            return self._streamed(mapping, limit)
        seconds = self.attachment.timeout_seconds
        with self.halt.watch(self.engine.connection.interrupt, seconds, lambda: overdue(seconds or 0)):
            return self._in_place(mapping, limit)

    def finish(self) -> None:
        """Prove that what was read stayed the same throughout. Call it after the last use of MAPPED."""
        if self.spooled is None and self._stamps and self._stamp() != self._stamps:
            raise SourceError(
                "files of the model changed while they were read",
                code="source.changed",
                hint="nothing was planned; run again when they are complete",
            )

    def _in_place(self, mapping: Mapping, limit: int | None) -> Layout:
        engine = self.engine
        self._one_select()
        self._stamps = self._stamp()
        with engine.reading():
            engine.run("BEGIN TRANSACTION")
            self._distinct(engine.connection.sql(self.query).columns)
            engine.run(f"CREATE TEMP VIEW {MODEL} AS {self._exact_instants()} FROM (\n{self.query}\n)")
            columns = engine.types(MODEL)
        cut = f" LIMIT {limit}" if limit is not None else ""
        layout = lay_out(engine, MODEL, columns, mapping, self.keys, self.compared_as)
        with engine.reading():
            if cut:
                relation = f"(SELECT * FROM {MODEL}{cut})"
                limited = lay_out(engine, relation, columns, mapping, self.keys, self.compared_as)
                engine.run(f"CREATE TEMP TABLE {MAPPED} AS {limited.select}")
                return layout
            if is_plain_scan(engine, f"SELECT * FROM {MODEL}"):
                engine.run(f"CREATE TEMP VIEW {MAPPED} AS {layout.select}")
                (self.rows,) = engine.row(f"SELECT count(*) FROM {MODEL}")
            else:
                self._spool(layout)
        return layout

    def _exact_instants(self) -> str:
        """The model's columns, instants in nanoseconds as those that every later step knows."""
        relation = self.engine.connection.sql(self.query)
        pairs = zip(relation.columns, relation.types, strict=True)
        whole = {name: instants(sql.quoted(name), name, str(kind)) for name, kind in pairs}
        items = [f"{found} AS {sql.quoted(name)}" for name, found in whole.items() if found]
        return f"SELECT * REPLACE ({sql.listed(items)})" if items else "SELECT *"

    def _one_select(self) -> None:
        """Refuse what is not exactly one SELECT: it is put in parentheses and must not leave them."""
        import duckdb

        try:
            statements = self.engine.connection.extract_statements(self.query)
        except duckdb.Error as error:
            raise SourceError(
                f"the model's query is not SQL: {str(error).splitlines()[0]}",
                code="source.query",
                hint="run it by itself in the warehouse",
            ) from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise ConfigError(
                "a model's query is exactly one SELECT statement",
                code="config.query",
                hint="remove everything that changes data",
            )

    def _streamed(self, mapping: Mapping, limit: int | None) -> Layout:
        import pyarrow as pa

        batches = self._stack.enter_context(self.source.read(self.query))
        first = next(batches, None)
        if first is None:
            schema = pa.schema([pa.field(column.name, column.type) for column in self.source.columns(self.query)])
        else:
            schema = first.schema
        self._distinct(schema.names)
        self._register(schema.empty_table())
        layout = lay_out(self.engine, MODEL, self.engine.types(MODEL), mapping, self.keys, self.compared_as)
        if limit is not None:
            head = pa.Table.from_batches(_first(first, batches, limit), schema)
            self._register(head)
            self.engine.run(f"CREATE TEMP TABLE {MAPPED} AS {layout.select}")
            return layout
        reader = pa.RecordBatchReader.from_batches(schema, self._watched(first, batches))
        self._register(reader)
        with self.engine.reading():
            try:
                self._spool(layout)
            except Exception:
                if self._failure is not None:
                    raise self._failure from None
                raise
        if self._failure is not None:
            raise self._failure
        self.engine.run(f"DROP VIEW {MODEL}")
        self.engine.connection.unregister(STREAM)
        self._stack.close()
        return layout

    def _register(self, rows: pa.Table | pa.RecordBatchReader) -> None:
        """Make MODEL of Arrow rows, with the types that the fields' metadata tells where Arrow has none."""
        self.engine.run(f"DROP VIEW IF EXISTS {MODEL}")
        self.engine.connection.register(STREAM, rows)
        shown = [model_column(field.name, (field.metadata or {}).get(TYPE_KEY, b"").decode()) for field in rows.schema]
        self.engine.run(f"CREATE TEMP VIEW {MODEL} AS SELECT {sql.listed(shown)} FROM {STREAM}")

    def _watched(self, first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches; a failure is kept, since it loses its type on its way through DuckDB."""
        try:
            if first is not None:
                yield first
            yield from rest
        except LevadaError as error:
            self._failure = error
            raise
        except Exception as error:
            self._failure = SourceError(
                f"the read broke off: {error}", code="source.read", hint="nothing was planned; run again"
            )
            self._failure.__cause__ = error
            raise

    def _spool(self, layout: Layout) -> None:
        target = self.folder / "spool.parquet"
        self.spooled = target
        self.rows = self.engine.copy(f"SELECT * EXCLUDE (bad) FROM ({layout.select})", target)
        if self.rows:
            self.engine.run(f"CREATE TEMP VIEW {MAPPED} AS SELECT *, p IS NOT NULL AS bad FROM {sql.parquet(target)}")
        else:
            self.engine.run(f"CREATE TEMP TABLE {MAPPED} AS {layout.nothing}")

    def _distinct(self, names: Sequence[str]) -> None:
        """Refuse names that differ only in case: DuckDB would take one column for the other."""
        lower = [name.lower() for name in names]
        if len(set(lower)) != len(lower):
            twice = next(name for name in names if lower.count(name.lower()) > 1)
            raise ConfigError(
                f"the model has several columns {twice!r}, different at most in case",
                code="config.ambiguous_column",
                hint="give each column of the query a name of its own",
            )

    def _stamp(self) -> dict[Path, Stamp]:
        """Size, time of change and inode of every file that the source reads."""
        found: dict[Path, Stamp] = {}
        for path in self.attachment.paths if self.attachment else ():
            for file in [path] if path.is_file() else sorted(path.rglob("*"))[:FILES_MAX]:
                if file.is_file() and not file.name.endswith((".wal", ".tmp")):
                    status = file.stat()
                    found[file] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found


def _first(first: pa.RecordBatch | None, rest: Iterator[pa.RecordBatch], limit: int) -> list[pa.RecordBatch]:
    """As many batches as it takes for `limit` rows, the last one cut."""
    found: list[pa.RecordBatch] = []
    wanted = limit
    batch = first
    while batch is not None and wanted > 0:
        found.append(batch.slice(0, wanted))
        wanted -= found[-1].num_rows
        batch = next(rest, None) if wanted > 0 else None
    return found
