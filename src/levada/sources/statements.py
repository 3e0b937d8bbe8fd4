"""Statements that cannot write: how names and texts are put into SQL, and what a query may be.

A user's query reaches an engine only as `SELECT * FROM (query)`, over a connection that cannot write. The
checks here come before that: they make the refusal early, the same for all engines, and name what was
wrong. They are not the only wall, and the rights of the warehouse's own account are the last.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from levada.errors import ConfigError, SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlglot.tokenizer_core import Token

QUERY_CHARACTERS_MAX = 1_000_000
"""The longest query that is taken; sqlglot's time grows with it."""

ONE_SELECT = "a model is one SELECT (or WITH … SELECT) that only reads; write to the warehouse with other tools"

#: functions that act on the server, its files or other sessions, though they stand in a SELECT
ACTING_FUNCTIONS = re.compile(
    r"""(?ix) ^(
      pg_(read|write)_\w+ | pg_ls_\w+ | pg_stat_file | pg_file_\w+ | pg_logdir_ls | pg_import_\w+ | pg_backup_\w+
      | lo_\w+ | lowrite | loread | dblink\w* | set_config | nextval | setval | pg_notify
      | pg_(terminate|cancel)_backend | pg_reload_conf | pg_rotate_logfile | pg_switch_wal | pg_promote
      | pg_(try_)?advisory_\w+ | pg_(create|drop|copy|advance|logical)_\w+ | pg_replication_\w+
      | pg_stat_\w*reset\w* | pg_stat_clear_snapshot
      | (query|cursor|table|schema|database)_to_xml\w* | load_extension | writefile | readfile | edit | fts3_tokenizer
    )$"""
)
_STARTS = {"SELECT", "WITH", "VALUES", "TABLE", "FROM", "("}


def identifier(name: str) -> str:
    """A name as SQL of DuckDB, PostgreSQL and SQLite writes it. Raises ConfigError for one that cannot exist."""
    if not name or "\0" in name:
        raise ConfigError(f"{name!r} cannot be the name of a table or column", code="config.name")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL of DuckDB and SQLite writes it. Raises ConfigError if it holds a NUL character."""
    if "\0" in text:
        raise ConfigError(f"{text!r} holds a NUL character", code="config.name")
    return "'" + text.replace("'", "''") + "'"


def qualified(table: str) -> str:
    """`table` or `schema.table`, as a model names it, with each part quoted unless it already is."""
    parts = re.findall(r'"(?:[^"]|"")+"|[^".]+', table)
    if not parts or ".".join(parts) != table:
        raise ConfigError(f"{table!r} is not the name of a table", code="config.name", hint="table, or schema.table")
    return ".".join(part if part.startswith('"') else identifier(part) for part in parts)


def wrapped(query: str) -> str:
    """The query as a sub-query, the only form in which it is run. A comment at its end cannot swallow the rest."""
    return f"SELECT * FROM (\n{query}\n) AS levada_model"


def refused(why: str) -> SourceError:
    return SourceError(f"the query is not a single read: {why}", code="source.not_read_only", hint=ONE_SELECT)


def one_select(query: str, dialect: str) -> str:
    """The query without closing semicolons. Raises SourceError `source.not_read_only` if it could do more than read.

    What sqlglot cannot parse, but begins as a read and calls nothing that acts, is left to the engine, which
    takes it as a sub-query in a read-only transaction or not at all.
    """
    from sqlglot.errors import SqlglotError, TokenError
    from sqlglot.tokenizer_core import TokenType

    check_text(query)
    try:
        tokens = _tokens(query, dialect)
    except TokenError as error:
        raise SourceError(
            f"the query cannot be read: {_first_line(error)}", code="source.query", hint="is a quote or comment open?"
        ) from error
    end = len(query)
    while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
        end = tokens.pop().start
    if not tokens:
        raise SourceError("the query is empty", code="source.query", hint=ONE_SELECT)
    if tokens[0].text.upper() not in _STARTS:
        raise refused(f"it begins with {tokens[0].text[:40].upper()}")
    if any(token.token_type == TokenType.SEMICOLON for token in tokens):
        raise refused("it holds more than one statement")
    _check_functions(tokens)
    text = query[:end]
    try:
        _check_tree(text, dialect)
    except SqlglotError:
        return text
    return text


def check_text(query: str) -> None:
    """Raises SourceError for a text that no engine should have to look at."""
    if "\0" in query:
        raise SourceError("the query holds a NUL character", code="source.query")
    if len(query) > QUERY_CHARACTERS_MAX:
        raise SourceError(
            f"the query has {len(query):,} characters; the most is {QUERY_CHARACTERS_MAX:,}",
            code="source.query",
            hint="make it a view in the warehouse and use `table:`",
        )


def _tokens(query: str, dialect: str) -> list[Token]:
    from sqlglot.dialects.dialect import Dialect

    return list(Dialect.get_or_raise(dialect).tokenize(query))


def _check_functions(tokens: Sequence[Token]) -> None:
    for index, token in enumerate(tokens[:-1]):
        following = tokens[index + 1].text
        if following == "(" and ACTING_FUNCTIONS.match(token.text):
            raise refused(f"the function {token.text} does more than compute a value")
        if token.text.upper() == "U" and following == "&":
            raise refused("names and texts with Unicode escapes (U&) are not taken")


def _check_tree(query: str, dialect: str) -> None:
    import sqlglot
    from sqlglot import exp

    trees = [tree for tree in sqlglot.parse(query, dialect=dialect) if tree is not None]
    if len(trees) != 1:
        raise refused("it holds more than one statement")
    writing = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.DDL, exp.Drop, exp.Alter, exp.Copy, exp.TruncateTable)
    for node in trees[0].walk():
        if isinstance(node, exp.Query):
            continue
        if isinstance(node, writing):
            raise refused(f"it holds {node.key.upper()}")
        if isinstance(node, exp.Into):
            raise refused("SELECT … INTO makes a table")
        if isinstance(node, exp.Lock):
            raise refused("it locks rows (FOR UPDATE, FOR SHARE)")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
