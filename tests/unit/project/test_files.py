"""Reading a whole project: what the interface shows, defaults, notices, and what belongs to what."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from levada.errors import ConfigError, ConfigErrors, Where
from levada.project.files import load_settings
from levada.project.listing import find_root
from unit.project.folders import GOOD, ToolOptions, WarehouseOptions, load, read, write

INTERFACE = {
    "models/customers.sql": """\
/*
source: warehouse
key: customer_id                    # or a list
description: Everyone who ordered in the last 90 days.
columns:
  email: {personal: email}          # none | email | phone | name | address | id | sensitive
*/
select customer_id, email, first_name, country, lifetime_value
from analytics.customers
where last_order_at > current_date - 90
""",
    "syncs/customers_to_crm.yml": """\
# syncs/customers_to_crm.yml
model: customers                    # or  audience: lapsed_buyers
to: crm.contacts                    # destination.object
mode: upsert                        # insert | update | upsert | mirror | append | replace
match: {email: email}               # destination field: model column -- how a record is found
fields:
  firstname: first_name                                   # a column
  lifetime_value: {sql: "round(lifetime_value, 2)"}       # an expression over the model's columns
  tier: {value: gold}                                     # a constant
  email_hash: {column: email, apply: [normalize_email, sha256]}
  hello: {template: "Hi {{ first_name }}"}
  nickname: {column: nick, only_if_empty: true}           # where the destination can
nulls: clear                        # clear | skip
removed: ignore                     # ignore | delete | archive | clear      (mirror: delete)
schedule: {every: 15m}              # or {cron: "0 6 * * 1-5", timezone: Europe/Madrid} or {after: [a, dbt:b]} or none
guard: {removed_max: 10%, changed_max: 50%, rows_min: 1, nulls_max: 20%}
first_run: send                     # send | skip (mark as synced, send nothing)
tags: [marketing]
""",
    "sources/warehouse.yml": "type: warehouse\nurl: postgres://me:${WAREHOUSE_PASSWORD}@h/db\nport: ${PORT:-6432}\n",
    "destinations/crm.yml": "type: tool\ntoken: ${HUBSPOT_TOKEN}\ntags: [vendor]\n",
    "levada.yml": "name: acme\ntimezone: Europe/Madrid\n",
    ".env": "WAREHOUSE_PASSWORD=pa55-word\nHUBSPOT_TOKEN=pat-123456\n",
}


def test_the_project_of_the_interface_is_read_as_written(tmp_path: Path) -> None:
    """Comments in the header, shorthands, references and all."""
    files = load(write(tmp_path, INTERFACE))
    model = files.models["customers"].model
    assert (model.source, model.key, model.columns["email"].personal) == ("warehouse", ("customer_id",), "email")
    assert model.query is not None
    assert model.query.startswith("select customer_id")
    assert model.query.endswith("current_date - 90")
    sync = files.syncs["customers_to_crm"].sync
    assert isinstance(sync.fields, dict)
    assert sync.fields["firstname"].column == "first_name"
    assert sync.fields["email_hash"].apply == ("normalize_email", "sha256")
    assert sync.fields["hello"].template == "Hi {{ first_name }}"
    assert sync.schedule is not None
    assert sync.schedule.every == "15m"
    source = files.sources["warehouse"].options
    assert source == WarehouseOptions(url="postgres://me:pa55-word@h/db", port=6432)
    destination = files.destinations["crm"]
    assert (destination.options, destination.tags) == (ToolOptions(token="pat-123456"), ("vendor",))
    assert files.secrets == ("pa55-word", "pat-123456")
    assert (files.settings.timezone, files.settings.store.path) == ("Europe/Madrid", ".levada")
    assert "pat-123456" not in repr(files)


def test_places_inside_files_can_be_asked_for(tmp_path: Path) -> None:
    """Later errors, of columns and expressions, point into the same files."""
    files = load(write(tmp_path, INTERFACE))
    positions = files.syncs["customers_to_crm"].positions
    assert positions.at("fields", "lifetime_value", "sql") == Where("syncs/customers_to_crm.yml", 8, 25)
    assert positions.at("fields", "firstname", "column") == Where("syncs/customers_to_crm.yml", 7, 14)
    assert positions.key("match", "email") == Where("syncs/customers_to_crm.yml", 5, 9)
    model = files.models["customers"].positions
    assert model.at("key") == Where("models/customers.sql", 3, 6)
    assert model.at("query") == Where("models/customers.sql", 8, 1)


@pytest.mark.parametrize(
    ("text", "query", "line", "column"),
    [
        ("/* source: shop\n   key: id */\nselect 1 ;\n\n;", "select 1", 3, 1),
        ("\n-- mine\n/*\nsource: shop\nkey: id\n*/ select ';' -- ;", "select ';' -- ;", 6, 4),
        ("\ufeff/* {source: shop, key: id} */select 1; -- done", "select 1", 1, 30),
        ("/*\r\nsource: shop\r\nkey: id\r\n*/\r\nselect 1;\r\n", "select 1", 5, 1),
        ("/*\nsource: shop\nkey: id\n*/\nselect $a$;$a$;", "select $a$;$a$", 5, 1),
        ("/*\nsource: shop\nkey: id\n*/\n-- first\nselect '${X}' /* ; */", "-- first\nselect '${X}' /* ; */", 5, 1),
    ],
)
def test_a_query_keeps_its_form_but_for_semicolons_at_its_end(
    tmp_path: Path, text: str, query: str, line: int, column: int
) -> None:
    """Comments, quotes and dollar signs in it are the warehouse's business."""
    found = load(write(tmp_path, GOOD, {"models/customers.sql": text})).models["customers"]
    assert found.model.query == query
    assert found.positions.at("query") == Where("models/customers.sql", line, column)


def test_a_model_may_be_a_table_or_a_query_in_yaml(tmp_path: Path) -> None:
    """`key` is one name or a list."""
    more = {
        "models/a.yml": "source: shop\nkey: [x, y]\ntable: s.t\n",
        "models/b.yaml": "source: shop\nkey: x\nquery: |\n  select 1\n",
    }
    models = load(write(tmp_path, GOOD, more)).models
    assert (models["a"].model.key, models["a"].model.table) == (("x", "y"), "s.t")
    assert (models["b"].model.query, models["b"].where) == ("select 1\n", Where("models/b.yaml"))


def test_defaults_hold_where_a_sync_does_not_say_otherwise(tmp_path: Path) -> None:
    """Guards are merged key by key; `schedule: none` leaves the default out."""
    changes = {
        "levada.yml": "defaults:\n  guard: {rows_min: 5, removed_max: 1%}\n  nulls: skip\n  schedule: {every: 1h}\n",
        "syncs/own.yml": "model: customers\nto: crm.x\nguard: {rows_min: 7}\nnulls: clear\nschedule: none\n",
    }
    files = load(write(tmp_path, GOOD, changes))
    default, own = files.syncs["customers_to_crm"].sync, files.syncs["own"].sync
    assert (default.guard.rows_min, default.guard.removed_max, default.nulls) == (5, "1%", "skip")
    assert default.schedule is not None
    assert (own.guard.rows_min, own.guard.removed_max, own.nulls, own.schedule) == (7, "1%", "clear", None)


def test_a_reference_takes_the_type_that_its_key_wants(tmp_path: Path) -> None:
    """Text from the environment becomes a number or a truth value."""
    source = "type: warehouse\nurl: x\nport: ${PORT}\nssl: ${SSL}\n"
    files = load(write(tmp_path, GOOD, {"sources/shop.yml": source}), process={"PORT": "99", "SSL": "false"})
    assert files.sources["shop"].options == WarehouseOptions(url="x", port=99, ssl=False)


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    """Nothing is passed over in silence; what is right is read all the same."""
    more = {
        "audiences/lapsed.yml": "x: 1\n",
        "models/old.txt": "",
        "models/nested/m.sql": "",
        "sync/x.yml": "",
        "syncs/README.md": "",
        "syncs/.hidden.yml": "",
        "policies.yml": "# nothing yet\n",
        "levada.yml": "alerts: [{to: me}]\n",
    }
    files = load(write(tmp_path, GOOD, more))
    assert [str(notice) for notice in files.notices] == [
        "models/nested: the folder is not read: files stand directly in models/",
        "models/old.txt: the file is not read: a model is a file .sql, .yml or .yaml",
        "sync: the folder sync/ is not read; syncs/ is",
        "audiences/lapsed.yml: the file is not read: audiences are not available in this version",
        "levada.yml:1:1: alerts are not sent in this version",
        "policies.yml: policies are not available in this version; the file is empty",
    ]


def test_connectors_are_listed_for_those_who_read_them(tmp_path: Path) -> None:
    """Declared and coded ones."""
    files = load(write(tmp_path, GOOD, {"connectors/erp.yml": "x", "connectors/own.py": "x"}))
    assert {name: path.name for name, path in files.connectors.items()} == {"erp": "erp.yml", "own": "own.py"}


def test_a_wrong_file_concerns_only_the_syncs_that_use_it(tmp_path: Path) -> None:
    """One missing token does not keep the others from running."""
    more = {
        "destinations/ads.yml": "type: tool\ntoken: ${NOPE}\n",
        "syncs/to_ads.yml": "model: customers\nto: ads.x\n",
    }
    files = read(write(tmp_path, GOOD, more))
    assert files.errors_for(["customers_to_crm"]) == ()
    assert [error.code for error in files.errors_for(["to_ads"])] == ["config.missing_variable"]
    assert set(files.syncs) == {"customers_to_crm", "to_ads"}
    assert "ads" not in files.destinations
    assert [path.name for path in files.paths_of("to_ads")] == ["to_ads.yml", "customers.sql", "ads.yml", "shop.yml"]


def test_the_options_lookup_may_say_why_a_type_is_not_available(tmp_path: Path) -> None:
    """A missing extra is an error at the `type:` that needs it."""

    def lookup(name: str) -> None:
        raise ConfigError(f"{name} needs a driver", code="config.missing_extra", hint="pip install it")

    files = read(write(tmp_path, GOOD), source_options=lookup)
    assert [str(error) for error in files.errors] == [
        "sources/shop.yml:1:7: warehouse needs a driver\nhint: pip install it"
    ]


def test_the_root_is_the_nearest_folder_above_with_a_levada_yml(tmp_path: Path) -> None:
    """Commands work from anywhere inside a project."""
    root = write(tmp_path / "acme", GOOD)
    assert find_root(root / "models") == root
    assert find_root(root) == root
    with pytest.raises(ConfigError) as caught:
        find_root(tmp_path)
    assert (caught.value.code, caught.value.exit_code) == ("config.no_project", 2)
    assert "levada init" in (caught.value.hint or "")
    with pytest.raises(ConfigError, match=r"no levada\.yml"):
        read(tmp_path)


def test_settings_can_be_read_alone_and_have_the_folders_name(tmp_path: Path) -> None:
    """The store must be known before secrets can be; errors of other files do not matter then."""
    root = write(tmp_path / "acme", GOOD, {"levada.yml": "store: {path: '${STATE}'}\n", "syncs/x.yml": "oops"})
    settings = load_settings(root, process={"STATE": "/var/levada"})
    assert (settings.name, settings.store.path) == ("acme", "/var/levada")
    with pytest.raises(ConfigErrors, match="STATE is not set"):
        load_settings(root, process={})


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    """A file that is listed and cannot be opened is an error and no gap."""
    root = write(tmp_path, GOOD)
    (root / "syncs/gone.yml").symlink_to(tmp_path / "nowhere")
    assert [str(error) for error in read(root).errors] == [
        "syncs/gone.yml: the file cannot be read: No such file or directory"
    ]


def test_a_hundred_files_are_read_once_each(tmp_path: Path) -> None:
    """Reading stays linear: the work is counted in opened files, not in seconds."""
    more = {f"models/m{n}.sql": GOOD["models/customers.sql"] for n in range(50)}
    more |= {f"syncs/s{n}.yml": f"model: m{n}\nto: crm.x\nfields: {{a: b, c: d}}\n" for n in range(50)}
    opened: list[str] = []
    root = write(tmp_path, GOOD, more)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching and event == "open" and str(arguments[0]).startswith(str(root)):
            opened.append(str(arguments[0]))

    watching = True
    sys.addaudithook(watch)
    started = time.monotonic()
    files = load(root)
    print(f"{time.monotonic() - started:.3f} s for {len(opened)} files")
    watching = False
    assert len(files.syncs) == 51
    assert len(opened) == len(set(opened)) == 105


def test_reading_a_project_imports_no_engine(tmp_path: Path) -> None:
    """Start-up stays short: neither DuckDB, nor Arrow, nor a driver is needed to read files."""
    code = (
        "import sys; from pathlib import Path; from levada.project import files; "
        "files.read(Path(sys.argv[1]), source_options=lambda t: None, destination_options=lambda t: None, "
        "known_sources=(), known_destinations=()); "
        "print(sorted({'duckdb', 'pyarrow', 'sqlglot', 'aiohttp', 'liquid'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(write(tmp_path, GOOD))], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
