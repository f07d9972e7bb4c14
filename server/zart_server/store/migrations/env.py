"""Runs the migrations on the connection that ``store.migrate`` hands over."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="zart",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
