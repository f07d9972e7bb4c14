"""Understands the database URLs that people paste."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError


def to_sqlalchemy_url(url: str) -> URL:
    """Turn ``postgresql://…`` or ``postgres://…`` into SQLAlchemy's URL for asyncpg.

    Several hosts go into the query: ``?host=a:5432&host=b:5432&target_session_attrs=read-write``.
    Raises ValueError, without the URL's text, since it may hold a password.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise ValueError(
            "not a database URL: use postgresql://user:password@host:port/database"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError("not a PostgreSQL URL: use postgresql://user:password@host:port/database")
    return parsed.set(drivername="postgresql+asyncpg")


def to_asyncpg_arguments(url: str) -> dict[str, Any]:
    """Give the arguments of ``asyncpg.connect`` for the same URL."""
    parsed = to_sqlalchemy_url(url)
    from sqlalchemy.dialects.postgresql.asyncpg import dialect  # noqa: PLC0415 - it loads slowly

    dialect_of: Any = dialect  # it has no types
    arguments: dict[str, Any] = dialect_of().create_connect_args(parsed)[1]
    return arguments
