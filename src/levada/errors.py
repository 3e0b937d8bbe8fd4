"""Every error that Levada raises on purpose, as one tree cut by who must act.

    LevadaError
    ├── ConfigError            the project's files are wrong: whoever edits them
    ├── AccessError            a credential or a permission is missing or wrong: whoever holds it
    ├── SourceError            the warehouse did not answer a read in full
    │   └── UnreachableError   it cannot be reached
    ├── DestinationError       the tool did not take what it was sent
    │   ├── AuthError          its credential is refused
    │   ├── ThrottledError     it asks for more time than a run may wait
    │   └── UnavailableError   it cannot be reached, or answers as one that is down
    │       └── FullError      it has no room left
    ├── StoreError             Levada's own state cannot be read or written
    │   ├── BusyError          another process runs this sync
    │   ├── FencedError        another process took this sync over
    │   └── CorruptedError     a file or row of the state is not what was written
    └── StoppedError           somebody asked the process to stop: nobody

A refused record is a value (`levada.outcome`), not an error. A bug is an assertion.
Each error has a stable `code`; `docs/reference/errors.md` has a section for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file of the project. `line` and `column` count from 1; 0 means: the file as a whole."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class LevadaError(Exception):
    """What happened (`message`, one line), where (`where`), and what to do (`hint`)."""

    #: stable identifier of the kind of error; subclasses and raisers narrow it: "config.unknown_key"
    code: str = "error"
    #: the exit code of a command that ends with this error (see docs/reference/exit-codes.md)
    exit_code: int = 1

    def __init__(
        self, message: str, *, code: str | None = None, where: Where | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\nhint: {self.hint}" if self.hint else text

    def as_dict(self) -> dict[str, object]:
        """The error as `--json` and the API show it."""
        return {
            "code": self.code,
            "message": self.message,
            "where": str(self.where) if self.where else None,
            "hint": self.hint,
        }


class ConfigError(LevadaError):
    code = "config"
    exit_code = 2
    #: keys that lead to the place within a file, where whoever raises does not know the file
    path: tuple[str | int, ...] = ()


class ConfigErrors(ConfigError):
    """Several configuration errors found in one reading; `errors` holds each."""

    def __init__(self, errors: list[ConfigError]) -> None:
        first = errors[0]
        super().__init__(first.message, code=first.code, where=first.where, hint=first.hint)
        self.errors = errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


class AccessError(LevadaError):
    code = "access"
    exit_code = 2


class SourceError(LevadaError):
    code = "source"
    exit_code = 1
    #: how many characters of the query stand before what is wrong in it; None where the warehouse does not tell
    offset: int | None = None


class UnreachableError(SourceError):
    """The warehouse cannot be reached: nobody has to change a file, the next run tries again."""

    code = "source.unreachable"
    exit_code = 5


class DestinationError(LevadaError):
    code = "destination"
    exit_code = 2


class AuthError(DestinationError):
    code = "destination.auth"


class ThrottledError(DestinationError):
    """`retry_after_seconds`: how long the destination asked to be left alone."""

    code = "destination.throttled"
    exit_code = 5

    def __init__(self, message: str, *, retry_after_seconds: float, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class UnavailableError(DestinationError):
    code = "destination.unavailable"
    exit_code = 5


class FullError(UnavailableError):
    """The destination has no room left: waiting does not help, somebody has to make room."""

    code = "destination.full"


class StoreError(LevadaError):
    code = "store"
    exit_code = 2


class BusyError(StoreError):
    """`run_id` is the run that holds the sync, if one was already created."""

    code = "store.busy"
    exit_code = 5

    def __init__(
        self, message: str, *, run_id: str | None = None, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        self.run_id = run_id


class FencedError(StoreError):
    code = "store.fenced"
    exit_code = 5


class CorruptedError(StoreError):
    code = "store.corrupted"


class StoppedError(LevadaError):
    """What computed was ended by Ctrl-C, SIGTERM or `Project.stop`; nothing was sent."""

    code = "stopped"
    exit_code = 130

    def __init__(self, message: str = "stopped before anything was sent") -> None:
        super().__init__(message)
