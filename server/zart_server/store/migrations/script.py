"""Runs a file of SQL statements inside the migration's transaction."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from alembic import op

if TYPE_CHECKING:
    import asyncpg


def run_script(name: str) -> None:
    """Run ``sql/<name>``, many statements in one go, which only the driver itself can do."""
    script = files(__package__).joinpath("sql", name).read_text(encoding="utf-8")

    async def execute(connection: asyncpg.Connection) -> None:
        await connection.execute(script)

    op.get_bind().connection.dbapi_connection.run_async(execute)  # type: ignore[union-attr]  # it is asyncpg's
