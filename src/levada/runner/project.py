"""The public Python face of a project: one method per use case, each a few lines over the module of that name.

Nothing is decided here. A project belongs to one thread; `stop` may be called from any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from levada import events
from levada.clock import Clock, SystemClock
from levada.errors import ConfigError
from levada.runner.world import World
from levada.store import Approval, RunRecord

if TYPE_CHECKING:
    from levada.run import RunResult
    from levada.runner.cases import CaseResult
    from levada.runner.check import CheckReport
    from levada.runner.connectors import Connector
    from levada.runner.doctor import Diagnosis
    from levada.runner.plan import PlanView
    from levada.runner.preview import PreviewView
    from levada.runner.records import Record, RecordOutcome
    from levada.runner.status import StatusView


class Project:
    """Use `Project.open`, as a context manager or with `close`.

    Methods raise `LevadaError`s; refused and invalid records are figures of the result, not errors.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    @classmethod
    def open(
        cls,
        path: str | Path = ".",
        env: str | None = None,
        *,
        listener: events.Listener = events.ignore,
        destinations: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        private_addresses: bool = True,
    ) -> Project:
        """The project in `path` or in the nearest folder above it. Reads levada.yml; everything else waits.

        `env` names a further file of variables, `.env.<env>`. `destinations` are opened destinations that take
        the place of those of the same name in the files. `private_addresses`: may requests go to this machine and
        its networks, as for whoever works on it? Raises ConfigError if there is no project.
        """
        from levada.project.files import load_settings
        from levada.project.listing import find_root

        root = find_root(Path(path))
        world = World(
            root,
            load_settings(root, environment=env),
            env,
            clock or SystemClock(),
            listener=listener,
            destinations=destinations,
            private_addresses=private_addresses,
        )
        return cls(world)

    def __enter__(self) -> Project:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release connections and the store. Idempotent."""
        self.world.close()

    def stop(self) -> None:
        """Ask what runs to stop: what is sent, after what is under way; what is computed before that, at once.

        May be called from any thread.
        """
        self.world.halt.set()

    @property
    def computing(self) -> bool:
        """Does a source or a plan compute, of which nothing was sent yet?"""
        return self.world.halt.computing

    @property
    def stopped(self) -> bool:
        return self.world.halt.is_set()

    def wait(self, seconds: float) -> bool:
        """Let so much time pass, or less if this is stopped meanwhile; says whether it was."""
        return self.world.halt.wait(seconds)

    def select(self, words: Sequence[str] = (), exclude: Sequence[str] = ()) -> tuple[str, ...]:
        """See `World.select`."""
        return self.world.select(words, exclude)

    # -- the use cases

    def run(self, sync: str, *, discard_plan: bool = False) -> RunResult:
        """Plan, guard, send, and remember what was confirmed. Finishes an interrupted run of the sync first."""
        from levada.runner.attempt import attempted
        from levada.runner.run import run

        with self.world.apart() as world:
            world.sync_file(sync)
            return attempted(world, sync, lambda: run(world, sync, discard_plan=discard_plan))

    def retry(self, sync: str) -> RunResult:
        """A run now, which also sends what was refused before and would wait for its turn."""
        from levada.runner.attempt import attempted
        from levada.runner.run import run

        with self.world.apart() as world:
            world.sync_file(sync)
            return attempted(world, sync, lambda: run(world, sync, all_due=True))

    def resync(self, sync: str, *, rebuild: bool = False) -> RunResult:
        """Compare again with every value at the destination unknown; pending removals stay planned."""
        from levada.runner.attempt import attempted
        from levada.runner.resync import resync

        with self.world.apart() as world:
            return attempted(world, sync, lambda: resync(world, sync, rebuild=rebuild))

    def mark_synced(self, sync: str) -> RunResult:
        """Take the model as already at the destination; nothing is sent."""
        from levada.runner.mark_synced import mark_synced

        with self.world.apart() as world:
            return mark_synced(world, sync)

    def undo(self, run: str, *, plan_id: str | None = None) -> RunResult:
        """Take back what a run delivered; with `plan_id` only by that very plan, as `plan_undo` showed it."""
        from levada.runner.undo import undo

        with self.world.apart() as world:
            return undo(world, run, plan_id=plan_id)

    def plan_undo(self, run: str, *, sample_size: int = 10) -> PlanView:
        """What an undo of a run would send now, and what it would leave alone. Changes nothing."""
        from levada.runner.undo import plan_undo

        return plan_undo(self.world, run, sample_size=sample_size)

    def plan(self, sync: str, *, sample_size: int = 10) -> PlanView:
        """What a run would send now. Changes nothing."""
        from levada.runner.plan import plan

        return plan(self.world, sync, sample_size=sample_size)

    def preview(self, name: str, rows: int = 10) -> PreviewView:
        """The first rows of a sync as they would arrive, or of a model as they are."""
        from levada.runner.preview import preview

        return preview(self.world, name, rows)

    def check(self, syncs: Sequence[str] | None = None) -> CheckReport:
        """Everything that can be known without sending."""
        from levada.runner.check import check

        return check(self.world, syncs)

    def approve(self, plan_id: str) -> Approval:
        """Let a plan pass that its guard stopped."""
        from levada.runner.approve import approve

        return approve(self.world, plan_id)

    def status(self, syncs: Sequence[str] | None = None) -> StatusView:
        """What needs a person, and how each sync stands."""
        from levada.runner.status import status

        return status(self.world, syncs)

    def runs(self, sync: str | None = None, limit: int = 20) -> Sequence[RunRecord]:
        """The latest runs, newest first."""
        from levada.runner.runs import runs

        return runs(self.world, sync, limit)

    def records(
        self,
        sync: str,
        *,
        run: str | None = None,
        outcome: RecordOutcome | None = None,
        key: str | None = None,
        limit: int | None = None,
    ) -> Iterator[Record]:
        """What happened to each record of a run."""
        from levada.runner.records import records

        return records(self.world, sync, run=run, outcome=outcome, key=key, limit=limit)

    def connectors(self, name: str | None = None) -> tuple[Connector, ...]:
        """The kinds of sources and destinations that this project can use."""
        from levada.runner.connectors import connectors

        return connectors(self.world.root, name)

    def test(self, connectors: Sequence[str] = ()) -> tuple[CaseResult, ...]:
        """Run the cases of the project's own connectors."""
        from levada.runner.cases import run_cases

        return run_cases(self.world, connectors)

    def doctor(self) -> tuple[Diagnosis, ...]:
        """Examine the installation and the state."""
        from levada.runner.doctor import doctor

        return doctor(self.world, self.world.clock)

    def secrets(self) -> Sequence[str]:
        """The names of the secrets that the store keeps."""
        from levada.runner.secret import secret_names

        return secret_names(self.world)

    def set_secret(self, name: str, value: str) -> None:
        from levada.runner.secret import set_secret

        set_secret(self.world, name, value)

    def remove_secret(self, name: str) -> None:
        from levada.runner.secret import remove_secret

        remove_secret(self.world, name)


def find_root(path: str | Path) -> Path | None:
    """The folder of the project that `path` lies in; None if there is none."""
    from levada.project.listing import find_root as find

    try:
        return find(Path(path))
    except ConfigError:
        return None
