"""``zart health`` heeds its options on either side of its name, and tells scripts in JSON."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from ports import free_port
from waiting import GIVE_UP

from zart.cli.main import main
from zart.dispatcher.health import serving_health
from zart.health import Probe
from zart.testing.server import ServerUnderTest

PROCESSES = ("server", "gateway", "dispatcher")


@pytest.fixture(autouse=True)
def others_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is, and where nobody is to be asked."""
    for name in ("ADDRESS", "LISTEN", "GATEWAY_LISTEN", "HEALTH_LISTEN"):
        monkeypatch.setenv(f"ZART_{name}", f"127.0.0.1:{free_port()}")
    for name in ("TLS_CA", "TLS_CERT"):
        monkeypatch.delenv(f"ZART_{name}", raising=False)


@pytest.mark.parametrize("process", PROCESSES)
def test_who_is_named_is_asked(process: str, capsys: pytest.CaptureFixture[str]) -> None:
    before, behind = (["--address", f"127.0.0.1:{free_port()}"] for _ in range(2))
    for line, named in (
        ([*before, "health", process], before),
        (["health", process, *behind], behind),
        ([*before, "health", process, *behind], behind),
    ):
        assert main(line) == 1
        assert f"zart: the {process} at {named[1]} does not serve" in capsys.readouterr().err


def test_a_dispatcher_may_be_named_before_where_no_variable_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ZART_HEALTH_LISTEN")
    assert main(["--address", f"127.0.0.1:{free_port()}", "health", "dispatcher"]) == 1
    assert "does not serve" in capsys.readouterr().err


@pytest.mark.parametrize("process", ["server", "gateway"])
def test_it_waits_no_longer_than_is_said_before_it(
    process: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noted: list[float] = []

    def noting(*given: Any) -> Probe:
        made = Probe(*given)
        noted.append(made.timeout)
        return made

    monkeypatch.setattr("zart.health.Probe", noting)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        at = f"127.0.0.1:{silent.getsockname()[1]}"
        assert main(["--address", at, "--timeout", "0.1", "health", process]) == 1
    assert noted == [0.1]
    assert "no answer within 0.1 s" in capsys.readouterr().err


@pytest.mark.parametrize("is_before", [True, False])
def test_scripts_are_told_in_json(
    zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str], *, is_before: bool
) -> None:
    def probe(*words: str) -> int:
        options = ["-o", "json", "--timeout", str(GIVE_UP)]
        return main([*options, "health", *words] if is_before else ["health", *words, *options])

    assert probe("--address", zart_server.address) == 0
    assert json.loads(capsys.readouterr().out) == {"status": "SERVING"}

    listen = f"127.0.0.1:{free_port()}"
    with serving_health(listen):
        assert probe("dispatcher", "--address", listen) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    status = json.loads(printed.err)
    assert status["code"] == 14
    assert status["message"].startswith(f"the dispatcher at {listen} does not serve: ")
