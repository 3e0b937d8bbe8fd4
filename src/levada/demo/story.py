"""`levada demo`: the whole job in six steps, each with a line of explanation and the command that repeats it.

It calls what the command line calls, and afterwards asks the tools themselves whether what it said is so: a
claim that does not hold ends it with exit code 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from levada import events
from levada.clock import Clock, SystemClock
from levada.demo import proof
from levada.demo.ground import Ground, existing, prepare, serve
from levada.demo.warehouse import LOST_COUNTRY, break_warehouse, change_warehouse, mend_warehouse
from levada.run import RunResult
from levada.runner.project import Project
from levada.wording import plural

Out = Callable[[str], None]
CRM, ADS, INBOX = "customers_to_crm", "lapsed_to_ads", "large_orders_to_inbox"
PROGRESS_EVERY_SECONDS = 1.0


def run_demo(folder: Path, *, out: Out = print) -> int:
    """Tell the story in `folder`, which is made anew. Returns the exit code: 0 if every claim held, else 1.

    Raises ConfigError for a folder that is not a demo's, and the LevadaErrors of the commands that it shows.
    """
    story = Story(folder, out)
    began = story.clock.monotonic()
    out("Levada keeps tools equal to what a warehouse says. Everything here happens on this machine.\n")
    ground, figures = prepare(folder)
    out(
        f"A shop's warehouse, from real order lines: {figures.order_lines:,} lines, {figures.orders:,} orders, "
        f"{plural(figures.customers, 'row')} of customers ({_seconds(story.clock.monotonic() - began)})."
    )
    with ground.tools_running() as ports:
        out("A CRM, an ad audience and a webhook inbox, which throttle and refuse as real ones do, are up.\n")
        story.begin(ground, ports)
        story.plan()
        story.first_run()
        story.refused()
        story.next_day()
        story.stopped_by_guard()
        story.undone()
    return story.close(story.clock.monotonic() - began)


def serve_demo(folder: Path, *, out: Out = print) -> int:
    """Keep the tools of an earlier demo up until Ctrl-C; without one, make the folder first."""
    ground = existing(folder)
    if ground is None:
        ground, _ = prepare(folder)

    def ready(ports: Mapping[str, int]) -> None:
        for name, port in ports.items():
            out(f"{name:<6} http://127.0.0.1:{port}/stats")
        out(f"\nIn another terminal: cd {folder} && levada status\nCtrl-C ends this.")

    serve(ground, ready)
    return 0


@dataclass(slots=True)
class Story:
    """One telling. `claims` holds every sentence that was checked, and whether it held."""

    folder: Path
    out: Out
    clock: Clock = field(default_factory=SystemClock)
    claims: list[tuple[str, bool]] = field(default_factory=list)
    _ground: Ground | None = None
    _ports: Mapping[str, int] = field(default_factory=dict)
    _step: int = 0
    _said_at: float = 0.0
    _waited_at: float = 0.0
    _second_run: str = ""
    _first_contacts: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, ground: Ground, ports: Mapping[str, int]) -> None:
        self._ground, self._ports = ground, ports

    @property
    def ground(self) -> Ground:
        assert self._ground is not None, "the story begins with its ground"
        return self._ground

    # -- the six steps

    def plan(self) -> None:
        self.step("A plan says what a run would send, before anything is sent.", f"levada plan {CRM}")
        with self.project() as project:
            view = project.plan(CRM)
        counts = view.plan.counts
        self.say(
            f"{plural(counts.added, 'customer')} would be added to the CRM, "
            f"{plural(counts.invalid, 'row')} cannot be sent:"
        )
        for row in view.invalid[:4]:
            self.say(f"  customer {_key(row.key)}: {row.reason}")
        self.claim("planning sent nothing to anybody", not self.crm_stats().get("requests"))

    def first_run(self) -> None:
        self.step("A run sends the plan: three syncs to three tools, each at the pace its tool allows.", "levada run")
        for name in (CRM, ADS, INBOX):
            self.show(self.run(name))
        self.crm_equals_warehouse()
        due = proof.members_due(self.ground.shop)
        held = proof.members_held(self._ports["ads"], self.ground.secrets["ADS_TOKEN"])
        self.claim(f"the ad audience holds {len(due):,} hashed addresses, no other, and none in clear", held == due)
        orders = sorted(proof.orders_due(self.ground.shop))
        told = sorted(_order_numbers(proof.messages_held(self._ports["inbox"])))
        self.claim(f"the inbox got each of {len(orders):,} large orders once, signed", told == orders)
        stats = self.crm_stats()
        self.say(
            f"On the way the CRM answered {stats.get('throttled', 0)} × 429 and {stats.get('failed', 0)} × 500: "
            "Levada waited, and sent again what is safe to send again."
        )
        self._first_contacts = self.contacts()

    def refused(self) -> None:
        self.step(
            "What a tool refuses is kept with the tool's own words, and tried again by later runs.",
            f"levada records {CRM} --outcome rejected",
        )
        with self.project() as project:
            rejected = list(project.records(CRM, outcome="rejected"))
        examples = {record.code: record for record in reversed(rejected)}
        for record in examples.values():
            self.say(f"  customer {_key(record.key)}: {record.reason}")
        refused = self.crm_stats().get("records_refused", 0)
        self.say(
            f"{plural(len(rejected), 'record was', 'records were')} refused in all. The rest of their batches arrived."
        )
        self.claim("the CRM refused some records, and Levada names every one", 0 < len(rejected) <= refused)

    def next_day(self) -> None:
        self.step("A day later: people bought, some are new, some accounts were merged.", f"levada run {CRM}")
        change_warehouse(self.ground.shop)
        before = self.crm_stats()
        with self.project() as project:
            counts = project.plan(CRM).plan.counts
        result = self.run(CRM)
        self.show(result)
        self._second_run = result.run_id
        after = self.crm_stats()
        sent = after["records_received"] - before["records_received"]
        requests = after["requests"] - before["requests"]
        self.say(f"{counts.unchanged:,} unchanged customers cost no request.")
        self.claim(
            f"the CRM was sent {plural(sent, 'record')} in {plural(requests, 'request')}: what changed, and "
            "what it had refused",
            0 < counts.changed < counts.unchanged and counts.operations <= sent <= 2 * counts.operations,
        )
        self.crm_equals_warehouse()
        for name in (ADS, INBOX):
            self.show(self.run(name))
        due = proof.members_due(self.ground.shop)
        held = proof.members_held(self._ports["ads"], self.ground.secrets["ADS_TOKEN"])
        self.claim("who bought again has left the ad audience", held == due)

    def stopped_by_guard(self) -> None:
        self.step(
            f"A botched import loses the whole {LOST_COUNTRY}. The guard stops the run before its first request.",
            f"levada run {CRM}",
        )
        lost = break_warehouse(self.ground.shop)
        before = self.crm_stats()
        result = self.run(CRM)
        self.show(result)
        for reason in result.guard.reasons:
            self.say(f"  {reason.message}")
        with self.project() as project:
            known = project.world.ledger(CRM).rows
        held = len(self.contacts())
        if known > held:
            self.say(
                f"  Of the {known:,} the CRM holds {held:,}. It refused {known - held:,} after an answer was lost, and "
                "Levada takes them for perhaps there."
            )
        removed = result.counts.removed
        self.say(
            f"  {lost:,} customers left the warehouse: those {removed:,}, and {lost - removed:,} that the CRM had "
            "refused or that were invalid."
        )
        self.say(f"Somebody who means it says: levada approve {result.plan_id}")
        self.claim(
            f"{removed:,} customers would have been deleted, and the CRM was not asked to delete one",
            result.status == "blocked" and self.crm_stats() == before,
        )
        mend_warehouse(self.ground.shop)
        self.say("The import is run again, rightly.")

    def undone(self) -> None:
        self.step(
            "A run can be taken back: the CRM gets the values that it had before.", f"levada undo {self._second_run}"
        )
        with self.project() as project:
            result = project.undo(self._second_run)
        self.show(result)
        self.claim(
            "the CRM is as it was after the first run, contact by contact", self.contacts() == self._first_contacts
        )
        with self.project() as project:
            held = project.plan(CRM)
        self.claim(
            "the warehouse still says what was taken back, so the next run would ask first",
            held.blocked and any(reason.rule == "undone" for reason in held.guard.reasons),
        )

    def close(self, seconds: float) -> int:
        failed = [sentence for sentence, held in self.claims if not held]
        self.out("")
        if failed:
            self.out(f"{len(failed)} of {len(self.claims)} claims did NOT hold:")
            for sentence in failed:
                self.out(f"  ✗ {sentence}")
            return 1
        self.out(
            f"All {len(self.claims)} claims above were checked with the tools themselves. {_seconds(seconds)} in all."
        )
        self.out(f"\nWhere to look: {self.folder}/README.md, then models/, destinations/ and syncs/ beside it.")
        self.out(f"To try the commands: `levada demo --serve` keeps the tools up; then `cd {self.folder}`.")
        self.out("For a project of your own: `levada init acme`.")
        return 0

    # -- what the steps share

    def step(self, sentence: str, command: str) -> None:
        self._step += 1
        self.out(f"\n{self._step}. {sentence}\n   $ {command}")

    def say(self, text: str) -> None:
        self.out(f"   {text}")

    def claim(self, sentence: str, held: bool) -> None:
        self.claims.append((sentence, held))
        self.say(f"{'✓' if held else '✗'} {sentence}")

    def project(self) -> Project:
        return Project.open(self.folder, listener=self.hear)

    def run(self, sync: str) -> RunResult:
        """One run in a project of its own, as a command would have it; the warehouse is free afterwards."""
        self._said_at = self.clock.monotonic()
        with self.project() as project:
            return project.run(sync)

    def show(self, result: RunResult) -> None:
        delivered = ", ".join(f"{count:,} {kind}" for kind, count in result.tally.delivered.items() if count)
        parts = [delivered or "nothing to send"] if result.status != "blocked" else ["nothing was sent"]
        if result.tally.rejected:
            parts.append(f"{result.tally.rejected:,} refused")
        if result.counts.invalid:
            parts.append(f"{result.counts.invalid:,} invalid")
        parts.append(plural(result.tally.requests, "request"))
        self.say(f"{result.sync}: {result.status} · {' · '.join(parts)} · {_seconds(result.seconds)}")
        if result.error is not None:
            self.say(f"  {result.error.message}")

    def hear(self, event: events.Event) -> None:
        """Progress, a line a second at most."""
        now = self.clock.monotonic()
        match event:
            case events.BatchSettled() if now - self._said_at >= PROGRESS_EVERY_SECONDS:
                self._said_at = now
                self.say(f"  … {event.done:,} of {event.total:,}, {event.rejected:,} refused")
            case events.DeliveryWaiting() if now - self._waited_at >= PROGRESS_EVERY_SECONDS:
                self._waited_at = now
                why = "the tool asks for it" if event.reason == "rate" else event.message or event.reason
                self.say(f"  … waiting {_seconds(event.seconds)}: {why}")

    def contacts(self) -> dict[str, dict[str, Any]]:
        return proof.contacts_held(self._ports["crm"], self.ground.secrets["CRM_TOKEN"])

    def crm_stats(self) -> dict[str, int]:
        return proof.stats(self._ports["crm"], self.ground.secrets["CRM_TOKEN"])

    def crm_equals_warehouse(self) -> None:
        due, held = proof.contacts_due(self.ground.shop), self.contacts()
        self.claim(f"the CRM holds the {len(due):,} customers that it can take, value by value", held == due)


def _order_numbers(bodies: list[Any]) -> list[str]:
    """The invoice numbers of the events in the inbox, whether a message holds one event or several."""
    events_of = [body if isinstance(body, list) else [body] for body in bodies]
    return [str(event["data"]["invoice_no"]) for group in events_of for event in group]


def _key(key: Any) -> str:
    return ", ".join(map(str, key.values())) if isinstance(key, dict) else str(key)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s"
