"""The settings of the server: checked at the start, from flags and the environment."""

from __future__ import annotations

import os

import pytest

from zart_server.settings import Settings, SettingsError


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "ZART_DATABASE_URL"),
        ({"database_url": "mysql://x"}, "not a PostgreSQL URL"),
        ({"database_url": "::"}, "ZART_DATABASE_URL"),
        ({"database_url": "postgresql://h/d", "listen": "nowhere"}, "HOST:PORT"),
        ({"database_url": "postgresql://h/d", "listen": "0.0.0.0:1"}, "ZART_INSECURE=1"),
        ({"database_url": "postgresql://h/d", "pool_size": 0}, "ZART_POOL_SIZE"),
        ({"database_url": "postgresql://h/d", "log_level": "loud"}, "ZART_LOG_LEVEL"),
    ],
)
def test_settings_are_checked_at_the_start(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, object], message: str
) -> None:
    for name in list(os.environ):
        if name.startswith("ZART_"):
            monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match=message):
        Settings.load(**given)


def test_a_name_that_is_read_no_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_METRICS_PORT", "9464")
    with pytest.raises(SettingsError, match=r"ZART_METRICS_PORT .* set ZART_METRICS_LISTEN"):
        Settings.load(database_url="postgresql://h/d")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_DATABASE_URL", "postgresql://h/d")
    monkeypatch.setenv("ZART_POOL_SIZE", "7")
    settings = Settings.load(listen=None)
    assert (settings.pool_size, settings.listen) == (7, "127.0.0.1:50051")
