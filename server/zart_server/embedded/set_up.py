"""Makes what a new data folder lacks: the role that uses the database, and the database.

All of it is done in PostgreSQL's single-user mode, which asks for no password: the superuser has
none and cannot log in. So there is no secret whose holder could run programs by ``COPY ... FROM
PROGRAM`` or read files of the machine.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from zart_server.embedded.programs import cannot_use, last_line, passage, run_program

USER = "zart"
DATABASE = "zart"
SUPERUSER = "postgres"
_VERSION = "2"
_END = ";\n\n"  # what ends a statement

# Folders of zart 0.1 have a superuser called zart. A session cannot rename itself, and the first
# role of all stays a superuser: another one renames it, and is dropped by the next session.
_RENAME = f"""
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_authid WHERE oid = 10 AND rolname = '{USER}') THEN
    CREATE ROLE zart_set_up SUPERUSER;
    SET SESSION AUTHORIZATION zart_set_up;
    ALTER ROLE {USER} RENAME TO {SUPERUSER};
  END IF;
END $$"""
_CREATE = f"""
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_authid WHERE rolname = '{USER}') THEN
    CREATE ROLE {USER};
  END IF;
END $$"""
# What the superuser made in the database becomes the role's: REASSIGN OWNED refuses, since the
# system is the superuser's as well.
_HAND_OVER = rf"""
DO $$ DECLARE statement text; BEGIN
  FOR statement IN
    WITH schemas AS (
      SELECT oid, nspname, nspowner FROM pg_namespace
      WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'
    )
    SELECT format('ALTER SCHEMA %I OWNER TO {USER}', nspname) FROM schemas
    WHERE nspowner = 10 AND nspname <> 'public'
    UNION ALL
    SELECT format('ALTER TABLE %s OWNER TO {USER}', c.oid::regclass)
    FROM pg_class c JOIN schemas s ON s.oid = c.relnamespace
    WHERE c.relowner = 10 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND NOT EXISTS (  -- a sequence goes with its table
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND c.relkind = 'S' AND d.deptype IN ('a', 'i')
      )
    UNION ALL
    SELECT format('ALTER ROUTINE %s OWNER TO {USER}', p.oid::regprocedure)
    FROM pg_proc p JOIN schemas s ON s.oid = p.pronamespace WHERE p.proowner = 10
    UNION ALL
    SELECT format('ALTER TYPE %s OWNER TO {USER}', t.oid::regtype)
    FROM pg_type t JOIN schemas s ON s.oid = t.typnamespace
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE t.typowner = 10 AND (t.typtype IN ('e', 'd', 'r') OR c.relkind = 'c')
  LOOP EXECUTE statement; END LOOP;
END $$"""


def set_up(
    folder: Path, settings: Sequence[str], attributes: Sequence[str], stale: int = 0
) -> None:
    """Make role and database unless they are there, with a new password. Raises PostgresError.

    ``attributes`` are what the role may besides, such as CREATEDB. PostgreSQL must not run;
    ``stale`` is a process that is none, whatever is noted in the data.
    """
    marker, wanted = folder / "set-up", " ".join([_VERSION, *attributes])
    if marker.exists() and marker.read_text() == wanted:
        return
    is_old = (folder / "database-made").exists()  # by zart 0.1
    if is_old:
        _say(folder, "postgres", settings, stale, _RENAME)
    password = secrets.token_urlsafe(24)
    _say(
        folder,
        "postgres",
        settings,
        stale,
        "DROP ROLE IF EXISTS zart_set_up",
        _CREATE,
        f"ALTER ROLE {SUPERUSER} NOLOGIN PASSWORD NULL",
        f"ALTER ROLE {USER} LOGIN NOSUPERUSER NOCREATEDB NOREPLICATION PASSWORD '{password}'",
        *(f"ALTER ROLE {USER} {attribute}" for attribute in attributes),
        f"CREATE DATABASE {DATABASE}",
        f"ALTER DATABASE {DATABASE} OWNER TO {USER}",
    )
    if is_old:
        _say(folder, DATABASE, settings, stale, _HAND_OVER)
        (folder / "database-made").unlink()
    _write_secret(folder / "password", password)
    marker.write_text(wanted)


def _say(
    folder: Path, database: str, settings: Sequence[str], stale: int, *statements: str
) -> None:
    flags = [part for setting in settings for part in ("-c", setting)]
    with passage(folder / "data") as (data, descriptor):
        done = run_program(
            "postgres", "--single", "-j", "-D", data, *flags, database,
            said="".join(statement.strip() + _END for statement in statements),
            data=descriptor, stale=stale,
        )  # fmt: skip
    known = f'database "{DATABASE}" already exists'
    wrong = [line for line in done.stderr.splitlines() if "ERROR:" in line and known not in line]
    if done.returncode != 0 or wrong:
        why = wrong[0] if wrong else last_line(done.stderr)
        raise cannot_use(folder / "data", why)


def _write_secret(path: Path, text: str) -> None:
    """Write a file that only we can read: a new one, whoever had the old one open."""
    side = path.with_suffix(".new")
    side.unlink(missing_ok=True)
    with os.fdopen(os.open(side, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    side.replace(path)
