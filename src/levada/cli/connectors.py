"""`levada connectors`."""

from __future__ import annotations

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared


@declared("connectors")
@click.argument("name", required=False, metavar="[TYPE]")
def command(invocation: Invocation, name: str | None) -> int:
    """List the kinds of sources and destinations, or show the options of one."""
    from levada.runner.connectors import connectors
    from levada.runner.project import find_root

    terminal = invocation.terminal
    found = connectors(find_root(invocation.project or "."), name)
    if terminal.json:
        terminal.document({"connectors": [one.as_dict() for one in found]})
        return 0
    if name is None:
        terminal.table(("kind", "type", "title"), [(one.kind, one.type, one.title) for one in found])
        terminal.hint("levada connectors TYPE   shows one's options")
        return 0
    from rich.text import Text

    for one in found:
        terminal.line(Text.assemble((one.type, "bold"), f"  {one.kind}: {one.title}"))
        for line in one.docs.splitlines():
            terminal.line(f"  {line}")
        terminal.line()
        terminal.table(
            ("option", "takes", "needed", "what it is"),
            folded=(3,),
            rows=[(o.name, o.takes, "yes" if o.required else "", o.meaning) for o in one.options],
        )
    return 0
