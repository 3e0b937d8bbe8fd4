"""What a conformance test is given, as benches: a connector's file, a function in a file, or a destination itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final, cast, get_args

from levada.change import Verb
from levada.destination import Destination, ObjectSpec, Surroundings
from levada.destinations.cases import run_cases
from levada.destinations.connectors import opened, read_connector, stand_ins
from levada.destinations.declared import DeclaredDestination
from levada.destinations.language import HttpOptions
from levada.destinations.python import PythonOptions, open_python
from levada.errors import ConfigError
from levada.testing.destination_bench import ConnectorBench, held
from levada.testing.stand_in import StandIn

STEPS_MAX: Final = 8
"""So many folders above the test file are looked into."""
OBJECT: Final = "records"
RECORDS: Final = tuple({"number": f"R-{n}", "name": f"Name {n}", "visits": n} for n in range(5))
FACTS: Final = frozenset(each.name for each in fields(ConnectorBench)) - {"destination", "tool", "connector", "cases"}


def benches_of(
    given: str | ConnectorBench | Destination, beside: Path, facts: Mapping[str, Any]
) -> list[ConnectorBench]:
    """A bench for each verb of each object. Raises ConfigError for what cannot be found or opened."""
    strange = sorted(set(facts) - FACTS)
    if strange:
        raise ConfigError(
            f"conformance takes no {', '.join(strange)}",
            code="config.unknown_key",
            hint=f"it takes {', '.join(sorted(FACTS))}",
        )
    if isinstance(given, ConnectorBench):
        return [replace(given, **facts)]
    if isinstance(given, str):
        name, _, function = given.partition(".py:")
        if function:
            path = found_near(f"{name}.py", beside)
            root = path.parents[len(Path(f"{name}.py").parts) - 1]
            options = PythonOptions(function=given)
            return _of_destination(open_python(function, options, Surroundings(root)), facts)
        path = found_near(given, beside)
        return _of_connector(path, facts)
    return _of_destination(given, facts)


def found_near(name: str, beside: Path) -> Path:
    """A file beside the test file, or in a folder above it. Raises ConfigError."""
    for folder in list(beside.resolve().parents)[:STEPS_MAX]:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"there is no {name} beside {beside.name} or in the folders above it",
        code="config.no_file",
        hint="name the connector's file as seen from the project's folder: connectors/acme_erp.yml",
    )


def _of_connector(path: Path, facts: Mapping[str, Any]) -> list[ConnectorBench]:
    connector, positions = read_connector(path)
    # a stand-in as long as a secret, so that it can be told from a word
    given = {
        **stand_ins(connector),
        **{name: f"secret-{name}-0123456789" for name, each in connector.options.items() if each.secret},
    }
    destination = opened(path.stem, path.stem, connector, given)
    cases = run_cases(path.stem, connector, positions.at)
    bench = ConnectorBench(
        destination,
        "",
        "upsert",
        (),
        (),
        connector=connector,
        cases=cases,
        secrets=tuple(str(given[name]) for name, each in connector.options.items() if each.secret),
    )
    return _declared(destination, bench, facts)


def _declared(
    destination: DeclaredDestination, shared: ConnectorBench, facts: Mapping[str, Any]
) -> list[ConnectorBench]:
    """A bench for each verb of each object that is declared."""
    made = [
        replace(_stood_in(destination, object_name, verb, shared), **facts)
        for object_name, verb in _declared_verbs(destination.options)
        if facts.get("object", object_name) == object_name and facts.get("verb", verb) == verb
    ]
    if not made:
        raise ConfigError(f"{destination.name} declares no such verb of an object", code="config.no_verb")
    return made


def _declared_verbs(connector: HttpOptions) -> list[tuple[str, Verb]]:
    verbs = cast("tuple[Verb, ...]", get_args(Verb))
    return [
        (object_name, verb)
        for object_name in connector.objects
        for verb in verbs
        if connector.action(object_name, verb) is not None
    ]


def _stood_in(destination: DeclaredDestination, object_name: str, verb: Verb, shared: ConnectorBench) -> ConnectorBench:
    """A bench whose tool answers as the file says."""
    tool = StandIn(destination, object_name, verb)
    (name, *_) = match = tool.match()
    return replace(
        shared,
        object=object_name,
        verb=verb,
        records=tool.records(),
        match=match,
        by_name=tool.by_name,
        by_value=tool.by_value,
        reads_answers=tool.reads_answers,
        counts_taken=tool.counts_taken,
        describes=tool.describes,
        empty_is_taken=tool.reading.empty_is == "delivered",
        identifier=(lambda record: f"id-{record[name]}") if tool.identifies else None,
        null_is_empty=tool.action.encoding in ("csv", "form"),
        tool=tool,
    )


def _of_destination(destination: Destination, facts: Mapping[str, Any]) -> list[ConnectorBench]:
    if isinstance(destination, DeclaredDestination):
        return _declared(destination, ConnectorBench(destination, "", "upsert", (), ()), facts)
    object_name = facts.get("object", OBJECT)
    bench = ConnectorBench(
        destination, object_name, "upsert", facts.get("records", RECORDS), facts.get("match", ("number",))
    )
    bench = replace(bench, **facts)
    described: ObjectSpec = held(destination.describe(object_name), bench.describes)[0]
    verbs = (facts["verb"],) if "verb" in facts else described.verbs
    return [replace(bench, verb=verb) for verb in verbs]
