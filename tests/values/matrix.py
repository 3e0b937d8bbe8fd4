"""One source into one destination, through the whole engine, and the judgement of each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from levada import Project
from levada_process import write
from values.kinds import Kind, Row
from values.warehouses import Warehouse
from values.witnesses import WITNESSES, Addresses, Held, Witness, declared_http

EMBEDDED = ("http", "webhook", "lines", "object")
"""Where a document is JSON among JSON."""
GUARD = "guard: {removed_max: none, changed_max: none, nulls_max: none, invalid_max: none}\n"


@dataclass(slots=True)
class Tally:
    """What became of the values. `wrong`: a sentence for each value that is neither exact nor refused by name."""

    exact: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)
    #: by (kind, destination): the codes of refusals
    codes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    #: by (kind, destination): the types in which a reader found values
    forms: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def values(self) -> int:
        return self.exact + self.refused

    def add(self, other: Tally) -> None:
        self.exact += other.exact
        self.refused += other.refused
        self.wrong += other.wrong
        self.codes.update(other.codes)
        self.forms.update(other.forms)

    @property
    def sentence(self) -> str:
        return (
            f"{self.values:,} values, {self.exact:,} exact, {self.refused:,} rejected by name, "
            f"{len(self.wrong):,} changed in silence"
        )


def lay_out(
    folder: Path,
    warehouse: Warehouse,
    addresses: Addresses,
    kinds: Sequence[Kind],
    witnesses: Mapping[str, Witness] = WITNESSES,
) -> None:
    """A project of one model and a sync to each destination, named as the destination."""
    places = {"postgres": addresses.postgres, "mysql": addresses.mysql, "tape": addresses.tape.url}
    table = table_of(warehouse)
    files = {
        "levada.yml": "name: values\n",
        "postgres.url": addresses.postgres,
        "sources/warehouse.yml": warehouse.declaration.format(**places),
        "models/values.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from model\n",
    }
    for name, witness in witnesses.items():
        declaration = witness.declaration or declared_http([table])
        files[f"destinations/{name}.yml"] = declaration.format(**places)
        fields = "".join(f"  {kind.name}: {kind.name}\n" for kind in kinds if witness.takes(kind))
        files[f"syncs/to_{name}.yml"] = (
            f"model: values\nto: {name}.{table}\nmode: {witness.mode}\n{GUARD}fields:\n  id: id\n{fields}"
        )
    write(folder, files)


def table_of(warehouse: Warehouse) -> str:
    return f"from_{warehouse.name}"


def refusals(project: Project, sync: str) -> dict[int, tuple[str, str, str]]:
    """By id: outcome, code, and field with the reason, of all records that did not arrive."""
    return {
        int(record.key): (record.outcome, record.code, f"{record.field} {record.reason}")
        for record in project.records(sync)
        if record.outcome != "delivered"
    }


def judge(
    witness: Witness,
    kinds: Sequence[Kind],
    rows: Sequence[Row],
    held: Held,
    refused: Mapping[int, tuple[str, str, str]],
) -> Tally:
    """Is every value exact, or its record refused with the name of the column whose value is odd?"""
    tally = Tally()
    taken = [kind for kind in kinds if witness.takes(kind)]
    for row in rows:
        if row.id in refused:
            _judge_refusal(tally, witness, row, held, refused[row.id])
        elif row.id not in held:
            tally.wrong.append(f"{witness.name}: record {row.id} is nowhere, and nobody said so")
        else:
            for kind in taken:
                _judge_value(tally, witness, kind, row, held[row.id][kind.name])
    strange = set(held) - {row.id for row in rows}
    tally.wrong += [f"{witness.name}: {strange} came from nowhere"] if strange else []
    return tally


def _judge_refusal(tally: Tally, witness: Witness, row: Row, held: Held, why: tuple[str, str, str]) -> None:
    outcome, code, said = why
    where = f"{witness.name}: record {row.id}, {row.odd} = {row.values.get(row.odd or '')!r:.90}"
    if row.id in held:
        tally.wrong.append(f"{where}: said to be {outcome}, and is there")
    elif row.odd is None:
        tally.wrong.append(f"{where}: refused without need: {outcome} {code} {said}")
    elif row.odd not in said or outcome not in ("invalid", "rejected"):
        tally.wrong.append(f"{where}: {outcome}, but not by the column's name: {code} {said}")
    else:
        tally.refused += 1
        tally.codes[row.odd, witness.name, code] += 1


def _judge_value(tally: Tally, witness: Witness, kind: Kind, row: Row, got: Any) -> None:
    wanted = row.values[kind.name]
    try:
        if wanted is None or (
            kind.name == "document" and wanted == "null" and witness.name in ("http", "webhook", "lines", "object")
        ):
            # JSON has one word for a document that is null and for none
            exact = got is None
        else:
            exact = got is not None and kind.same(wanted, got)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        tally.wrong.append(f"{witness.name}: record {row.id}, {kind.name} = {wanted!r:.90}: {got!r:.90} ({error})")
        return
    if exact:
        tally.exact += 1
        if got is not None:
            tally.forms[kind.name, witness.name, type(got).__name__] += 1
    else:
        tally.wrong.append(f"{witness.name}: record {row.id}, {kind.name} = {wanted!r:.90}: {got!r:.90}")
