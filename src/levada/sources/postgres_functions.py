"""Which functions a query may call on PostgreSQL, decided by the server's catalog and not by a list of bad names.

A read-only transaction forbids changing rows. It does not forbid what acts on something else: other sessions, the
server's files, other hosts, and functions that take SQL as a text and so could call all of these. They are refused by
what they are:

* written in C, or a part of the server, and declared VOLATILE, unless they are known to compute only (`COMPUTING`);
* of an extension in C, giving rows for a text (`crosstab`, `xpath_table` and their like take SQL);
* in plpgsql with EXECUTE in its body, and in other languages than SQL and VOLATILE, if they take a text;
* in SQL or plpgsql, calling one of these.

Every word of the query before a bracket or a comment is looked up, also in comments and in quotes: which of them the
server takes for a call need not be known. A function of one row is called without a bracket, too (`(t).name`): so are
the names of those that somebody made, wherever they stand. What is not looked into are views, operators, casts and
aggregates that somebody made in the warehouse. What is not here: the rights of the account, which are the last wall
(`CAUTIONS` names some of them).
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from levada.errors import SourceError
from levada.sources.statements import literal

DEPTH_MAX = 20
"""So deep are functions followed that call others; what lies deeper is refused."""
NAME_BYTES_MAX = 63
_FOLDED = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_CALLED = re.compile(r"([\w$]+)(?=\"?\s*(?:\(|/\*|--))")
_QUOTED = re.compile(r'(?<!")(?="((?:[^"]|""){1,256})"\s*(?:\(|/\*|--))')
"""A name in quotes before a bracket or a comment; of what overlaps, all."""
_UNICODE = re.compile(r"[uU]&[\"']")
_EXECUTES = re.compile(r"\bexecute\b", re.IGNORECASE)
COMPUTING = re.compile(
    r"""(?x) (
      random | random_normal | normal_rand | setseed | array_sample | array_shuffle | bernoulli | system
      | clock_timestamp | timeofday | gen_random_uuid | uuidv[47] | uuid_generate_v\w+ | gen_random_bytes | gen_salt
      | pgp_(sym|pub)_encrypt(_bytea)? | pg_sleep | pg_sleep_for | pg_sleep_until
      | pg_(database|indexes|relation|table|tablespace|total_relation)_size | pg_partition_(ancestors|tree)
      | pg_is_in_recovery | pg_last_xact_replay_timestamp | pg_xact_commit_timestamp | pg_xact_status | txid_status
    )"""
)
"""Volatile, since their values differ from call to call, and no more. `pg_sleep` holds up nothing but its own read."""

_LOOK_UP = """
SELECT p.proname::text, l.lanname::text, p.provolatile::text, p.proretset, p.oid::int8 >= 16384,
       EXISTS (SELECT 1 FROM unnest(p.proargtypes::oid[]) AS a WHERE a IN
               (SELECT t.oid FROM pg_catalog.pg_type t
                WHERE t.typcategory NOT IN ('B', 'D', 'E', 'G', 'I', 'N', 'T', 'V'))),
       CASE WHEN l.lanname = 'sql' AND coalesce(p.prosrc, '') = '' THEN pg_get_functiondef(p.oid)
            WHEN l.lanname IN ('internal', 'c') THEN '' ELSE coalesce(p.prosrc, '') END::text
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.proname IN ({names})
"""
_OF_A_ROW = """
SELECT DISTINCT p.proname::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0]
WHERE p.oid::int8 >= 16384 AND p.pronargs = 1 AND t.typcategory IN ('C', 'P')
"""
CAUTIONS = """
SELECT r.rolsuper, r.rolcreaterole OR r.rolreplication OR r.rolbypassrls,
       (SELECT string_agg(o.rolname::text, ', ' ORDER BY o.rolname) FROM pg_roles o
        WHERE o.rolname IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program',
                            'pg_signal_backend', 'pg_write_all_data', 'pg_maintain', 'pg_checkpoint')
          AND pg_has_role(o.oid, 'MEMBER')),
       (SELECT min(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
          AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')),
       has_database_privilege(current_database(), 'CREATE')
         OR EXISTS (SELECT 1 FROM pg_namespace n
                    WHERE n.nspname !~ '^pg_' AND has_schema_privilege(n.oid, 'CREATE'))
FROM pg_roles r WHERE r.rolname = current_user
"""

Ask = Callable[[str], Sequence[Sequence[Any]]]
"""Runs a statement and gives its rows."""


def check_calls(query: str, ask: Ask, refused: Callable[[str], SourceError]) -> None:
    """Raises `refused(why)` if the query names a function that it may not call."""
    if _UNICODE.search(query):
        raise refused("names and texts with Unicode escapes (U&) are not taken")
    of_a_row = [str(name) for (name,) in ask(_OF_A_ROW)]
    waiting, known = called_in(query, of_a_row), set[str]()
    for _ in range(DEPTH_MAX):
        names = sorted(waiting - known)
        if not names:
            return
        known.update(names)
        waiting = set()
        for name, *facts in ask(_LOOK_UP.format(names=", ".join(map(literal, names)))):
            if why := reason(str(name), *facts):
                raise refused(f"the function {name} {why} (a view of the warehouse may call it)")
            waiting |= called_in(str(facts[-1]), of_a_row)
    raise refused(f"its functions call others, more than {DEPTH_MAX} deep")


def called_in(text: str, of_a_row: Iterable[str] = ()) -> set[str]:
    """Every word that may be the name of a function that is called, as it is written and as the server folds it.

    `of_a_row`: names of functions that may be called without a bracket.
    """
    words = set(_CALLED.findall(text)) | {found.replace('""', '"') for found in _QUOTED.findall(text)}
    words |= {word.translate(_FOLDED) for word in words} | {word.lower() for word in words}
    found = {word.encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore") for word in words}
    lower = text.lower()
    return found | {name for name in of_a_row if name.replace('"', '""').lower() in lower}


def reason(name: str, language: str, volatile: str, rows: bool, added: bool, takes_text: bool, body: str) -> str:
    """Why a function may not be called; empty if it may. `added`: it did not come with the server."""
    match language:
        case "internal" | "c":
            if volatile == "v" and not COMPUTING.fullmatch(name):
                return "does more than compute a value"
            if added and rows and takes_text and volatile != "i":
                return "gives rows for a text, which may be SQL"
        case "sql":
            pass
        case "plpgsql":
            if takes_text and _EXECUTES.search(body):
                return "runs a text as SQL (EXECUTE)"
        case _:
            if takes_text and volatile == "v":
                return f"is written in {language} and takes a text, which may be SQL"
    return ""


def cautions(rows: Iterable[Sequence[Any]]) -> tuple[str, ...]:
    """What an account may do that a reader need not, from the rows of CAUTIONS."""
    found: list[str] = []
    for superuser, administers, roles, table, creates in rows:
        if superuser:
            return ("is a superuser: it may change everything, read the server's files and run programs there",)
        if roles:
            found.append(f"is a member of {roles}")
        if administers:
            found.append("may make roles, replicate or pass over row security")
        if table:
            found.append(f"may write to tables, such as {table}")
        if creates:
            found.append("may make schemas or tables")
    return tuple(found)
