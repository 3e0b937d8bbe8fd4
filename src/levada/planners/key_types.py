"""Keys whose type differs from day to day, as that of a CSV's column does that holds one odd value for a day.

A key is the same key only if it is written the same. So whole numbers and dates, which have one way to be written, are
compared as text while the ledger still holds odd keys; and what would turn known keys into others is refused.
"""

from __future__ import annotations

from levada.planner import Ledger
from levada.planners import sql
from levada.planners.engine import Engine
from levada.planners.ledgers import Shape, key_changed
from levada.planners.mapped import key_name
from levada.planners.values import INTEGER_BITS
from levada.wording import plural

WIDEST = "DECIMAL(38,0)"
WHOLE = {*INTEGER_BITS, WIDEST}
WRITTEN_ONE_WAY = {*WHOLE, "DATE"}


def known_type(engine: Engine, ledger: Ledger, key: str, kind: str) -> str:
    """In which type a key of today's type `kind` is compared: another one, if the ledger holds keys beyond it.

    Text, for a few texts that are no such values; the widest whole numbers, for longer ones. It stays `kind` if
    those texts are most of the keys, or one is another writing of a value, as 007 is of 7: then the key is another
    one, and `LedgerView` refuses it.
    """
    if kind not in WRITTEN_ONE_WAY or key not in ledger.keys:
        return kind
    column = key_name(key)
    value = f"TRY_CAST({column} AS {kind})"
    total = odd = 0
    wider = kind
    for segment in ledger.segments:
        scan = sql.parquet(ledger.folder / segment.file.name)
        total += segment.file.rows
        stored = engine.types(f"SELECT * FROM {scan}").get(f"key.{key}")
        if stored == kind or (stored != "VARCHAR" and not {stored, kind} <= WHOLE):
            continue
        strange, rewritten = engine.row(
            f"SELECT count(*) FILTER ({value} IS NULL),"
            f" count(*) FILTER (CAST({value} AS VARCHAR) <> CAST({column} AS VARCHAR)) FROM {scan}"
        )
        if rewritten:
            return kind
        if stored == "VARCHAR":
            odd += strange
        elif strange:
            wider = WIDEST
    if odd > total / 2:
        return kind
    return "VARCHAR" if odd else wider


def check_rewritten(engine: Engine, ledger: Ledger, shape: Shape, rows: str) -> None:
    """Raises ConfigError if known keys are among today's `rows` only by another writing, as 7 is by 007."""
    if tuple(ledger.keys) != shape.keys:
        return
    for segment in ledger.segments:
        scan = sql.parquet(ledger.folder / segment.file.name)
        columns = engine.types(f"SELECT * FROM {scan}")
        keys = list(zip(shape.keys, shape.key_types, strict=True))
        changed = [(name, kind) for name, kind in keys if columns[f"key.{name}"] != kind]
        if segment.kind == "remove" or not changed:
            continue
        exact, by_value = [], []
        for index, (name, kind) in enumerate(keys):
            column, stored = f"s.{key_name(name)}", columns[f"key.{name}"]
            exact.append(f"TRY_CAST({column} AS {kind}) = m.k{index}")
            by_value.append(f"{column} = TRY_CAST(m.k{index} AS {stored})")
        (count,) = engine.row(
            f"SELECT count(*) FROM (SELECT s.* FROM {scan} s ANTI JOIN {rows} m ON {' AND '.join(exact)}) s "
            f"SEMI JOIN {rows} m ON {' AND '.join(by_value)}"
        )
        if count:
            name, kind = changed[0]
            keys_are = plural(count, "known key is", "known keys are")
            why = f"{keys_are} written in another way, and would be removed and added anew"
            raise key_changed(ledger, name, columns[f"key.{name}"], kind, why)
