"""The schema, version by version (Alembic, run from code by ``store.migrate``)."""
