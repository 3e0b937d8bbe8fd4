"""A user's own destination: one decorated function.

    from levada import destination

    @destination(records_per_request=50)
    def loyalty(batch):
        answer = yield batch.post("https://loyalty.example.com/members", json=batch.records)
        return batch.delivered() if answer.ok else batch.refused(answer.text)

A generator function yields requests and receives answers; delivery sends, waits and repeats. A plain function
does all of its work itself, and having returned means that the records were delivered.

The function is code of the user's, in the process of Levada and with all its rights: whoever may edit it is as
trusted as whoever installed Levada. Nothing here is a boundary against it.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final, overload

from pydantic import Field

from levada.batch import Batch
from levada.change import Verb
from levada.destination import (
    Auth,
    DeliveryClass,
    DestinationSpec,
    DestinationType,
    Found,
    ObjectSpec,
    Request,
    Response,
    Surroundings,
    Talk,
)
from levada.destinations.auth import auth_from
from levada.destinations.signing import AuthDeclaration
from levada.errors import ConfigError, DestinationError, LevadaError
from levada.limits import Limits
from levada.mapping import digest
from levada.model import Declaration, Takes
from levada.outcome import FUNCTION_FAILED, Outcome, Outcomes, shortened
from levada.template import json_bytes

DOCS: Final = "docs/guides/your-own-destination.md"
DEFAULT_VERBS: Final[tuple[Verb, ...]] = ("upsert", "append")


@dataclass(frozen=True, slots=True)
class PythonBatch(Batch):
    """A batch with words for requests. Paths are below the destination's base URL; values in `json` stay exact."""

    #: what the destination's file says under `options`
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, batch: Batch, options: Mapping[str, str]) -> PythonBatch:
        return cls(**{each.name: getattr(batch, each.name) for each in fields(Batch)}, options=options)

    def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        safe: bool = False,
        after_seconds: float = 0.0,
    ) -> Request:
        """A request to be yielded. `json` is the body as Python values: decimals and instants as they are."""
        sent = dict(headers or {})
        if json is not None:
            body = json_bytes(json)
            sent.setdefault("Content-Type", "application/json")
        return Request(method, url, sent, body, dict(query or {}), safe=safe, after_seconds=after_seconds)

    def get(self, url: str, **more: Any) -> Request:
        """A question, which may be repeated at will."""
        return self.request("GET", url, safe=True, **more)

    def post(self, url: str, **more: Any) -> Request:
        return self.request("POST", url, **more)

    def put(self, url: str, **more: Any) -> Request:
        return self.request("PUT", url, **more)

    def patch(self, url: str, **more: Any) -> Request:
        return self.request("PATCH", url, **more)

    def delete(self, url: str, **more: Any) -> Request:
        return self.request("DELETE", url, **more)


@dataclass(frozen=True, slots=True)
class PythonDestination:
    """Fulfils `levada.destination.Destination` with a function."""

    function: Callable[[PythonBatch], Any]
    name: str
    spec: DestinationSpec
    verbs: tuple[Verb, ...] = DEFAULT_VERBS
    base_url: str = ""
    auth: Auth | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __call__(self, batch: Batch) -> Any:
        """The function itself, for tests by hand."""
        return self.function(PythonBatch.of(batch, self.options))

    def describe(self, object_name: str) -> Talk[ObjectSpec]:
        yield from ()
        return ObjectSpec(object_name, open=True, verbs=self.verbs)

    def check(self) -> Talk[None]:
        yield from ()

    def template(self, object_name: str, verb: Verb) -> None:
        """The function reads the batch itself."""

    def limits(self, object_name: str, verb: Verb) -> Limits:
        return self.spec.limits

    def deliver(self, batch: Batch) -> Talk[Outcomes]:
        """Hold the function's conversation.

        An error before its first request means that nothing was sent. Later, or in a plain function, nobody knows
        what was done: the records are unknown. Either has the code FUNCTION_FAILED: trying again would not help.
        """
        asked = 0
        talk: Generator[object, Response, object] | None = None
        answer: Response | None = None
        while True:
            try:
                if talk is None:
                    result = self(batch)
                    if not isinstance(result, Generator):
                        return self._outcomes(result, batch, generator=False)
                    talk = result
                try:
                    request = self._request(next(talk) if answer is None else talk.send(answer))
                except StopIteration as stop:
                    return self._outcomes(stop.value, batch, generator=True)
            except LevadaError:
                raise
            except OSError as error:
                if not inspect.isgeneratorfunction(self.function):
                    # a plain function's own network may come back
                    return batch.unknown(f"{self.name}: {_words(error)}")
                return self._failed(batch, error, sent=asked > 0)
            except BaseException as error:  # noqa: BLE001 - whatever a user's function raises, sys.exit() too
                return self._failed(batch, error, sent=asked > 0 or not inspect.isgeneratorfunction(self.function))
            asked += 1
            answer = yield request

    def _failed(self, batch: Batch, error: BaseException, *, sent: bool) -> Outcomes:
        reason = f"{self.name}: {type(error).__name__} in the function: {_words(error)}"
        return Outcomes(Outcome("unknown" if sent else "not_applied", shortened(reason), FUNCTION_FAILED))

    def look_up(self, batch: Batch) -> Talk[Found]:
        yield from ()
        raise DestinationError(f"{self.name}: a function has no look-up", code="destination.no_look_up")

    def _request(self, request: object) -> Request:
        if not isinstance(request, Request):
            raise TypeError(f"yields {type(request).__name__}, not a request such as batch.post(…)")
        return request

    def _outcomes(self, value: object, batch: Batch, *, generator: bool) -> Outcomes:
        if isinstance(value, Outcomes):
            return value
        if value is None and not generator:
            return batch.delivered()
        return batch.unknown(f"{self.name}: the function returned no outcomes; return batch.delivered()")


Decorator = Callable[[Callable[[Any], Any]], PythonDestination]


@overload
def destination(function: Callable[[Any], Any], /) -> PythonDestination: ...


@overload
def destination(
    *,
    records_per_request: int = 1,
    class_: DeliveryClass = "D",
    verbs: Sequence[Verb] = DEFAULT_VERBS,
    name: str | None = None,
    title: str = "",
    docs: str = "",
    base_url: str = "",
    auth: Mapping[str, Any] | None = None,
    max_server_seconds: float = 60.0,
    timeout_seconds: float = 60.0,
    **limits: Any,
) -> Decorator: ...


def destination(
    function: Callable[[Any], Any] | None = None,
    /,
    *,
    records_per_request: int = 1,
    class_: DeliveryClass = "D",
    verbs: Sequence[Verb] = DEFAULT_VERBS,
    name: str | None = None,
    title: str = "",
    docs: str = "",
    base_url: str = "",
    auth: Mapping[str, Any] | None = None,
    max_server_seconds: float = 60.0,
    timeout_seconds: float = 60.0,
    **limits: Any,
) -> PythonDestination | Decorator:
    """Make a function a destination. `limits`: requests_per_second and the other words of `levada.limits.Limits`.

    `class_` says what may be done after an answer was lost: "A" if sending again is harmless. `auth` is written
    as in a file: `{"bearer": token}`.
    """

    def decorate(decorated: Callable[[Any], Any]) -> PythonDestination:
        own_name: str = name if name is not None else str(getattr(decorated, "__name__", "function"))
        text = inspect.getdoc(decorated) or ""
        spec = DestinationSpec(
            f"python:{own_name}",
            title or (text.splitlines()[0] if text else own_name),
            docs or DOCS,
            limits=Limits(records_per_request=records_per_request, **limits),
            classes=dict.fromkeys(verbs, class_),
            max_server_seconds=max_server_seconds,
            timeout_seconds=timeout_seconds,
            skips_nulls=False,
        )
        signed = auth_from(None if auth is None else AuthDeclaration.model_validate(auth))
        return PythonDestination(decorated, own_name, spec, tuple(verbs), base_url, signed)

    return decorate if function is None else decorate(function)


class PythonOptions(Declaration):
    """A function in a file of the project."""

    function: Annotated[
        str,
        Field(pattern=r"^[^:]+\.py:[A-Za-z_][A-Za-z0-9_]*$"),
        Takes("FILE.py:FUNCTION", "for example connectors/loyalty.py:loyalty"),
    ]
    """The file, relative to the project's folder, and the name of a decorated function in it."""
    options: dict[str, str] = Field(default_factory=dict, repr=False)
    """What the function finds in `batch.options`."""
    base_url: str | None = None
    """Where the paths of its requests begin; the decorator's if absent."""
    auth: AuthDeclaration | None = None
    """How its requests are signed; the decorator's if absent."""
    limits: Limits | None = None
    """How much may be sent, and how fast; the decorator's if absent."""


def open_python(name: str, options: PythonOptions, surroundings: Surroundings) -> PythonDestination:
    """Import the file and find the function. Raises ConfigError where either is not there."""
    text, _, function = options.function.rpartition(":")
    found = getattr(_module(surroundings.root, text), function, None)
    if not isinstance(found, PythonDestination):
        raise ConfigError(
            f"{text} has no destination named {function}",
            code="config.function",
            hint="decorate the function with @destination, from levada import destination",
        )
    spec = replace(found.spec, type=f"python:{name}")
    if options.limits is not None:
        changed = {key: getattr(options.limits, key) for key in options.limits.model_fields_set}
        spec = replace(spec, limits=spec.limits.model_copy(update=changed))
    signed = found.auth if options.auth is None and not options.options else _signed(options, found.auth)
    base_url = found.base_url if options.base_url is None else options.base_url
    return replace(found, name=name, spec=spec, base_url=base_url, auth=signed, options=options.options)


def _signed(options: PythonOptions, own: Auth | None) -> Auth | None:
    """The file's auth; every value under `options` counts as a secret, since nobody says which is."""
    if options.auth is None and own is not None:
        return own
    return auth_from(options.auth, tuple(options.options.values()))


def _words(error: BaseException) -> str:
    """What an error of somebody's own class says; its `__str__` is their code, too."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - as above
        return "(it cannot be put into words)"


def _module(root: Path, text: str) -> ModuleType:
    path = (root / text).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ConfigError(
            f"{text} is outside the project's folder", code="config.function", hint="keep connectors in the project"
        )
    if not path.is_file():
        raise ConfigError(
            f"there is no file {text}", code="config.function", hint="paths begin at the project's folder"
        )
    name = f"levada_project_{path.stem}_{digest([str(path)])}"
    module_spec = importlib.util.spec_from_file_location(name, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[name] = module
    try:
        module_spec.loader.exec_module(module)
    except BaseException as error:  # sys.exit() in a file of theirs ends no process of ours
        del sys.modules[name]
        raise ConfigError(
            f"{text} cannot be imported: {type(error).__name__}: {_words(error)}",
            code="config.function",
            hint="run it by itself",
        ) from error
    return module


TYPE = DestinationType("python", "Python function", DOCS, PythonOptions, open_python)
