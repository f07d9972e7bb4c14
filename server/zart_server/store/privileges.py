"""Takes back what default privileges gave to others of what a migration has made.

``ALTER DEFAULT PRIVILEGES … GRANT`` is how a database's other programs are let in: it gives them
all that is made later, ours too, though nobody meant it. A view is read with its owner's rights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Each statement takes from one grantee what others were given on one thing, or through it.
_REVOKED_OF = """
    SELECT format('REVOKE %s ON %s %s FROM %s CASCADE',
        string_agg(DISTINCT a.privilege_type, ', '), what, name,
        CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
    FROM ({things}) t CROSS JOIN LATERAL aclexplode(acl) a
    WHERE a.grantee <> owner AND {which}
    GROUP BY what, name, a.grantee
"""
_VIEWS = """
    SELECT 'TABLE' AS what, c.oid::regclass::text AS name, relacl AS acl, relowner AS owner
    FROM pg_class c
    WHERE relnamespace = to_regnamespace('public') AND relkind = 'v' AND relname LIKE 'zart\\_%'
        AND pg_has_role(relowner, 'USAGE')
"""
_WITHIN = """
    SELECT CASE WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass::text, relacl,
        relowner
    FROM pg_class c
    WHERE relnamespace = to_regnamespace('zart') AND relkind IN ('r', 'v', 'S')
    UNION ALL
    SELECT 'FUNCTION', f.oid::regprocedure::text, proacl, proowner
    FROM pg_proc f WHERE pronamespace = to_regnamespace('zart')
"""
_SCHEMA = (
    "SELECT 'SCHEMA', nspname::text, nspacl, nspowner FROM pg_namespace WHERE nspname = 'zart'"
)
# Whoever is let into the schema may call its functions: readers of the views do.
_ALL = "NOT (what = 'FUNCTION' AND a.grantee = 0)"
_ALL_OF_A_NEW_SCHEMA = _REVOKED_OF.format(
    things=f"{_VIEWS} UNION ALL {_WITHIN} UNION ALL {_SCHEMA}", which=_ALL
)
_ALL_WITHIN_IT = _REVOKED_OF.format(things=f"{_VIEWS} UNION ALL {_WITHIN}", which=_ALL)
_WRITES = _REVOKED_OF.format(things=_VIEWS, which="a.privilege_type <> 'SELECT'")


def keep_all(connection: Connection, *, is_schema_ours: bool) -> None:
    """Leave what was just made to its owner, and the schema itself if that was made with it."""
    _revoke(connection, _ALL_OF_A_NEW_SCHEMA if is_schema_ours else _ALL_WITHIN_IT)


def keep_from_writing(connection: Connection) -> None:
    """Leave to others no more than SELECT on the views, which somebody may have granted."""
    _revoke(connection, _WRITES)


def _revoke(connection: Connection, statements: str) -> None:
    for statement in connection.exec_driver_sql(statements).scalars().all():
        connection.exec_driver_sql(statement)
