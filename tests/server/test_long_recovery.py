"""A PostgreSQL of one's own that recovers for long, as after a crash, is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest

from zart.testing.fixtures import execute
from zart_server.embedded import postgres

_START = 3.0  # seconds that it has until it says anything
# Recovery asks for what is archived, of which there is nothing, and the first answer takes longer.
_SLOWLY = "restore_command=test -e asked || { touch asked; sleep 5; }; false"


def test_it_has_the_time_that_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres.running(tmp_path, durable=False) as database:
        execute(database.url, "CREATE TABLE kept ()")
    (tmp_path / "data" / "recovery.signal").touch()
    monkeypatch.setattr(postgres, "_START", _START)

    with postgres.running(tmp_path, durable=False, settings=["hot_standby=off", _SLOWLY]) as db:
        execute(db.url, "DROP TABLE kept")

    assert (tmp_path / "data" / "asked").exists()
