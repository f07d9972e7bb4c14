"""What commands say of what is not there: executions that never were, rules that are not drained."""

from __future__ import annotations

import pytest
from rig import Rig
from terminal import zart_command

from zart.testing.server import ServerUnderTest

ONE = {"a": ()}


@pytest.mark.parametrize("options", [(), ("-o", "json")])
async def test_what_there_never_was_is_not_found(
    rig: Rig,
    zart_server: ServerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
) -> None:
    """A mistyped id is no execution to which nothing was done."""
    await rig.start("x", ONE)

    def history(execution_id: str) -> tuple[int, str]:
        line = ("history", execution_id, "--address", zart_server.address, *options)
        printed = zart_command(monkeypatch, line)
        return printed.code, printed.err

    assert history("x") == (0, "")
    code, told = history("y")
    assert code == 1
    assert "EXECUTION_NOT_FOUND" in told


async def test_rules_tell_that_they_are_not_drained(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    await rig.start("x", ONE)
    await rig.lease()
    await rig.client.pause(task_name="t")
    line = ("rules", "--address", zart_server.address)
    head, rule, *_ = zart_command(monkeypatch, line).out.splitlines()

    assert rule[head.index("DRAINED") :].split()[0] == "no"
