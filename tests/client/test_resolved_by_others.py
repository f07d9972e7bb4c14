"""Who resolves what somebody has resolved by then is told so, with what was found, by whom and when."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from doubts import in_doubt
from retaining import make_old
from rig import Rig
from terminal import Printed, zart_command

import zart
from zart.testing.server import ServerUnderTest


class Typing:
    """Types commands of ann's."""

    def __init__(self, server: ServerUnderTest, patch: pytest.MonkeyPatch) -> None:
        self._server, self._patch = server, patch

    async def __call__(self, *words: str) -> Printed:
        line = ["--address", self._server.address, *words]
        return await asyncio.to_thread(zart_command, self._patch, line)

    async def refused(self, *words: str) -> Any:
        """Type a command of which a script is told why it is refused."""
        told = await self(*words, "-o", "json")
        assert (told.code, told.out) == (1, "")
        return json.loads(told.err)


@pytest.fixture
def type_in(zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch) -> Typing:
    """Commands that reach the server."""
    return Typing(zart_server, monkeypatch)


def reason_of(status: Any) -> tuple[str, dict[str, str]]:
    """Return the reason of a refusal, and what it says beside that."""
    [info] = [each for each in status["details"] if each["@type"].endswith("ErrorInfo")]
    return info["reason"], info["metadata"]


async def resolved_by_bea(rig: Rig, finding: str = "did-not-happen", run_number: int = 0) -> None:
    """Have another person resolve the first attempt."""
    await rig.client.resolve_in_doubt(
        "x", "a", finding, run_number=run_number, attempt=1, triggered_by="bea"
    )


async def test_what_somebody_has_resolved_otherwise_is_told(rig: Rig, type_in: Typing) -> None:
    await in_doubt(rig)
    await resolved_by_bea(rig)
    told = await type_in("resolve", "x", "a", "happened")
    assert told.code == 1
    assert "and its doubt is resolved by bea at 20" in told.err
    assert told.err.endswith(": DID_NOT_HAPPEN [NOT_IN_DOUBT]\n")
    for more in ((), ("--run", "0"), ("--attempt", "1")):
        reason, metadata = reason_of(await type_in.refused("resolve", "x", "a", "happened", *more))
        assert reason == "NOT_IN_DOUBT"
        assert (metadata["finding"], metadata["resolved_by"]) == ("DID_NOT_HAPPEN", "bea")
        assert metadata["resolved_at"].startswith("20")


async def test_it_is_told_of_an_earlier_run_though_another_is_current(
    rig: Rig, type_in: Typing
) -> None:
    await in_doubt(rig)
    await rig.client.restart("x", accept_in_doubt=True)
    await resolved_by_bea(rig, "happened")
    reason, metadata = reason_of(await type_in.refused("resolve", "x", "a", "did-not-happen"))
    assert (reason, metadata["run_id"]) == ("NOT_IN_DOUBT", "x:run:0")
    assert (metadata["finding"], metadata["resolved_by"]) == ("HAPPENED", "bea")


async def test_the_current_run_is_meant_where_one_of_its_attempts_may_be(
    rig: Rig, type_in: Typing
) -> None:
    """What was found of an earlier run is not told to who asks about this one."""
    await in_doubt(rig)
    await resolved_by_bea(rig)
    await rig.client.restart("x", accept_in_doubt=True)
    leased = await rig.lease_one("a", "x")
    status = await type_in.refused("resolve", "x", "a", "happened")
    assert status["message"] == "no attempt of x/a is in doubt: the step is RUNNING"
    await rig.report(zart.Outcome(leased.task_id, leased.lease_token, zart.Lost()))
    await rig.client.retry_step("x", "a", accept_in_doubt=True, triggered_by="cid")
    leased = await rig.lease_one("a", "x")
    await rig.report(zart.Outcome(leased.task_id, leased.lease_token, zart.Completed(1)))
    for more, by in (((), "cid"), (("--attempt", "1"), "cid"), (("--run", "0"), "bea")):
        reason, metadata = reason_of(await type_in.refused("resolve", "x", "a", "happened", *more))
        assert (reason, metadata["resolved_by"]) == ("NOT_IN_DOUBT", by)
    reason, metadata = reason_of(
        await type_in.refused("resolve", "x", "a", "happened", "--attempt", "2")
    )
    assert (reason, metadata["run_id"]) == ("NOT_IN_DOUBT", "x:run:1")
    assert metadata["resolved_by"] == ""  # it ended as it was told


async def test_what_was_found_of_another_execution_of_that_id_is_not_told(
    rig: Rig, type_in: Typing
) -> None:
    await in_doubt(rig)
    await resolved_by_bea(rig)
    await rig.client.restart("x", accept_in_doubt=True)
    await rig.client.complete_step("x", "a", result=1)
    await make_old(rig.db, days=60)
    await rig.client.purge_executions(timedelta(days=30))
    await rig.start("x", {"a": ()})
    await rig.client.restart("x")
    status = await type_in.refused("resolve", "x", "a", "happened")
    assert status["message"] == "no attempt of x/a is in doubt: the step is SCHEDULED"


async def test_who_has_retried_it_is_told_though_nothing_was_found(
    rig: Rig, type_in: Typing
) -> None:
    await in_doubt(rig)
    await rig.client.retry_step("x", "a", accept_in_doubt=True, triggered_by="bea")
    reason, metadata = reason_of(await type_in.refused("resolve", "x", "a", "happened"))
    assert (reason, metadata["resolved_by"]) == ("NOT_IN_DOUBT", "bea")


async def test_what_is_not_there_is_refused_as_the_server_does(rig: Rig, type_in: Typing) -> None:
    await in_doubt(rig)
    for words, reason in (
        (("none", "a"), "EXECUTION_NOT_FOUND"),
        (("x", "none"), "STEP_NOT_FOUND"),
        (("x", "a", "--run", "7"), "RUN_NOT_FOUND"),
        (("x", "a", "--attempt", "7"), "ATTEMPT_NOT_FOUND"),
    ):
        status = await type_in.refused("resolve", *words[:2], "happened", *words[2:])
        assert reason_of(status)[0] == reason


async def test_an_attempt_that_may_come_to_be_in_doubt_is_left_alone(
    rig: Rig, type_in: Typing
) -> None:
    """What is said is of no attempt that is at work: it would hold once that one is lost."""
    await rig.start("x", {"a": ()})
    status = await type_in.refused("resolve", "x", "a", "did-not-happen")
    assert status["message"] == "no attempt of x/a is in doubt: the step is SCHEDULED"
    await rig.lease_one("a", "x")
    status = await type_in.refused("resolve", "x", "a", "did-not-happen")
    assert status["message"] == "no attempt of x/a is in doubt: the step is RUNNING"
