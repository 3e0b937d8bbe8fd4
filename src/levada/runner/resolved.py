"""A sync whose two ends are brought together, as it travels through the use cases. `resolve` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from levada.change import Kind, Verb
from levada.destination import DeliveryClass, Destination, ObjectSpec, TableDestination
from levada.guard import GuardDeclaration
from levada.mapping import Mapping as FieldMappings
from levada.model import Model
from levada.planner import KindPolicy, Planner
from levada.source import Source
from levada.sync import Sync


@dataclass(frozen=True, slots=True)
class Drift:
    """The columns now, and how they differ from those of the last run; nothing differs before a first run."""

    now: Mapping[str, str] = field(default_factory=dict)
    new: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    #: by name: the type before, the type now
    retyped: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A sync that is ready to be planned."""

    name: str
    sync: Sync
    model_name: str
    model: Model
    source: Source
    planner: Planner
    destination: Destination | TableDestination
    object_spec: ObjectSpec
    mapping: FieldMappings
    verbs: Mapping[Kind, Verb]
    policy: KindPolicy
    guard: GuardDeclaration
    #: the mapped fields as Arrow types, in order: what a table destination is opened with
    schema: pa.Schema
    notices: tuple[str, ...] = field(default=())
    #: how the model's columns differ from those of the last run
    drift: Drift = Drift()
    #: columns of the model that came after the first run, and that the destination has no field for
    left_out: tuple[str, ...] = ()

    def delivery_class(self, kind: Kind) -> DeliveryClass:
        """What may be done after the answer to a change of this kind was lost."""
        return self.destination.spec.delivery_class(self.sync.object, self.verbs[kind])
