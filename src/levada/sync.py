"""A sync: the standing order that keeps an object of a destination equal to a model. As declared in `syncs/`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from levada.guard import GuardDeclaration
from levada.mapping import FieldDeclaration
from levada.model import OR_NONE, Declaration, Name, Takes
from levada.schedule import Schedule

Mode = Literal["insert", "update", "upsert", "mirror", "append", "replace"]
Removal = Literal["ignore", "delete", "archive", "clear"]


class Sync(Declaration):
    """One sync."""

    model: Name | None = None
    """The model to read: the name of a file in models/."""
    audience: Name | None = None
    """The audience to read, instead of a model: the name of a file in audiences/."""
    to: Annotated[
        str,
        Field(pattern=r"^[A-Za-z_][A-Za-z0-9_\-]*\..+$"),
        Takes("destination.object", "for example crm.contacts"),
    ]
    """`destination.object`: where the records go. The object of a database is `table` or `schema.table`."""
    mode: Mode = "upsert"
    """What happens to rows that were added, changed or removed: see docs/concepts/modes.md."""
    match: dict[str, str] = Field(default_factory=dict)
    """How a record is found: destination field: model column. By default the model's key, by its own names."""
    fields: Literal["all"] | dict[str, FieldDeclaration] = "all"
    """Destination field: where its value comes from. `all` maps every column by its own name."""
    nulls: Literal["clear", "skip"] = "clear"
    """What a NULL does: `clear` empties the destination's field, `skip` leaves it: see docs/concepts/modes.md."""
    removed: Removal | None = None
    """What happens to a record whose row left the model; `ignore` unless the mode says otherwise."""
    adopt: bool = True
    """`false` never removes a record that was there before this sync wrote it. By default such a record is taken over,
    and removed as `removed` says once its row has left the model."""
    changed: Literal["send"] | None = None
    """For mode append: `send` sends a row again when it changed."""
    schedule: Annotated[Schedule | None, OR_NONE] = None
    """When it runs by itself."""
    guard: GuardDeclaration = GuardDeclaration()
    """Limits beyond which a run asks a person first."""
    first_run: Literal["send", "skip"] = "send"
    """`skip` takes the model as already synced at the first run and sends nothing."""
    tags: tuple[str, ...] = ()
    """Words to select by: `--select tag:marketing`."""
    description: str = ""
    """For people."""
    delivery: Literal["at_least_once", "at_most_once"] = "at_least_once"
    """For destinations that cannot tell a repeat: what to do when an answer is lost."""

    @model_validator(mode="after")
    def _agree(self) -> Sync:
        if (self.model is None) == (self.audience is None):
            raise ValueError("a sync has either a model or an audience")
        if self.mode == "mirror" and self.removed not in (None, "delete", "archive"):
            raise ValueError(f"mode mirror removes what left the model; removed: {self.removed} contradicts it")
        if self.mode in ("append", "replace") and self.removed is not None:
            raise ValueError(f"removed: has no meaning in mode {self.mode}")
        if not self.adopt and self.removal == "ignore":
            raise ValueError("adopt: false has a meaning only where records are removed (mode mirror, or removed:)")
        if self.changed is not None and self.mode != "append":
            raise ValueError("changed: has a meaning in mode append only")
        return self

    @property
    def destination(self) -> str:
        return self.to.partition(".")[0]

    @property
    def object(self) -> str:
        return self.to.partition(".")[2]

    @property
    def removal(self) -> Removal:
        """What happens to removed rows, the mode's default included."""
        return self.removed or ("delete" if self.mode == "mirror" else "ignore")
