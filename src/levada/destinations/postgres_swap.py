"""How a filled table takes the place of another in PostgreSQL, in one transaction.

The new table takes over the old one's name, owner, grants, comment and the names of its indexes. Where
something hangs on the old table itself (a view, a foreign key, a trigger, a policy, a sequence, a
partition, a publication), the rows change places instead of the tables: slower, and nothing is lost.
"""

from __future__ import annotations

from typing import Any

from levada.destinations.tables.names import TableName, quoted
from levada.destinations.tables.statements import quoted_table

HANGS_ON = """
SELECT c.relkind <> 'r' OR c.reloptions IS NOT NULL OR c.relrowsecurity OR NOT pg_has_role(c.relowner, 'USAGE')
    OR EXISTS (SELECT 1 FROM pg_depend d WHERE d.refobjid = c.oid AND d.classid = 'pg_rewrite'::regclass)
    OR EXISTS (SELECT 1 FROM pg_constraint k WHERE k.contype = 'f' AND c.oid IN (k.conrelid, k.confrelid))
    OR EXISTS (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
    OR EXISTS (SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid)
    OR EXISTS (SELECT 1 FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent))
    OR EXISTS (SELECT 1 FROM pg_publication_rel r WHERE r.prrelid = c.oid)
    OR EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL)
    OR EXISTS (SELECT 1 FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
               WHERE d.classid = 'pg_class'::regclass AND d.refobjid = c.oid)
FROM pg_class c WHERE c.oid = to_regclass($1)
"""

GRANTS = """
SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END, a.is_grantable
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) a
WHERE c.oid = to_regclass($1) AND a.grantee <> c.relowner
"""

INDEXES = """
SELECT x.relname::text, concat_ws(' ', m.amname, i.indisunique, i.indisprimary, i.indisexclusion,
    (SELECT string_agg(pg_get_indexdef(i.indexrelid, k, true) || ' ' || i.indoption[k - 1], ', ' ORDER BY k)
     FROM generate_series(1, i.indnatts) k), pg_get_expr(i.indpred, i.indrelid))
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
WHERE i.indrelid = to_regclass($1) ORDER BY 1
"""


def swap_tables(engine: Any, session: Any, target: TableName, staging: TableName) -> None:
    """Inside a transaction: the rows of `staging` instead of those of `target`; `staging` may be left behind."""
    old, new = (quoted_table(engine.grammar, name) for name in (target, staging))
    session.run(f"LOCK TABLE {old} IN SHARE ROW EXCLUSIVE MODE")
    if session.fetch(HANGS_ON, (old,))[0][0]:
        columns = ", ".join(quoted(c.name) for c in engine.facts(session, target).columns if c.writable)
        session.run(f"DELETE FROM {old}")
        session.run(f"INSERT INTO {old} ({columns}) SELECT {columns} FROM {new}")
        return
    for statement in _inheritance(session, old, new):
        session.run(statement)
    names = _index_names(session, old, new, target.schema)
    session.run(f"DROP TABLE {old}")
    session.run(f"ALTER TABLE {new} RENAME TO {quoted(target.table)}")
    for statement in names:
        session.run(statement)


def _inheritance(session: Any, old: str, new: str) -> list[str]:
    """What gives the new table the old one's owner, grants and comment."""
    statements = []
    owner, comment = session.fetch(
        "SELECT pg_get_userbyid(c.relowner)::text, obj_description(c.oid, 'pg_class')"
        " FROM pg_class c WHERE c.oid = to_regclass($1)",
        (old,),
    )[0]
    statements.append(f"ALTER TABLE {new} OWNER TO {quoted(owner)}")
    if comment is not None:
        literal = session.fetch("SELECT quote_literal($1)", (comment,))[0][0]
        statements.append(f"COMMENT ON TABLE {new} IS {literal}")
    for privilege, grantee, grantable in session.fetch(GRANTS, (old,)):
        to = "PUBLIC" if grantee is None else quoted(grantee)
        statements.append(f"GRANT {privilege} ON {new} TO {to}{' WITH GRANT OPTION' if grantable else ''}")
    return statements


def _index_names(session: Any, old: str, new: str, schema: str) -> list[str]:
    """What gives each index of the new table the name that its like had on the old one."""
    before: dict[str, list[str]] = {}
    for name, definition in session.fetch(INDEXES, (old,)):
        before.setdefault(definition, []).append(name)
    place = f"{quoted(schema)}." if schema else ""
    statements = []
    for name, definition in session.fetch(INDEXES, (new,)):
        if before.get(definition):
            kept = before[definition].pop(0)
            statements.append(f"ALTER INDEX {place}{quoted(name)} RENAME TO {quoted(kept)}")
    return statements
