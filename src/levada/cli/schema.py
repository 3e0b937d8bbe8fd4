"""`levada schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from levada.cli.invocation import Invocation
from levada.cli.invocation import command as declared
from levada.cli.letters import knows_unicode


@declared("schema")
@click.argument("kind", required=False)
@click.option("--write", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Write files there.")
def command(invocation: Invocation, kind: str | None, write: Path | None) -> int:
    """Print the JSON Schemas of the project's files, so that editors complete and check them.

    KIND is one of project, source, model, destination, sync, connector; without it, one document holds all.
    """
    from levada.runner.schema import schemas

    found = schemas(kind)
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, schema in found.items():
            path = write / f"{name}.schema.json"
            path.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            invocation.terminal.say(f"wrote {path}")
        return 0
    document = found[kind] if kind else found
    click.echo(json.dumps(document, indent=None if invocation.json else 2, ensure_ascii=not knows_unicode()))
    return 0
