"""Understands the database URLs that people paste."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# scheme://user:password@ host:port,host:port /database?options
_HOSTS = re.compile(r"(\w+(?:\+\w+)?://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)([^?#]*)(?:\?(.*))?")
_PORT = "5432"


def to_sqlalchemy_url(url: str) -> URL:
    """Turn ``postgresql://…`` or ``postgres://…`` into SQLAlchemy's URL for asyncpg.

    Several hosts may stand where one does, ``postgresql://a:5432,b:5432/d``, or in the query:
    ``?host=a:5432&host=b:5432``; both with ``target_session_attrs=read-write``.
    Raises ValueError, without the URL's text, since it may hold a password.
    """
    try:
        parsed = make_url(_with_hosts_in_query(url))
    except (ArgumentError, ValueError):
        raise ValueError(
            "not a database URL: use postgresql://user:password@host:port/database"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError("not a PostgreSQL URL: use postgresql://user:password@host:port/database")
    return parsed.set(drivername="postgresql+asyncpg")


def _with_hosts_in_query(url: str) -> str:
    """Write several hosts as SQLAlchemy takes them; one without a port has the usual one."""
    found = _HOSTS.fullmatch(url)
    if found is None:
        return url
    start, hosts, path, query = found.groups()
    each = [host if ":" in host else f"{host}:{_PORT}" for host in hosts.split(",")]
    written = "&".join([f"host={host}" for host in each] + ([query] if query else []))
    return f"{start}{path}?{written}"


def to_asyncpg_arguments(url: str) -> dict[str, Any]:
    """Return the arguments of ``asyncpg.connect`` for the same URL."""
    parsed = to_sqlalchemy_url(url)
    from sqlalchemy.dialects.postgresql.asyncpg import dialect  # noqa: PLC0415 - it loads slowly

    dialect_of: Any = dialect  # it has no types
    arguments: dict[str, Any] = dialect_of().create_connect_args(parsed)[1]
    return arguments
