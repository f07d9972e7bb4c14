"""A setting that is given but blank is not taken for one that is not given where that guards less.

As of a line of a file of settings that was never filled in, or a variable that a script did not have.
"""

from __future__ import annotations

import os
from itertools import combinations
from pathlib import Path

import pytest

import zart
from zart.cli.main import main
from zart.cli.stack import Stack, StackError
from zart_server.settings import Settings, SettingsError

URL = "postgresql://x@localhost/x"
GUARDS = (
    "TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA", "AUTH_TOKENS", "AUTH_CERTIFICATES", "AUTH_JWKS",
    "AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_ROLES_CLAIM", "AUTH_TASKS_CLAIM", "INSECURE",
)  # fmt: skip
JWT = ("ZART_AUTH_JWKS", "ZART_AUTH_ISSUER", "ZART_AUTH_AUDIENCE")


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ZART_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("blank", ["", " "], ids=["empty", "space"])
@pytest.mark.parametrize("name", GUARDS)
def test_a_server_does_not_start_with_a_blank_guard(
    monkeypatch: pytest.MonkeyPatch, name: str, blank: str
) -> None:
    monkeypatch.setenv(f"ZART_{name}", blank)

    with pytest.raises(SettingsError, match=f"ZART_{name}"):
        Settings.load(database_url=URL)


@pytest.mark.parametrize("others", ["", " ", None], ids=["empty", "space", "unset"])
@pytest.mark.parametrize("given", [*combinations(JWT, 1), *combinations(JWT, 2)], ids="-".join)
def test_a_server_that_is_to_ask_for_jwts_does_not_start_without(
    monkeypatch: pytest.MonkeyPatch, given: tuple[str, ...], others: str | None
) -> None:
    """It would be open to everybody, since nobody is asked where there are no keys."""
    for name in JWT:
        if name in given:
            monkeypatch.setenv(name, "given")
        elif others is not None:
            monkeypatch.setenv(name, others)

    with pytest.raises(SettingsError, match="go together"):
        Settings.load(database_url=URL)


@pytest.mark.parametrize("blank", ["", " "], ids=["empty", "space"])
def test_nobody_is_called_without_tls_for_want_of_a_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], blank: str
) -> None:
    """The gateway's credentials, and those of a probe, are those without a token."""
    monkeypatch.setenv("ZART_TLS_CA", blank)

    with pytest.raises(ValueError, match="ZART_TLS_CA is blank"):
        zart.connect_sync("127.0.0.1:1")
    with pytest.raises(ValueError, match="ZART_TLS_CA is blank"):
        zart.Credentials.without_token()
    assert main(["list", "--address", "127.0.0.1:1", "--timeout", "0.1"]) == 2
    assert "ZART_TLS_CA is blank" in capsys.readouterr().err


async def test_what_dev_starts_does_not_either(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ZART_TLS_CA", "")

    with pytest.raises(StackError, match="ZART_TLS_CA is blank"):
        async with Stack(folder=tmp_path / "data", quiet=True):
            pass
    assert not (tmp_path / "data").exists()  # nothing was begun


@pytest.mark.parametrize("name", ["ZART_TLS_CERT", "ZART_TLS_KEY", "ZART_TLS_CLIENT_CA"])
def test_a_gateway_does_not_start_with_a_blank_file_of_tls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "")

    assert main(["gateway", "--listen", "nowhere"]) == 2  # where it could not listen either
    assert f"{name} is blank" in capsys.readouterr().err
