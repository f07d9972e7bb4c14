"""Which server a command asks: as typed behind the command, else before it, else by the variable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client.each_command import COMMANDS
from client.test_completion import shown_at_last
from client.test_empty_options import words
from ports import free_port
from rig import Rig

import zart.cli.dispatching
import zart.gateway.server
from zart.cli.main import main
from zart.gateway.settings import Settings
from zart.testing.server import ServerUnderTest

BEFORE, BEHIND, VARIABLE = "127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:4"
_OTHERS = {"health"}  # of processes of all kinds: test_health_probe.py


def _options(command: Any) -> dict[str, Any]:
    return {option: one for one in command.params for option in one.opts}


def _commands() -> Iterator[tuple[str, Any]]:
    for name, found in COMMANDS.items():
        for part, command in getattr(found, "commands", {"": found}).items():
            if "--address" in _options(command) and name not in _OTHERS:
                yield f"{name} {part}".strip(), command


EACH_THAT_ASKS = dict(_commands())


# What commands refuse to be without, beside what the help says.
MORE = {
    "dispatch": ["one_task"],
    "pause": ["--task-name", "t"],
    "pause-update": ["--forever"],
    "breaker create": ["--task-name", "t"],
    "breaker update": ["--failure-threshold", "2"],
    "batch retry-step": ["--task-name", "t"],
    "batch restart": ["--task-name", "t"],
    "batch rerun": ["--task-name", "t"],
    "batch cancel-execution": ["--task-name", "t"],
    "batch complete-step": ["--task-name", "t", "--skip"],
    "batch fail-step": ["--task-name", "t"],
    "batch update": ["--unpaced"],
    "export": ["--everything"],
    "resume": ["--all"],
}


class _Asked(Exception):
    """Carries where a command asks, or would."""


@pytest.fixture(autouse=True)
def the_variable_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZART_ADDRESS", VARIABLE)
    for name in ("ZART_GATEWAY_TIMEOUT", "ZART_TLS_CERT", "ZART_TLS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """Keep what a gateway is run with: it connects on its own, as does a dispatcher."""
    steps = "import zart\ntask = zart.Task('t')\ntask.step(name='a')(print)\n"
    (tmp_path / "one_task.py").write_text(steps)
    monkeypatch.syspath_prepend(tmp_path)
    found: list[Settings] = []

    async def serve(given: Settings) -> None:
        found.append(given)
        raise _Asked(given.address)

    async def dispatch(_tasks: Any, *, address: str | None, **_: Any) -> None:
        raise _Asked(address)

    monkeypatch.setattr(zart.gateway.server, "serve", serve)
    monkeypatch.setattr(zart.cli.dispatching, "dispatch_until_stopped", dispatch)
    return found


def _asked(line: list[str]) -> str | None:
    """Return where a command asks."""

    def nobody(address: str | None) -> Any:
        raise _Asked(address)

    with pytest.raises(_Asked) as asked:
        main(line, nobody)
    address: str | None = asked.value.args[0]
    return address


def _typed(line: str) -> list[str]:
    """Return a line that goes as far as to a server."""
    command = EACH_THAT_ASKS[line]
    yes = ["--yes"] if "--yes" in _options(command) else []
    needed = [] if line == "dispatch" else words(command, None, "")
    return [*line.split(), *needed, *MORE.get(line, []), *yes]


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("line", EACH_THAT_ASKS)
def test_what_is_typed_goes_before_the_variable(line: str) -> None:
    typed, before, behind = _typed(line), ["--address", BEFORE], ["--address", BEHIND]
    found = {
        "neither": _asked(typed),
        "before": _asked([*before, *typed]),
        "behind": _asked([*typed, *behind]),
        "both": _asked([*before, *typed, *behind]),
        "empty": _asked([*before, *typed, "--address", ""]),
    }
    assert found == {
        "neither": VARIABLE, "before": BEFORE, "behind": BEHIND, "both": BEHIND, "empty": BEFORE,
    }  # fmt: skip


_SHARED = {"--address": "127.0.0.1:2", "--output": "json", "--timeout": "3"}


@pytest.mark.parametrize("option", _SHARED)
@pytest.mark.parametrize(
    "name", [name for name in COMMANDS if not hasattr(COMMANDS[name], "commands")]
)
def test_what_a_command_has_no_use_for_is_refused_before_it_too(
    capsys: pytest.CaptureFixture[str], name: str, option: str
) -> None:
    """Else ``zart --address HOST serve`` would serve here, and not say so."""
    is_used = option in _options(COMMANDS[name])
    assert main([option, _SHARED[option], name, "--no-such"]) == 2
    told = capsys.readouterr().err
    assert (f"{option}: `zart {name}` has no use for it" in told) is not is_used


def test_it_is_told_what_a_command_is_for_whatever_stands_before_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--output", "json", "serve", "--help"]) == 0
    assert "--listen" in capsys.readouterr().out


def test_no_other_option_of_before_the_command_has_a_variable() -> None:
    """Of one that has, the test above is to tell, too."""
    top: Any = main.__globals__["_command"]()
    shared = {option for one in top.params for option in one.opts}
    assert {
        option
        for command in (top, *EACH_THAT_ASKS.values())
        for option, one in _options(command).items()
        if option in shared and one.envvar is not None
    } == {"--address", "--timeout"}  # the latter of the gateway


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("gateway", 9.0),
        ("--timeout 5 gateway", 5.0),
        ("gateway --timeout 6", 6.0),
        ("--timeout 5 gateway --timeout 6", 6.0),
    ],
)
def test_the_seconds_of_a_gateway_are_those_that_are_typed(
    monkeypatch: pytest.MonkeyPatch, settings: list[Settings], line: str, seconds: float
) -> None:
    monkeypatch.setenv("ZART_GATEWAY_TIMEOUT", "9")
    _asked(line.split())
    assert [one.timeout for one in settings] == [seconds]


async def test_a_shell_completes_what_that_server_knows(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("order-7", {"a": ()})
    nobody = f"127.0.0.1:{free_port()}"
    for line in ("--address {} why order-", "why --address {} order-"):
        found = await shown_at_last(nobody, f"zart {line.format(zart_server.address)}")
        assert found == ["order-7"], line


@pytest.mark.parametrize("output", ["table", "json"])
@pytest.mark.parametrize("line", ["status x", "restart x --yes"])
def test_where_nobody_answers_it_is_said_where(
    capsys: pytest.CaptureFixture[str], line: str, output: str
) -> None:
    """Whatever gRPC says: of a name with no address it says something else."""
    silent = "dns:///localhost:2"
    options = ["--address", silent, "--timeout", "0.3", "-o", output]
    assert main([*options, *line.split()]) == 3
    told, *_ = capsys.readouterr().err.partition("to try again" if "status" in line else "whether")
    assert f", at {silent}" in told
    assert os.environ["ZART_ADDRESS"] not in told
