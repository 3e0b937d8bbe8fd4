"""What stands beside a plan so that another process can deliver it: where it goes, and in which words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from levada.change import Kind, Verb
from levada.delivery.order import DeliveryOrder
from levada.durable import read_document, write_document
from levada.errors import CorruptedError
from levada.mapping import FieldMapping
from levada.mapping import Mapping as FieldMappings
from levada.plan import Plan
from levada.planner import Ledger
from levada.planners import files
from levada.planners.local import read_recipe
from levada.runner.resolved import Resolved

ORDER_FILE = "order.json"


def ordered(resolved: Resolved, run_id: str, plan: Plan, folder: Path, verbs: Mapping[Kind, Verb]) -> DeliveryOrder:
    """What delivery is asked to do with a plan of this sync."""
    return DeliveryOrder(
        sync=resolved.name,
        run_id=run_id,
        plan=plan,
        folder=folder,
        mapping=resolved.mapping,
        object=resolved.sync.object,
        verbs=verbs,
        mode=resolved.sync.mode,
        removal=resolved.sync.removal,
        repeats=resolved.sync.delivery,
        adopt=resolved.sync.adopt,
    )


def write_order(order: DeliveryOrder, destination: str, schema: pa.Schema) -> None:
    """Keep an order in its plan's folder, durably. `schema` has the types to be written."""
    document = {
        "plan_id": order.plan.plan_id,
        "destination": destination,
        "object": order.object,
        "verbs": dict(order.verbs),
        "mode": order.mode,
        "removal": order.removal,
        "repeats": order.repeats,
        "in_doubt": order.in_doubt,
        "looks_first": order.looks_first,
        "adopt": order.adopt,
        "nulls": order.mapping.nulls,
        "natives": {f.field: f.native for f in order.mapping.fields if f.native},
        "only_if_empty": [f.field for f in order.mapping.fields if f.only_if_empty],
        "schema": schema.serialize().to_pybytes().hex(),
    }
    write_document(order.folder / ORDER_FILE, document)


def verify(plan: Plan, folder: Path, ledger: Ledger) -> None:
    """Read through all that another process left behind and a run needs to its end. Raises CorruptedError for what is
    not as written: found after the run has sent, it would be too late."""
    read_recipe(plan, folder)
    for file in plan.files.values():
        files.verify(folder, file, files.PLANS)
    for segment in ledger.segments:
        files.verify(ledger.folder, segment.file, "the ledger's file")


def read_order(sync: str, run_id: str, plan: Plan, folder: Path) -> tuple[DeliveryOrder, str, pa.Schema]:
    """The order of a plan, its destination's name, and the types. Raises CorruptedError if it cannot be read."""
    path = folder / ORDER_FILE
    try:
        document = read_document(path)
        if document["plan_id"] != plan.plan_id:
            raise ValueError(f"it belongs to the plan {document['plan_id']}")
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(document["schema"])))
    except (OSError, ValueError, KeyError) as error:
        raise CorruptedError(
            f"{path} cannot be read: {error}",
            code="store.plan_corrupted",
            hint=f"`levada run {sync} --discard-plan` drops the plan and compares anew",
        ) from error
    natives = document["natives"]
    if_empty = set(document["only_if_empty"])
    fields = tuple(
        FieldMapping(name, "column", name, native=natives.get(name, ""), only_if_empty=name in if_empty)
        for name in plan.fields
    )
    order = DeliveryOrder(
        sync=sync,
        run_id=run_id,
        plan=plan,
        folder=folder,
        mapping=FieldMappings(fields, plan.match, document["nulls"]),
        object=document["object"],
        verbs=document["verbs"],
        mode=document["mode"],
        removal=document["removal"],
        repeats=document["repeats"],
        in_doubt=document.get("in_doubt", False),
        looks_first=document.get("looks_first", False),
        adopt=document.get("adopt", True),
    )
    return order, document["destination"], schema
