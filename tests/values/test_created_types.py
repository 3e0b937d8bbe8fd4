"""A table that Levada makes has the types that its source has, as near as its database comes; and what arrives there is
taken for the same by the next run, which sends nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest

from components import require
from levada import Project
from levada_process import write
from servers.mariadb import MariadbServer, fresh_mariadb
from servers.postgres import PostgresServer, fresh_database

DESTINATIONS = ("postgres", "mysql", "sqlite", "duckdb")
GUARD = "guard: {removed_max: none, changed_max: none, nulls_max: none, invalid_max: none}\n"


@dataclass(frozen=True)
class Typed:
    """A column of a source: its type there, a value as SQL, and the type that each destination makes of it."""

    type: str
    value: str
    postgres: str
    mysql: str
    sqlite: str
    duckdb: str


COMMON = {
    "flag": Typed("boolean", "true", "boolean", "tinyint(1)", "BOOLEAN", "BOOLEAN"),
    "small": Typed("smallint", "7", "smallint", "smallint(6)", "INTEGER", "SMALLINT"),
    "whole": Typed("integer", "7", "integer", "int(11)", "INTEGER", "INTEGER"),
    "big": Typed("bigint", "9007199254740993", "bigint", "bigint(20)", "INTEGER", "BIGINT"),
    "price": Typed("numeric(12,2)", "12.30", "numeric(12,2)", "decimal(12,2)", "DECIMAL_TEXT(12,2)", "DECIMAL(12,2)"),
    "name": Typed("text", "'Ann'", "text", "longtext", "TEXT", "VARCHAR"),
    "day": Typed("date", "'2026-03-01'", "date", "date", "DATE", "DATE"),
    "hour": Typed("time", "'07:02:23.5'", "time without time zone", "time(6)", "TIME", "TIME"),
    "local": Typed(
        "timestamp",
        "'2026-03-01 07:02:23.123456'",
        "timestamp without time zone",
        "datetime(6)",
        "TIMESTAMP",
        "TIMESTAMP",
    ),
    "real8": Typed("double precision", "0.1", "double precision", "double", "REAL", "DOUBLE"),
}
SOURCES: dict[str, dict[str, Typed]] = {
    "postgres": COMMON
    | {
        "at": Typed(
            "timestamptz",
            "'2026-03-01 07:02:23+09'",
            "timestamp with time zone",
            "datetime(6)",
            "TIMESTAMPTZ",
            "TIMESTAMP WITH TIME ZONE",
        ),
        "bytes": Typed("bytea", r"'\x00ff'", "bytea", "longblob", "BLOB", "BLOB"),
        "doc": Typed("jsonb", """'{"a": [1, null]}'""", "jsonb", "json", "JSON_TEXT", "JSON"),
        "plain_doc": Typed("json", """'{"a": 1}'""", "jsonb", "json", "JSON_TEXT", "JSON"),
        "token": Typed("uuid", "'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "uuid", "char(36)", "UUID", "UUID"),
        "any_size": Typed(
            "numeric", "123456789012345678.5", "numeric", "decimal(65,30)", "DECIMAL_TEXT", "DECIMAL(38,20)"
        ),
        "code": Typed("char(3)", "'abc'", "text", "longtext", "TEXT", "VARCHAR"),
        "short": Typed("varchar(20)", "'abc '", "text", "longtext", "TEXT", "VARCHAR"),
        "numbers": Typed("int[]", "'{1,2,NULL}'", "integer[]", "json", "JSON_TEXT", "INTEGER[]"),
        "words": Typed("text[]", "'{a,b}'", "text[]", "json", "JSON_TEXT", "VARCHAR[]"),
        "real4": Typed("real", "0.1", "real", "float", "REAL", "FLOAT"),
    },
    "duckdb": COMMON
    | {
        "at": Typed(
            "timestamptz",
            "'2026-03-01 07:02:23+09'",
            "timestamp with time zone",
            "datetime(6)",
            "TIMESTAMPTZ",
            "TIMESTAMP WITH TIME ZONE",
        ),
        "bytes": Typed("blob", r"'\x00\xFF'::BLOB", "bytea", "longblob", "BLOB", "BLOB"),
        "doc": Typed("json", """'{"a": [1, null]}'""", "jsonb", "json", "JSON_TEXT", "JSON"),
        "token": Typed("uuid", "'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "uuid", "char(36)", "UUID", "UUID"),
        "numbers": Typed("int[]", "[1, 2, NULL]", "integer[]", "json", "JSON_TEXT", "INTEGER[]"),
        "many": Typed(
            "ubigint", "18446744073709551615", "numeric(20,0)", "decimal(20,0)", "DECIMAL_TEXT(20,0)", "UBIGINT"
        ),
        "thing": Typed(
            "struct(a int, b varchar)",
            "{'a': 1, 'b': 'x'}",
            "jsonb",
            "json",
            "JSON_TEXT",
            "STRUCT(a INTEGER, b VARCHAR)",
        ),
        "real4": Typed("real", "0.1", "real", "float", "REAL", "FLOAT"),
    },
    "sqlite": {name: typed for name, typed in COMMON.items() if name not in ("small", "whole", "flag")}
    | {
        "flag": Typed("boolean", "1", "boolean", "tinyint(1)", "BOOLEAN", "BOOLEAN"),
        "at": Typed(
            "timestamptz",
            "'2026-03-01T07:02:23+09:00'",
            "timestamp with time zone",
            "datetime(6)",
            "TIMESTAMPTZ",
            "TIMESTAMP WITH TIME ZONE",
        ),
        "bytes": Typed("blob", "x'00ff'", "bytea", "longblob", "BLOB", "BLOB"),
        "doc": Typed("json", """'{"a": 1}'""", "jsonb", "json", "JSON_TEXT", "JSON"),
        "token": Typed("uuid", "'6f9619ff-8b86-d011-b42d-00c04fc964ff'", "uuid", "char(36)", "UUID", "UUID"),
    },
}


@pytest.fixture(scope="module")
def mysql() -> Iterator[str]:
    require("mariadb")
    with MariadbServer() as server, fresh_mariadb(server) as url:
        yield url


def fill(kind: str, folder: Path, url: str, columns: Mapping[str, Typed]) -> str:
    """A table `things` of one row; returns the text of the source's file."""
    declared = ", ".join(f'"{name}" {typed.type}' for name, typed in columns.items())
    statements = [
        f"CREATE TABLE things (id integer PRIMARY KEY, {declared})",
        f"INSERT INTO things VALUES (1, {', '.join(typed.value for typed in columns.values())})",
        f"INSERT INTO things VALUES (2, {', '.join('NULL' for _ in columns)})",
    ]
    connection: Any
    match kind:
        case "postgres":
            with psycopg.connect(url, autocommit=True) as connection:
                for statement in statements:
                    connection.execute(statement)
            return f"type: postgres\nurl: {url}\n"
        case "duckdb":
            with duckdb.connect(str(folder / "from.duckdb")) as connection:
                for statement in statements:
                    connection.execute(statement)
            return "type: duckdb\npath: from.duckdb\n"
        case _:
            connection = sqlite3.connect(folder / "from.sqlite")
            for statement in statements:
                connection.execute(statement)
            connection.commit()
            connection.close()
            return "type: sqlite\npath: from.sqlite\n"


def made(kind: str, folder: Path, url: str, table: str) -> dict[str, str]:
    """The types of the columns of a table, told by the database's own driver."""
    connection: Any
    match kind:
        case "postgres":
            with psycopg.connect(url) as connection:
                return dict(
                    connection.execute(
                        f"SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
                        f" WHERE attrelid = '{table}'::regclass AND attnum > 0"
                    ).fetchall()
                )
        case "mysql":
            import pymysql

            address = psycopg.conninfo.conninfo_to_dict(url.replace("mysql://", "postgresql://"))
            connection = pymysql.connect(
                host=str(address["host"]), port=int(str(address["port"])), user=str(address["user"]),
                password=str(address["password"]), database=str(address["dbname"]),
            )  # fmt: skip
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SHOW CREATE TABLE {table}")
                    text = str(cursor.fetchall()[0][1])
                    cursor.execute(f"SHOW COLUMNS FROM {table}")
                    found = {str(row[0]): str(row[1]) for row in cursor.fetchall()}
            finally:
                connection.close()
            return {name: "json" if f"json_valid(`{name}`)" in text else native for name, native in found.items()}
        case "duckdb":
            with duckdb.connect(str(folder / "to.duckdb")) as connection:
                return {row[0]: row[1] for row in connection.execute(f"DESCRIBE {table}").fetchall()}
        case _:
            connection = sqlite3.connect(folder / "to.sqlite")
            rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
            connection.close()
            return {row[1]: row[2] for row in rows}


@pytest.mark.needs("postgres", "mariadb")
@pytest.mark.parametrize("destination", DESTINATIONS)
@pytest.mark.parametrize("source", SOURCES)
def test_a_table_is_made_with_its_sources_types_and_the_second_run_sends_nothing(
    tmp_path: Path, postgres_server: PostgresServer, mysql: str, source: str, destination: str
) -> None:
    """Every pair of a source and a database."""
    columns = SOURCES[source]
    with fresh_database(postgres_server) as there, fresh_database(postgres_server) as here:
        into = {
            "postgres": f"type: postgres\nurl: {here}\n",
            "mysql": f"type: mysql\nurl: {mysql}\n",
            "sqlite": "type: sqlite\npath: to.sqlite\n",
            "duckdb": "type: duckdb\npath: to.duckdb\n",
        }[destination]
        write(
            tmp_path,
            {
                "levada.yml": "name: t\n",
                "sources/w.yml": fill(source, tmp_path, there, columns),
                "models/things.yml": "source: w\nkey: id\ntable: things\n",
                "destinations/db.yml": f"{into}create_tables: true\n",
                "syncs/s.yml": f"model: things\nto: db.copies_of_{source}\nmode: mirror\nfields: all\n{GUARD}",
            },
        )
        with Project.open(tmp_path) as project:
            first = project.run("s")
            assert (first.status, first.tally.delivered_total) == ("succeeded", 2), list(project.records("s"))
            url = {"postgres": here, "mysql": mysql}.get(destination, "")
            types = made(destination, tmp_path, url, f"copies_of_{source}")
            second, again = project.run("s"), project.resync("s")
        del types["id"]
        wanted = {name: getattr(typed, destination) for name, typed in columns.items()}
        assert {(name, types[name], wanted[name]) for name in wanted if types[name] != wanted[name]} == set()
        assert (second.counts.operations, second.counts.unchanged) == (0, 2)
        assert again.tally.effects == {"same": 2}
