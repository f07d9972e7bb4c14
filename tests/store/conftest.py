"""A database without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from patient import patient_database
from store.releasing_rule import releasing

from zart_server.store.db import Database


@pytest.fixture
async def store(zart_database: str) -> AsyncIterator[Database]:
    """A database without a server."""
    opened = await patient_database(zart_database)
    yield opened
    await opened.close()


@pytest.fixture
async def rule_key(store: Database) -> int:
    """A rule that is settled, and releasing: what is queued from then on is in its line."""
    return await releasing(store)
