"""Mistakes of a mapping are found before a row is read, at their place in the file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from levada.errors import ConfigError
from levada.model import Model
from levada.project.scaffold import EXAMPLE_SYNC, scaffold
from levada.runner.check import check
from levada.runner.project import Project
from levada.runner.resolve import resolve


@pytest.mark.parametrize(
    ("written", "place", "message"),
    [
        ("email: {column: emial}", ":7:19", "the model has no column emial"),
        ("email: {sql: \"read_text('/etc/passwd')\"}", ":7:10", "the function read_text may not be used here"),
        ("email: {column: email, apply: [normalise_email]}", ":7:10", "there is no transform 'normalise_email'"),
        ("email: {template: 'Hi {{ nobody }}'}", ":7:10", "nobody"),
    ],
)
def test_an_error_of_a_field_names_its_place(tmp_path: Path, written: str, place: str, message: str) -> None:
    """file:line:column, what happened, and a hint."""
    scaffold(tmp_path, "acme")
    path = tmp_path / "syncs" / f"{EXAMPLE_SYNC}.yml"
    text = path.read_text(encoding="utf-8")
    right = "email: {column: email, apply: [normalize_email]}"
    assert right in text
    path.write_text(text.replace(right, written), encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert str(caught.value.where).endswith(f"{EXAMPLE_SYNC}.yml{place}")
    assert message in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("file", "text", "place", "message"),
    [
        ("customers.sql", "/*\nsource: shop\nkey: id\n*/\n\nselect nope from customers", "customers.sql:6:8", "nope"),
        (
            "customers.sql",
            "/*\nsource: shop\nkey: id\n*/\n\nselect '漢字' as a, -- ä\n\t'ü' as b, nope\nfrom customers;\n",
            "customers.sql:7:12",
            "nope",
        ),
        ("customers.sql", "/* source: shop\nkey: id */ select\n*\nfrm customers", "customers.sql:4:5", "syntax error"),
        ("customers.sql", "/*\nsource: shop\nkey: id\n*/\nselect *\nfrom custom", "customers.sql:6:6", "custom"),
        ("customers.yml", "source: shop\nkey: id\nquery: |\n  select\n  nope\n", "customers.yml:3:8", "nope"),
        ("customers.sql", "/*\nsource: shop\nkey: id\n*/\ndelete from customers", "customers.sql:5:1", "single read"),
        ("customers.yml", "source: shop\nkey: id\ntable: no.such\n", "customers.yml:3:8", "no"),
    ],
)
def test_a_query_that_the_source_refuses_is_a_mistake_of_the_models_file(
    tmp_path: Path, file: str, text: str, place: str, message: str
) -> None:
    """The place in the file that is wrong is named, and the exit code is 2, as for all that stands wrong in a file."""
    scaffold(tmp_path, "acme")
    (tmp_path / "models" / "customers.sql").unlink()
    (tmp_path / "models" / file).write_text(text, encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert str(caught.value.where).endswith(place)
    assert message in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


def test_a_quoted_part_of_a_tables_name_may_hold_a_dot() -> None:
    """Dots inside double quotes are the name's own, as in `to:`."""
    odd = '"odd.schema"."a ""b"""'
    assert Model(source="shop", key=("id",), table=odd).query_for("postgres") == f"SELECT * FROM {odd}"


@pytest.mark.parametrize(
    ("table", "dialect", "written"),
    [
        ("sales.Orders", "postgres", '"sales"."Orders"'),
        ("sales.Orders", "mysql", "`sales`.`Orders`"),
        ('"a.b".c', "mysql", "`a.b`.`c`"),
        ("sales.orders", "snowflake", "sales.orders"),
        ('sales."my orders"', "snowflake", 'sales."my orders"'),
        ("`a-b`.sales.orders", "bigquery", "`a-b`.sales.orders"),
    ],
)
def test_a_table_is_written_out_for_its_sources_dialect(table: str, dialect: str, written: str) -> None:
    """Once, for all who ask the source: its columns, its rows, a preview and the figures of the key."""
    assert Model(source="shop", key=("id",), table=table).query_for(dialect) == f"SELECT * FROM {written}"


def test_a_query_loses_the_semicolon_at_its_end_and_nothing_at_its_beginning() -> None:
    """Places in errors count from its beginning."""
    assert Model(source="shop", key=("id",), query="\n select 1 as id ;\n").query_for("duckdb") == "\n select 1 as id"


@pytest.mark.parametrize(
    ("upsert", "fields", "message"),
    [
        ("'PUT /contacts/{nope}'", "{customer_id: customer_id, email: email}", "{nope}"),
        ("{send: POST /contacts, query: {at: '{nope}'}}", "{customer_id: customer_id, email: email}", "{nope}"),
        ("{send: POST /contacts, record: {mail: '{nope}'}}", "{customer_id: customer_id, email: email}", "{nope}"),
        ("'PUT /contacts/{match.email}'", "{customer_id: customer_id, email: email}", "does not match by"),
        ("POST /contacts", "{customer_id: customer_id, address: email, address.city: email}", "inside another field"),
    ],
)
def test_requests_that_a_mapping_cannot_fill_are_found_before_anything_is_planned(
    tmp_path: Path, upsert: str, fields: str, message: str
) -> None:
    """A field that a path or a record names and no sync maps, and fields inside one another, are mistakes of files."""
    scaffold(tmp_path, "acme")
    destination = f"type: http\nbase_url: https://crm.example.com\nobjects:\n  contacts: {{upsert: {upsert}}}\n"
    (tmp_path / "destinations" / "crm.yml").write_text(destination, encoding="utf-8")
    sync = f"model: customers\nto: crm.contacts\nmatch: {{customer_id: customer_id}}\nfields: {fields}\n"
    (tmp_path / "syncs" / f"{EXAMPLE_SYNC}.yml").write_text(sync, encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert message in caught.value.message
    assert "customers_to_crm.yml:4" in str(caught.value.where)


def test_an_address_that_is_never_sent_to_is_found_before_anything_is_planned(tmp_path: Path) -> None:
    """Cleartext to a host of the internet is a mistake of the destination's file, not an outage of a run."""
    scaffold(tmp_path, "acme")
    destination = "type: http\nbase_url: http://crm.example.com\nobjects:\n  contacts: {upsert: POST /contacts}\n"
    (tmp_path / "destinations" / "crm.yml").write_text(destination, encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert caught.value.code == "config.cleartext"


def test_a_destination_that_is_not_asked_is_not_said_to_answer(tmp_path: Path) -> None:
    """Without a declared check nothing is sent to a tool, and `levada check` says so."""
    scaffold(tmp_path, "acme")
    destination = "type: http\nbase_url: http://127.0.0.1:9\nobjects:\n  contacts: {upsert: POST /contacts}\n"
    (tmp_path / "destinations" / "crm.yml").write_text(destination, encoding="utf-8")
    with Project.open(tmp_path) as project:
        found = {each.subject: each for each in check(project.world).findings}
    assert found["destination crm"].state == "ok"
    assert "not asked" in found["destination crm"].message


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("select emial from customers", "did you mean email?"),
        ("select email from custmers", "did you mean customers?"),
        ("select email from orders", "there are: customers"),
        ("select lowwer(email) from customers", "did you mean lower?"),
    ],
)
def test_the_name_that_was_probably_meant_in_a_query_is_told(tmp_path: Path, query: str, hint: str) -> None:
    """A column, a function, or a table of the source, also one that the query does not name; none of the engine's."""
    scaffold(tmp_path, "acme")
    (tmp_path / "models" / "customers.sql").write_text(f"/*\nsource: shop\nkey: id\n*/\n{query}\n", encoding="utf-8")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert caught.value.hint == hint


def test_sqlite_tells_no_place_in_a_query(tmp_path: Path) -> None:
    """Then it is where the query begins."""
    scaffold(tmp_path, "acme")
    sqlite3.connect(tmp_path / "shop.db").close()
    (tmp_path / "sources" / "shop.yml").write_text("type: sqlite\npath: shop.db\n")
    (tmp_path / "models" / "customers.sql").write_text("/*\nsource: shop\nkey: id\n*/\n\nselect 1 as id,\n  nope\n")
    with Project.open(tmp_path) as project, pytest.raises(ConfigError) as caught:
        resolve(project.world, EXAMPLE_SYNC)
    assert str(caught.value.where) == "models/customers.sql:6:1"
    assert "nope" in caught.value.message
