"""A model's `.sql` file: the header comment is YAML, what follows is the query."""

from __future__ import annotations

import re

from levada.declaration.yaml import Document, Positions, mapping, parse
from levada.errors import ConfigError, Where

_BEFORE = re.compile(r"(?:\s|--[^\n]*(?:\n|\Z))*")
_TOKEN = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)
      | '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
      | [^\s]""",
    re.DOTALL | re.VERBOSE,
)
_EXAMPLE = "begin the file with: /* source: NAME, and in the next line key: COLUMN */"


def parse_sql(text: str, file: str) -> Document:
    """The header's keys, and the query as the key `query`; positions are those of the `.sql` file.

    The query keeps its comments and its form; semicolons at its end go. Raises ConfigError: no header
    (config.sql_header), a header that is not YAML (config.yaml), no query (config.empty_query).
    """
    before = _BEFORE.match(text)
    start = before.end() if before else 0
    if not text.startswith("/*", start):
        raise ConfigError(
            "the file does not begin with a header comment",
            code="config.sql_header",
            where=_place(text, start, file),
            hint=_EXAMPLE,
        )
    end = text.find("*/", start + 2)
    if end < 0:
        raise ConfigError(
            "the header comment is never closed",
            code="config.sql_header",
            where=_place(text, start, file),
            hint="close it with */ before the query",
        )
    inner = start + 2
    inner += len(text[inner:end]) - len(text[inner:end].lstrip(" \t"))
    begin = _place(text, inner, file)
    # a key in the line of the /* stands as deep as those below it
    depth = _indentation(text[inner:end])
    header = parse(" " * depth + text[inner:end], file, line=begin.line, column=begin.column - depth)
    if header.value is None or not isinstance(header.value, dict):
        where = header.positions.at() if header.value is not None else _place(text, start, file)
        raise ConfigError(
            "the header comment must hold `key: value` lines", code="config.sql_header", where=where, hint=_EXAMPLE
        )
    value = mapping(header)
    for key in ("query", "table"):
        if key in value:
            raise ConfigError(
                f"the key `{key}` does not go into the header of a .sql file",
                code="config.sql_header",
                where=header.positions.key(key),
                hint="the query stands below the header; a model over a table is a .yml file",
            )
    query_start = end + 2 + len(text[end + 2 :]) - len(text[end + 2 :].lstrip())
    query = _without_end(text[query_start:])
    if query is None:
        raise ConfigError(
            "there is no query below the header",
            code="config.empty_query",
            where=_place(text, end, file),
            hint="write a SELECT statement below the comment",
        )
    positions = header.positions
    at_query = _place(text, query_start, file)
    values = {**positions.values, ("query",): (at_query.line, at_query.column)}
    return Document({**value, "query": query}, Positions(file, positions.keys, values))


def _without_end(query: str) -> str | None:
    """The query without semicolons (and what comments follow them) at its end; None if nothing is left."""
    tokens = [token for token in _TOKEN.finditer(query) if token["comment"] is None]
    end: int | None = None
    while tokens and tokens[-1][0] == ";":
        end = tokens.pop().start()
    return query[:end].rstrip() if tokens else None


def _indentation(text: str) -> int:
    """By how many blanks the second line that holds anything is indented; 0 if the first line holds nothing."""
    first, *others = text.split("\n")
    below = next((line for line in others if line.strip()), "") if first.strip() else ""
    return len(below) - len(below.lstrip(" "))


def _place(text: str, offset: int, file: str) -> Where:
    return Where(file, text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1)
