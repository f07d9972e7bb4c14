"""Databases for tests that compute amid a transaction: their sessions wait for the machine.

PostgreSQL ends a transaction of a server that says nothing for two seconds, as a busy machine makes
a test do between any two of its statements.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from waiting import GIVE_UP

from zart_server.store.db import Database
from zart_server.store.sessions import Session


async def patient_database(url: str, **options: Any) -> Database:
    """Open a database, as ``Database.open`` does, whose transactions may be silent for long."""
    session = partial(Session, idle_in_transaction=GIVE_UP)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("zart_server.store.db.Session", session)
        return await Database.open(url, **options)
