"""The tool's own ids in records that were rendered before the ids were known.

Delivery renders a batch in columns; an id that a look-up brings afterwards is put into the texts here, one record at a
time, which only records without an id in the ledger cost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from levada.batch import Batch
from levada.destinations.request_maker import Values, record_of
from levada.template import Embedded, Items, Members, Node, Placeholder, Text, json_text, placeholders

OWN_ID = Placeholder("destination_id")


def names_identifier(node: Node | None) -> bool:
    return node is not None and OWN_ID in placeholders(node)


def identified(part: Batch, found: Mapping[int, str], start: int) -> Batch:
    """A part of a batch with the ids that a look-up found; `found` is by index of the whole."""
    known = part.identifiers.to_pylist() if part.identifiers is not None else [None] * len(part)
    merged = [known[index] or found.get(start + index) for index in range(len(part))]
    return replace(part, identifiers=pa.array(merged, pa.string()))


def filled(batch: Batch, template: Node | None) -> Batch:
    """The same batch, with its ids also in the records that were rendered without."""
    if template is None or batch.identifiers is None or batch.rendered is None or not names_identifier(template):
        return batch
    suspects: set[int] = set()
    for text in _without(template):
        held: Any = pc.match_substring(batch.rendered, text) if text else pa.array([True] * len(batch))
        suspects.update(pc.indices_nonzero(held).to_pylist())
    if not suspects:
        return batch
    texts: list[Any] = batch.rendered.to_pylist()
    for index in sorted(suspects):
        value = json.loads(texts[index], parse_float=Embedded, parse_int=Embedded)
        texts[index] = json_text(_filled(template, value, Values(record_of(batch, index))))
    return replace(batch, rendered=pa.array(texts, pa.string()), packed=None)


def _without(node: Node) -> set[str]:
    """Texts of which every record that lacks its id holds one; an empty one stands for any record."""
    match node:
        case Placeholder():
            return {"null"} if node == OWN_ID else set()
        case Text(parts) if OWN_ID in parts:
            others = any(isinstance(part, Placeholder) and part != OWN_ID for part in parts)
            return {""} if others else {json_text("".join(part for part in parts if isinstance(part, str)))}
        case Members(members):
            return {text for _, each in members for text in _without(each)}
        case Items(items):
            return {text for each in items for text in _without(each)}
    return set()


def _filled(node: Node, value: Any, values: Values) -> Any:
    match node:
        case Placeholder():
            return values.of(node) if node == OWN_ID else value
        case Text(parts):
            return values.text(node) if OWN_ID in parts else value
        case Members(members) if isinstance(value, dict):
            nodes = dict(members)
            return {name: _filled(nodes[name], each, values) if name in nodes else each for name, each in value.items()}
        case Items(items) if isinstance(value, list):
            return [_filled(node, each, values) for node, each in zip(items, value, strict=True)]
    return value
