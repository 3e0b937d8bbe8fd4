"""Users' SQL expressions over the columns of a model: checked word by word before they are spliced in.

An expression is read by DuckDB's own parser, so that what is checked is what runs, and every node of its
tree must be of a known kind: operators, literals, casts, CASE, columns of the model and the scalar functions
of `FUNCTIONS`. No sub-query, aggregate, window, lambda, table function, star, parameter or volatile function
passes, and nothing can leave the parentheses it is put in. How long its value may become is bounded
(`levada.planners.expression_size`). Not here: types, which binding checks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from levada.errors import ConfigError
from levada.nearest import nearest_hint
from levada.nesting import NESTING_MAX, deepest
from levada.planners import expression_size
from levada.sql.connection import bare

EXPRESSION_CHARACTERS_MAX = 20_000
NODES_MAX = 5_000
START = "SELECT (\n"
END = "\n) AS x"

_WORDS = """
+ - * / // % ** ^ & | << >> ~ @ || -> ->> ~~ !~~ ~~* !~~* ~~~ ^@ !

abs add bit_count bit_length cbrt ceil ceiling degrees divide even exp factorial fdiv floor fmod gamma gcd greatest
greatest_common_divisor isfinite isinf isnan lcm least least_common_multiple ln log log10 log2 mod multiply nextafter
pi pow power radians round round_even roundbankers sign signbit sqrt subtract trunc xor acos asin atan atan2 cos cot
sin tan

array_extract ascii bar bin chr char_length character_length concat concat_ws contains damerau_levenshtein editdist3
ends_with format formatreadablesize from_base64 from_hex base64 hex unhex to_base64 to_hex instr jaccard
jaro_similarity jaro_winkler_similarity lcase left left_grapheme len length length_grapheme levenshtein like_escape
ilike_escape not_like_escape not_ilike_escape lower lpad ltrim md5 nfc_normalize not_ilike_escape ord parse_filename
position prefix printf regexp_escape regexp_extract regexp_extract_all regexp_full_match regexp_matches regexp_replace
regexp_split_to_array repeat replace reverse right right_grapheme rpad rtrim sha1 sha256 split split_part
starts_with str_split str_split_regex string_split string_split_regex string_to_array strip_accents strlen strpos
substr substring substring_grapheme suffix to_binary translate trim ucase unicode upper url_decode url_encode
encode decode octet_length md5_number mismatches hamming

century date_add date_diff datediff date_part datepart date_sub datesub date_trunc datetrunc day dayname dayofmonth
dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era extract hour isodow isoyear julian last_day make_date
make_time make_timestamp make_timestamptz microsecond millennium millisecond minute month monthname nanosecond quarter
second strftime strptime time_bucket timezone timezone_hour timezone_minute to_timestamp to_centuries to_days
to_decades to_hours to_microseconds to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_weeks
to_years try_strptime week weekday weekofyear year yearweek age

coalesce if ifnull nullif is_null constant_or_null

array_length json json_array json_array_length json_exists json_extract json_extract_path
json_extract_path_text json_extract_string json_keys json_merge_patch json_object json_quote json_structure json_type
json_valid json_value to_json

array_append array_cat array_concat array_contains array_distinct array_has array_has_all array_has_any
array_intersect array_position array_prepend array_reverse array_slice array_sort array_to_string array_unique
array_value cardinality element_at flatten list_append list_cat list_concat list_contains list_distinct list_element
list_extract list_has list_has_all list_has_any list_indexof list_intersect list_position list_prepend list_reverse
list_resize list_reverse_sort list_select list_slice list_sort list_sum list_min list_max list_avg list_count
list_unique list_value list_where list_zip map map_concat map_contains map_entries map_extract map_from_entries
map_keys map_values row struct_extract struct_insert struct_pack
"""
FUNCTIONS: frozenset[str] = frozenset(_WORDS.split())
"""Every function and operator that an expression may use, by DuckDB's names."""

CLASSES = frozenset({"FUNCTION", "COLUMN_REF", "CONSTANT", "OPERATOR", "CAST", "CASE", "COMPARISON", "CONJUNCTION"})
CLASSES |= frozenset({"BETWEEN", "TYPE"})
REFUSED = {
    "SUBQUERY": "a sub-query",
    "WINDOW": "a window function",
    "STAR": "a star",
    "LAMBDA": "a lambda",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a position",
    "DEFAULT": "DEFAULT",
    "COLLATE": "a collation",
}
UNSAFE_TYPES = {"variant"}
"""Casting a deeply nested JSON to one of these ends the whole process, as `json_contains` of one does."""
VOLATILE = {"random", "uuid", "gen_random_uuid", "now", "today", "current_date", "current_timestamp", "current_time"}
VOLATILE |= {"get_current_timestamp", "get_current_time", "localtime", "localtimestamp", "nextval", "setseed"}
VOLATILE |= {"current_localtimestamp", "current_localtime", "transaction_timestamp", "uuidv4", "uuidv7"}


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression: `sql` may be spliced wherever a scalar may stand. `columns`: those it reads, in none of
    which a text may be longer than `characters_max`."""

    sql: str
    columns: tuple[str, ...]
    characters_max: int


def checked(text: str, columns: Sequence[str], *, subject: str = "expression") -> Expression:
    """The expression, if it is one. `subject` names it in errors: "fields.tier".

    Raises ConfigError with line and column inside the expression, and the nearest known name.
    """
    if len(text) > EXPRESSION_CHARACTERS_MAX or "\x00" in text:
        raise _refused(subject, text, 0, f"longer than {EXPRESSION_CHARACTERS_MAX:,} characters or with U+0000", None)
    if not text.strip():
        raise _refused(subject, text, 0, "an empty expression", "write a column's name, or NULL")
    if _nesting(text) > NESTING_MAX:
        raise _deep(subject, text)
    with bare() as connection:
        (answer,) = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [START + text + END]).fetchone() or (
            "",
        )
    try:
        document = json.loads(answer)
    except RecursionError:
        raise _deep(subject, text) from None
    if document.get("error"):
        at = _offset(document.get("position"))
        message = str(document.get("error_message", "")).splitlines() or [""]
        raise _refused(subject, text, at, f"not an SQL expression: {message[0]}", "one scalar expression, no statement")
    node = document["statements"][0]["node"]
    alone = (
        len(document["statements"]) == 1
        and node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["select_list"][0]["alias"] == "x"
        and node["from_table"]["type"] == "EMPTY"
        and not any(node.get(part) for part in ("where_clause", "having", "qualify", "sample", "modifiers"))
        and not node["cte_map"]["map"]
        and not node["group_expressions"]
    )
    if not alone:
        raise _refused(subject, text, 0, "more than one expression", "one scalar expression, no statement")
    known = {column.lower(): column for column in columns}
    used: dict[str, None] = {}
    for found in _expressions(node["select_list"][0], subject, text):
        _check(found, known, used, subject, text)
    try:
        expression_size.check(node["select_list"][0])
    except expression_size.TooMuch as error:
        raise _refused(subject, text, _offset(error.node.get("query_location")), error.message, error.hint) from None
    except RecursionError:
        raise _deep(subject, text) from None
    return Expression(f"({text}\n)", tuple(used), expression_size.longest(node["select_list"][0]))


def _nesting(text: str) -> int:
    import duckdb

    return deepest(text, (start for start, _ in duckdb.tokenize(text)))


def _expressions(root: dict[str, Any], subject: str, text: str) -> Iterator[dict[str, Any]]:
    waiting: list[Any] = [root]
    seen = 0
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class" in node:
                seen += 1
                if seen > NODES_MAX:
                    raise _refused(subject, text, 0, f"more than {NODES_MAX:,} parts", "split it up in the model")
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _check(node: dict[str, Any], known: dict[str, str], used: dict[str, None], subject: str, text: str) -> None:
    at = _offset(node.get("query_location"))
    kind = str(node["class"])
    if kind == "COLUMN_REF":
        name = str(node["column_names"][0])
        if name.lower() in VOLATILE and name.lower() not in known:
            raise _refused(subject, text, at, f"{name} differs from run to run", "compute it in the model")
        if name.lower() not in known:
            raise _refused(
                subject, text, at, f"the model has no column {name!r}", nearest_hint(name, sorted(known.values()))
            )
        used[known[name.lower()]] = None
    elif kind == "FUNCTION":
        name = str(node["function_name"]).lower()
        if name in VOLATILE:
            raise _refused(subject, text, at, f"{name}() differs from run to run", "compute it in the model")
        special = node.get("schema") or node.get("catalog") or node.get("distinct") or node.get("filter")
        if name not in FUNCTIONS or special or node.get("order_bys", {}).get("orders"):
            raise _refused(
                subject, text, at, f"the function {name} may not be used here", nearest_hint(name, sorted(FUNCTIONS))
            )
    elif kind == "TYPE" and str(node.get("type_name", "")).lower() in UNSAFE_TYPES:
        raise _refused(subject, text, at, f"the type {node['type_name']} may not be used here", "cast to json instead")
    elif kind not in CLASSES:
        raise _refused(
            subject, text, at, f"{REFUSED.get(kind, kind.lower())} may not be used here", "compute it in the model"
        )


def _offset(position: object) -> int:
    return max(0, int(str(position)) - len(START)) if isinstance(position, int | str) and str(position).isdigit() else 0


def _deep(subject: str, text: str) -> ConfigError:
    return _refused(subject, text, 0, "nested too deep", "split it up in the model")


def _refused(subject: str, text: str, offset: int, message: str, hint: str | None) -> ConfigError:
    before = text.encode()[:offset].decode(errors="replace")
    line = before.count("\n") + 1
    column = len(before) - before.rfind("\n")
    where = f" (line {line}, column {column} of the expression)" if text.strip() else ""
    return ConfigError(f"{subject}: {message}{where}", code="config.expression", hint=hint)
