"""Which tables a query names, so that a source of files looks into those and no others."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

from levada.sql.connection import bare

BY_TEXT = {"query", "query_table"}
"""Functions that are given names of tables in a text, which may be computed."""
_WORD = re.compile(r'"((?:[^"]|"")*)"|\'([^\']*)\'|([\w$]+)')


@lru_cache(maxsize=1_024)
def tables_named(query: str) -> frozenset[str] | None:
    """The tables that a DuckDB query reads, in lower case; names that its WITH defines are none.

    Of a query that DuckDB does not describe: all its words. None: nobody can tell, it may be any table. A query that
    was asked for before is not parsed again.
    """
    import duckdb

    connection = bare()
    try:
        found = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
        tree: Any = json.loads(found[0]) if found else {}
    except (duckdb.Error, ValueError, RecursionError):
        tree = {}
    finally:
        connection.close()
    if not tree or tree.get("error"):
        return frozenset(word.replace('""', '"').casefold() for match in _WORD.findall(query) for word in match if word)
    names: set[str] = set()
    functions: set[str] = set()
    _gather(tree, frozenset(), names, functions)
    return None if functions & BY_TEXT else frozenset(names)


def _gather(node: Any, defined: frozenset[str], names: set[str], functions: set[str]) -> None:
    """Adds the tables and functions named below a node of the tree. `defined`: what WITH has named above it."""
    if isinstance(node, list):
        for each in node:
            _gather(each, defined, names, functions)
    if not isinstance(node, dict):
        return
    for entry in (node.get("cte_map") or {}).get("map", ()):
        key = str(entry["key"]).casefold()
        recursive = '"RECURSIVE_CTE_NODE"' in json.dumps(entry["value"])
        _gather(entry["value"], defined | {key} if recursive else defined, names, functions)
        defined |= {key}
    name = str(node.get("table_name") or "").casefold()
    if name and node.get("type") in ("BASE_TABLE", "SHOW_REF") and (node.get("schema_name") or name not in defined):
        names.add(name)
    functions.add(str(node.get("function_name", "")).casefold())
    for key, each in node.items():
        if key != "cte_map":
            _gather(each, defined, names, functions)
