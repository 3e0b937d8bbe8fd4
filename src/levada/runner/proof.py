"""Holds a sync to the table that its ledger speaks of: one that is gone, made anew, emptied or put back is another.

At each run the destination is asked what it is, before anything is sent: is the object there, is it the same table, do
the marks of the last plan lie beside it, are some of the ledger's records in it? What it was when the last run ended
is a fact of the store. A ledger that holds nothing, or is not trusted anyway, needs no proof.

What is not proved: that nobody changed a record (drift).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from levada.delivery.order import DeliveryOrder, owner_of
from levada.destination import Destination, TableDestination, WriteOrder
from levada.errors import AccessError, ConfigError, LevadaError, UnavailableError
from levada.plan import Plan
from levada.planner import Ledger
from levada.planners.witnesses import witnesses
from levada.proof import Proof, Provable
from levada.runner.order_file import read_order
from levada.runner.unremembered import still_unremembered, unremembered
from levada.store import Lease, RunRecord
from levada.sync import Mode, Removal
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.resolved import Resolved
    from levada.runner.world import World

MEMORY = "proof"
CODE = "destination.not_the_one"
RECORDS = 100
"""So many of the ledger's records are looked for."""
PLANS_MAX = 8
FEWER = 0.5
"""It is another table if less than this share of the records is there that was there before."""
GONE = "is gone"
TAKEN_AWAY: tuple[Mode, ...] = ("append", "insert")
"""Modes whose records may be taken away by whoever they are for."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sync writes, and how."""

    sync: str
    to: str
    object: str
    mode: Mode
    removal: Removal
    match: tuple[str, ...]
    schema: pa.Schema
    destination: Destination | TableDestination

    @staticmethod
    def of(resolved: Resolved) -> Place:
        sync, match = resolved.sync, resolved.mapping.match
        return Place(
            resolved.name, sync.to, sync.object, sync.mode, sync.removal, match, resolved.schema, resolved.destination
        )

    @staticmethod
    def of_order(order: DeliveryOrder, destination: Destination | TableDestination, schema: pa.Schema) -> Place:
        to = f"{destination.name}.{order.object}"
        return Place(order.sync, to, order.object, order.mode, order.removal, order.mapping.match, schema, destination)

    def order(self, store: str, plan_id: str = "") -> WriteOrder:
        return WriteOrder(
            self.sync, "", plan_id, self.object, self.mode, self.removal, self.match, self.schema,
            owner=owner_of(store, self.object),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seen:
    """What the object was when the last run ended. `there` and `akin` are shares; None where nothing was looked for.

    `plans`: any of them may be the one whose marks lie there.
    """

    exists: bool = True
    empty: bool = False
    plans: tuple[str, ...] = ()
    identity: str = ""
    beside: str = ""
    there: float | None = None
    akin: float | None = None

    @staticmethod
    def of(proof: Proof, sync_mark: str) -> Seen:
        plans = (proof.marks or {}).get(sync_mark, frozenset())
        there = proof.there / proof.asked if proof.asked else None
        akin = proof.akin / proof.comparable if proof.comparable else None
        return Seen(
            proof.exists, proof.empty, tuple(sorted(plans)), proof.identity, proof.beside, there, akin
        )  # fmt: skip


def check_proof(
    world: World,
    place: Place,
    ledger: Ledger,
    lease: Lease | None,
    *,
    begun: RunRecord | None = None,
    anew: bool = False,
) -> tuple[Ledger, tuple[str, ...]]:
    """The ledger to plan by, and notices. `begun` is the run that is gone on with, if it is one; `anew`: everything is
    sent again, so that nothing has to be proved. Whoever only looks has no lease, and remembers nothing.

    In mode replace an object that is another one is filled anew: the ledger is not trusted. Raises ConfigError
    in every other.
    """
    if not isinstance(place.destination, Provable):
        return ledger, ()
    order = place.order(world.stored.identity if world.stored is not None else "")
    try:
        proof = place.destination.proof(order, _sample(place, ledger))
    except (UnavailableError, AccessError):
        if begun is None:
            raise
        return ledger, ()  # delivery does not reach it either, and pauses the run
    told = unremembered(world, place.sync, place.to, order, proof, ledger, lease)
    if not ledger.rows or ledger.distrusted or anew:
        return ledger, told
    seen = _recall(world, place.sync)
    why = _begun(world, place, proof, seen, begun) if begun else difference(proof, seen, place.mode, order.sync_mark)
    if why is None:
        if begun is None and lease is not None and (seen is None or seen.there is None):
            _remember(world, lease, Seen.of(proof, order.sync_mark))
        return ledger, (*told, *_taken_away(place, ledger, proof, seen))
    if place.mode == "replace":
        return replace(ledger, distrusted=True), (*told, f"{place.to} {why}: all of the model is sent")
    raise _another(world, place, ledger, why)


def _taken_away(place: Place, ledger: Ledger, proof: Proof, seen: Seen | None) -> tuple[str, ...]:
    """That an object was emptied to which a sync only adds: whoever reads it may have taken the records away, so that
    this stops nothing."""
    if place.mode not in TAKEN_AWAY or not proof.exists or not proof.empty or seen is None or seen.empty:
        return ()
    were = plural(ledger.rows, "record is", "records are")
    all_again = f"`levada resync {place.sync} --rebuild` sends all"
    found = f"{place.to} is empty, and {were} there by the ledger"
    return (f"{found}: mode {place.mode} does not send again what was taken away ({all_again})",)


def _another(world: World, place: Place, ledger: Ledger, why: str) -> ConfigError:
    held = plural(ledger.rows, "record")
    rebuild = " --rebuild" if place.mode in TAKEN_AWAY else ""
    hint = f"`levada resync {place.sync}{rebuild}` sends all of the model again"
    if why != GONE or rebuild:
        hint += f"; if it is right as it is, `levada mark-synced {place.sync}` takes it so"
    return ConfigError(
        f"{place.to} is not as {place.sync} left it, with {held} by its ledger: it {why}",
        code=CODE,
        where=world.sync_file(place.sync).positions.at("to"),
        hint=hint,
    )


def difference(proof: Proof, seen: Seen | None, mode: Mode, sync_mark: str) -> str | None:
    """What makes an object another one than the ledger speaks of, as the end of a sentence; None if nothing does."""
    if not proof.exists:
        return GONE if seen is None or seen.exists else None
    if seen is None:
        return None
    if mode == "replace":
        return "is empty" if proof.empty and not seen.empty else None
    if seen.identity and proof.identity and seen.identity != proof.identity and seen.beside == proof.beside:
        return "was made anew since the last run"
    plans = None if proof.marks is None else proof.marks.get(sync_mark, frozenset())
    if plans is not None and seen.plans and plans.isdisjoint(seen.plans):
        if plans:
            return (
                "holds the marks of another plan than the last one: it was put back from an older copy, or Levada's own"
                " state was"
            )
        return "has lost the marks of the last run, in _levada_marks: it was made anew, or they were removed"
    if mode in TAKEN_AWAY:
        return None
    return _strange(proof, seen)


def _strange(proof: Proof, seen: Seen) -> str | None:
    """What is wrong with the records that were looked for."""
    if proof.asked and (seen.there or 0.0) >= FEWER and proof.there / proof.asked < FEWER * (seen.there or 0.0):
        if proof.empty:
            return "was emptied"
        return f"has {proof.there:,} of {proof.asked:,} records that were looked for"
    if proof.there and proof.comparable and not proof.akin and (seen.akin or 0.0) >= FEWER:
        return f"has none of the values that were sent in any of {proof.there:,} records that were looked at"
    return None


def _begun(world: World, place: Place, proof: Proof, seen: Seen | None, begun: RunRecord) -> str | None:
    """As `difference`, for a run that is gone on with: a part of it may be in, and took records away."""
    order = place.order(world.store.identity, begun.plan_id)
    plans = (proof.marks or {}).get(order.sync_mark, frozenset())
    written: set[str] = set()
    for entry in world.store.journals.entries(begun.run_id):
        if entry.outcomes is not None and entry.outcomes.any(entry.intent.size, "delivered"):
            written.add(entry.intent.kind)
    if not written and order.plan_mark not in plans:
        return difference(proof, seen, place.mode, order.sync_mark)
    if place.mode == "replace":
        return None  # what is filled is another table, and the writer sees to it
    if not proof.exists:
        return GONE
    if written and proof.marks is not None and order.plan_mark not in plans:
        return "has lost the marks of the run that was begun, in _levada_marks"
    if proof.empty and written - {"removed"} and place.mode not in TAKEN_AWAY:
        return "was emptied"
    return None


def still_stands(world: World, begun: RunRecord, lease: Lease) -> bool:
    """May a run that was begun be gone on with, as far as its destination tells?"""
    folder = world.store.snapshots.plan(begun.folder)
    plan = Plan.read(folder, begun.plan_id)
    order, name, schema = read_order(begun.sync, begun.run_id, plan, folder)
    place = Place.of_order(order, world.destination(name), schema)
    try:
        check_proof(world, place, world.store.ledgers.get(begun.sync), lease, begun=begun)
    except ConfigError as error:
        return error.code != CODE
    return True


def expect_plan(world: World, place: Place, lease: Lease, plan_id: str) -> None:
    """Before the first record of a plan is written: its marks may be there from now on."""
    if not isinstance(place.destination, Provable):
        return
    seen = _recall(world, place.sync) or Seen()
    plan_mark = place.order(world.store.identity, plan_id).plan_mark
    plans = tuple(dict.fromkeys((*seen.plans[-PLANS_MAX:], plan_mark)))
    _remember(world, lease, replace(seen, exists=True, plans=plans))


def renew_proof(world: World, place: Place, lease: Lease, ledger: Ledger) -> tuple[str, ...]:
    """After a run, and where the object is taken as it is: this is the one. Returns what is to be said of records that
    nobody remembers. A destination that does not answer is asked by the next run."""
    if not isinstance(place.destination, Provable):
        return ()
    order = place.order(world.store.identity)
    try:
        proof = place.destination.proof(order, _sample(place, ledger))
        seen = Seen.of(proof, order.sync_mark)
        told = still_unremembered(world, lease, place.to, place.destination, place.object, ledger)
    except LevadaError:
        return ()
    _remember(world, lease, seen)
    return told


def _sample(place: Place, ledger: Ledger) -> pa.Table:
    if not ledger.rows or not place.match:
        return place.schema.empty_table()
    try:
        return witnesses(ledger, place.schema, place.match, RECORDS)
    except (OSError, pa.ArrowException):
        return place.schema.empty_table()  # the planner finds what is wrong with the ledger, and says it


def _recall(world: World, sync: str) -> Seen | None:
    text = world.store.memory.recall(sync, MEMORY)
    if text is None:
        return None
    found = json.loads(text)
    return Seen(**{**found, "plans": tuple(found["plans"])})


def _remember(world: World, lease: Lease, seen: Seen) -> None:
    text = json.dumps(asdict(seen))
    if world.store.memory.recall(lease.sync, MEMORY) != text:
        world.store.memory.remember(lease, MEMORY, text)
