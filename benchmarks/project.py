"""The Levada projects that are measured: one folder for each pair of source and destination."""

from __future__ import annotations

import shutil
from pathlib import Path
from textwrap import dedent

SYNC = "customers"


def source_file(kind: str, where: str) -> str:
    """sources/warehouse.yml."""
    match kind:
        case "parquet":
            return f"type: files\npath: {where}\n"
        case "duckdb":
            return f"type: duckdb\npath: {where}\n"
        case _:
            return f"type: postgres\nurl: {where}\n"


def destination_file(kind: str, where: str) -> str:
    """destinations/target.yml."""
    if kind == "postgres":
        return f"type: postgres\nurl: {where}\ncreate_tables: true\n"
    return dedent(f"""\
        type: http
        base_url: {where}
        auth: none
        limits: {{records_per_request: 100, concurrent_requests: 8}}
        class: A
        objects:
          customers:
            match: id
            upsert: {{send: POST /upsert, record: "{{fields}}", body: "{{records}}"}}
            delete: {{send: POST /delete, record: {{id: "{{key}}"}}, body: "{{records}}"}}
        """)


def write_project(folder: Path, source: tuple[str, str], destination: tuple[str, str]) -> None:
    """Write the project, without any state."""
    shutil.rmtree(folder, ignore_errors=True)
    table = "public.levada" if destination[0] == "postgres" else "customers"
    files = {
        "levada.yml": "name: bench\n",
        "sources/warehouse.yml": source_file(*source),
        "models/customers.sql": "/*\nsource: warehouse\nkey: id\n*/\nselect * from customers\n",
        "destinations/target.yml": destination_file(*destination),
        f"syncs/{SYNC}.yml": (
            f"model: customers\nto: target.{table}\nmode: mirror\nmatch: {{id: id}}\nfields: all\n"
            "guard: {removed_max: 5%, changed_max: 5%}\n"
        ),
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def forget(folder: Path) -> None:
    """Drop the project's state: the next run is a first one."""
    shutil.rmtree(folder / ".levada", ignore_errors=True)
