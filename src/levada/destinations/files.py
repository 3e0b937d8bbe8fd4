"""Files as a destination: CSV, JSON lines or Parquet in a folder of this machine.

A file appears under its name only when it is whole: it is written as `.partial`, brought to the disk, and
renamed. In modes insert and append every batch is a part of its own in the object's folder, so that nothing
overwrites; in mode replace the parts wait in `.levada/` and become one file, swapped for the old one by a
rename. Not here: changing or removing records inside files, which the formats are not made for.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, cast

import pyarrow as pa

from levada.batch import Batch
from levada.change import Verb
from levada.destination import DestinationSpec, DestinationType, FieldSpec, ObjectSpec, Surroundings, WriteOrder
from levada.destinations.file_formats import FORMATS, Format, unfit
from levada.destinations.tables.engine import Refused
from levada.errors import AccessError, ConfigError, DestinationError, FullError, UnavailableError
from levada.limits import Limits
from levada.mapping import ValueLimits
from levada.model import Declaration
from levada.outcome import UNTOLD, Effects, Outcomes
from levada.proof import Proof

TITLE = "Files"
DOCS = "docs/reference/table-destinations.md"
RECORDS_PER_BATCH = 100_000
OURS = ".levada"
"""The folder, below the destination's, of parts that wait to become one file."""
NAME_BYTES_MAX = 180
FOLDERS_MAX = 32
"""An object may lie so many folders deep."""
BLOCK_BYTES = 1 << 20


class FilesOptions(Declaration):
    """Files in a folder of this machine."""

    path: str
    """The folder; relative to the project's folder. Nothing is ever written outside of it."""
    format: Literal["csv", "jsonl", "parquet"]
    """What the files are."""
    escape_formulas: bool = True
    """In CSV: put a ' before text that a spreadsheet would take for a formula (it begins with = + - @ or a tab)."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder held open, so that nothing on the way to it can be exchanged for a link meanwhile."""

    descriptor: int

    @contextlib.contextmanager
    def below(self, names: Sequence[str], *, create: bool) -> Iterator[Folder]:
        """The folder at `names`, one step after the other. Follows no symbolic link (AccessError)."""
        opened: list[int] = []
        here = self.descriptor
        try:
            for name in names:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, 0o777, dir_fd=here)
                here = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                opened.append(here)
            yield Folder(here)
        finally:
            for descriptor in reversed(opened):
                os.close(descriptor)

    def write(self, name: str, fill: Callable[[IO[bytes]], None]) -> None:
        """Make the file, whole or not at all; an older one of this name is replaced in one step."""
        partial = f"{name}.partial"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial, dir_fd=self.descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(partial, flags, 0o666, dir_fd=self.descriptor), "wb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def read(self, name: str) -> IO[bytes]:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self.descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise DestinationError(f"{name} is no file", code="destination.path")
        return os.fdopen(descriptor, "rb")

    def names(self) -> list[str]:
        with os.scandir(self.descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def empty(self) -> None:
        """Remove the files in it."""
        for name in self.names():
            os.unlink(name, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Remove a folder of ours, files and all, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            with self.below([name], create=False) as inner:
                inner.empty()
            os.rmdir(name, dir_fd=self.descriptor)


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """The system's errors in our words."""
    try:
        yield
    except OSError as error:
        text = f"{what}: {error.strerror or error}"
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise AccessError(
                f"{text}: a link, or a file where a folder should be",
                code="access.path",
                hint="name a path without links; nothing is written outside of the destination's folder",
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AccessError(text, code="access.permission", hint="the folder must be writable") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise FullError(text, hint="make room at the destination, and run again: nothing is lost") from error
        raise UnavailableError(text, hint="is the folder gone?") from error


def object_parts(name: str, extension: str) -> tuple[str, ...]:
    """The folders and the name (without extension) that an object means. Raises ConfigError for unsafe ones."""
    parts = tuple(name.split("/"))
    parts = (*parts[:-1], parts[-1].removesuffix(f".{extension}"))
    if len(parts) > FOLDERS_MAX + 1:
        raise ConfigError(
            f"the object {name[:60]!r}… lies {len(parts) - 1:,} folders deep, at most {FOLDERS_MAX} are made",
            code="destination.object",
            hint="name fewer folders",
        )
    for part in parts:
        odd = any(ord(letter) < 32 or ord(letter) == 127 or letter == "\\" for letter in part)
        try:
            size = len(part.encode())
        except UnicodeEncodeError:
            size = NAME_BYTES_MAX + 1
        if not part or part.startswith(".") or odd or size > NAME_BYTES_MAX or part != part.strip():
            raise ConfigError(
                f"{name!r} is no name of a file",
                code="destination.object",
                hint="write `name` or `folder/name`: relative, and without `..`, hidden names and control characters",
            )
    return parts


@dataclass(slots=True)
class FilesWriter:
    """Fulfils `levada.destination.Writer` as class A: the same batch makes the same file again."""

    root: Folder
    order: WriteOrder
    format: Format
    parts: tuple[str, ...]
    notices: tuple[str, ...] = ()
    _closed: bool = False

    @property
    def _fingerprint(self) -> str:
        return _digest(self.order.plan_mark)

    @property
    def _waiting(self) -> str:
        """The folder, in `.levada`, of this plan's parts in mode replace."""
        return f"{self._done.removesuffix('.done')}-{self._fingerprint}"

    @property
    def _done(self) -> str:
        """The file, in `.levada`, that says which plan was swapped in last."""
        name = "/".join(self.parts) + "." + self.format.extension
        return f"{_digest(name)}-{_digest(self.order.sync_mark)}.done"

    @property
    def _replaces(self) -> bool:
        return self.order.mode == "replace"

    def prepare(self) -> None:
        """Make the place for this plan's parts; what an older plan of the sync left is removed."""
        if not self._replaces:
            return
        with _translated(OURS), self.root.below([OURS], create=True) as ours:
            mine = self._done.removesuffix(".done") + "-"
            for name in ours.names():
                if name.startswith(mine) and name != self._waiting:
                    ours.remove(name)

    def applied(self, number: int) -> bool | None:
        return None

    def write(self, batch: Batch) -> Outcomes:
        assert batch.verb == "append", f"{batch.verb} is no verb of a file"
        if not len(batch):
            return batch.delivered()
        table = batch.table.select(self.order.schema.names).cast(self.order.schema)
        try:
            rows = self.format.prepared(table)
        except Refused as error:
            return batch.refused(error.reason, code=error.code)
        place = (OURS, self._waiting) if self._replaces else self.parts
        if self._replaces:
            name = f"part-{batch.sequence:012d}.{self.format.extension}"
        else:
            name = f"part-{self._fingerprint}-{batch.number:06d}.{self.format.extension}"
        with _translated(f"{'/'.join(place)}/{name}"), self.root.below(place, create=True) as folder:
            folder.write(name, lambda file: self.format.write(rows, file))
        # a part is a file of its own, and the same again when it is sent again; a swap compares nothing
        return batch.delivered(effects=UNTOLD if self._replaces else Effects.all("created"))

    def finish(self) -> None:
        if not self._replaces:
            return
        *folders, last = self.parts
        name = f"{last}.{self.format.extension}"
        with _translated(name), self.root.below([OURS], create=True) as ours:
            if self._finished(ours):
                ours.remove(self._waiting)
                return
            with ours.below([self._waiting], create=True) as waiting:
                found = [part for part in waiting.names() if not part.endswith(".partial")]
                with self.root.below(folders, create=True) as place:
                    place.write(name, lambda file: self._join(waiting, found, file))
            ours.write(self._done, lambda file: cast("None", file.write(self._fingerprint.encode())))
            ours.remove(self._waiting)

    def _finished(self, ours: Folder) -> bool:
        """Was this plan swapped in already?"""
        try:
            with ours.read(self._done) as file:
                return file.read(100) == self._fingerprint.encode()
        except FileNotFoundError:
            return False

    def _join(self, waiting: Folder, names: Sequence[str], file: IO[bytes]) -> None:
        with contextlib.ExitStack() as stack:
            opened = (stack.enter_context(waiting.read(name)) for name in names)
            self.format.join(opened, self.format.prepared(self.order.schema.empty_table()), file)

    def close(self) -> None:
        """Twice does no harm: the number of a closed descriptor may already be somebody else's."""
        if not self._closed:
            self._closed = True
            os.close(self.root.descriptor)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class FilesDestination:
    """Fulfils `levada.destination.TableDestination`."""

    name: str
    folder: Path
    format: Format

    @property
    def spec(self) -> DestinationSpec:
        limits = Limits(records_per_request=RECORDS_PER_BATCH, concurrent_requests=1)
        return DestinationSpec("files", TITLE, DOCS, limits, classes={"append": "A"}, replaces=True, skips_nulls=False)

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.spec.limits

    def check(self) -> None:
        there = self.folder if self.folder.exists() else next(p for p in self.folder.parents if p.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise AccessError(f"{there} is no folder that can be written to", code="access.permission")

    def describe(self, object_name: str, wanted: pa.Schema | None = None, match: Sequence[str] = ()) -> ObjectSpec:
        """Any fields are taken, of any type that the format holds; ConfigError names the first that it does not."""
        object_parts(object_name, self.format.extension)
        fields = []
        for mapped in wanted or ():
            reason = unfit(self.format, mapped)
            if reason:
                raise ConfigError(
                    f"{object_name}: {reason}",
                    code="destination.type",
                    hint="change the type in the model or with {sql: …}, for instance to text",
                )
            limits = ValueLimits(
                nonfinite=self.format.nonfinite(mapped.type),
                any_date=self.format.any_date,
                decimal_unlimited=self.format.any_number,
                nul_character=True,
            )
            fields.append(FieldSpec(mapped.name, "any", str(mapped.type), limits=limits))
        return ObjectSpec(object_name, tuple(fields), open=True, verbs=("append",))

    def place(self, object_name: str) -> str:
        """See `levada.proof.Placed`."""
        parts = object_parts(object_name, self.format.extension)
        return f"files {self.folder.resolve().joinpath(*parts)}.{self.format.extension}"

    def proof(self, order: WriteOrder, sample: pa.Table) -> Proof:
        """Files are taken away by whoever they are for: only in mode replace does the object have to be there. The
        destination's own folder has to, in every mode."""
        parts = object_parts(order.object, self.format.extension)
        there = self.folder.is_dir()
        if order.mode == "replace":
            there = self.folder.joinpath(*parts[:-1], f"{parts[-1]}.{self.format.extension}").is_file()
        return Proof(there, empty=not there)

    def open(self, order: WriteOrder) -> FilesWriter:
        parts = object_parts(order.object, self.format.extension)
        self.describe(order.object, order.schema)
        with _translated(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
            root = Folder(os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY))
        writer = FilesWriter(root, order, self.format, parts)
        try:
            writer.prepare()
        except BaseException:
            writer.close()
            raise
        return writer


def open_files(name: str, options: FilesOptions, surroundings: Surroundings) -> FilesDestination:
    form = FORMATS[options.format](options.escape_formulas)
    return FilesDestination(name, surroundings.root / options.path, form)


TYPE = DestinationType("files", TITLE, DOCS, FilesOptions, open_files)
