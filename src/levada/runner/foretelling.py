"""What a run would do with a plan, in figures and in words: what it sends, what waits, and what is in doubt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from levada.delivery.outlook import Outlook, outlook
from levada.plan import Plan
from levada.planner import Ledger
from levada.runner import refused
from levada.runner.doubt import is_doubted
from levada.runner.order_file import ordered
from levada.wording import plural

if TYPE_CHECKING:
    from levada.runner.resolved import Resolved
    from levada.runner.world import World


@dataclass(frozen=True, slots=True)
class Foretold:
    outlook: Outlook
    notices: tuple[str, ...]
    resumes: str = ""


def foretell(world: World, resolved: Resolved, plan: Plan, folder: Path, ledger: Ledger) -> Foretold:
    """For a plan that a fresh run of the sync would make now."""
    if resolved.sync.first_run == "skip" and not ledger.exists:
        return Foretold(Outlook({}), ())  # taken as synced already: nothing is sent
    store = world.stored
    order = ordered(resolved, "", plan, folder, resolved.verbs)
    if store is not None:
        doubted = is_doubted(store.memory, plan.sync)
        waiting = refused.waiting(store, plan.sync, plan, folder, only_just=doubted)
        order = replace(order, waiting=waiting, in_doubt=doubted)
    found = outlook(order, resolved.destination, store)
    unfinished = store.runs.open_run(plan.sync) if store is not None else None
    resumes = unfinished.run_id if unfinished is not None else ""
    return Foretold(found, tuple(_words(found, plan.sync, resumes)), resumes)


def _words(found: Outlook, sync: str, resumes: str) -> Iterator[str]:
    if resumes:
        yield f"run {resumes} is not finished, and goes on first; what it delivers is not in this plan's figures"
    if found.waiting:
        were = plural(found.waiting, "of these was", "of these were")
        wait = "waits for its turn" if found.waiting == 1 else "wait for their turn"
        yield f"{were} refused before and {wait}: `levada retry {sync}` sends {_them(found.waiting)} now"
    if found.suppressed:
        had = plural(found.suppressed, "of these had", "of these had")
        yield f"{had} no effect before, and {'is' if found.suppressed == 1 else 'are'} not sent"
    if found.in_doubt:
        are = plural(found.in_doubt, "of these is", "of these are")
        they = _they(found.in_doubt)
        yield f"{are} in doubt: an earlier request was not answered, so that {they} not sent before that is settled"
    if found.wait is not None:
        yield f"{found.wait.message} ({found.wait.seconds:,.0f} s from now)"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


def _they(count: int) -> str:
    return "it is" if count == 1 else "they are"
