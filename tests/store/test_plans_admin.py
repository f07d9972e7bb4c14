"""Starts and admin operations read what they are about, however much there is besides."""

from __future__ import annotations

from typing import Any, cast

import pytest
from plans import MANY, check, explained

from zart_server.domain.commands import (
    Caller,
    Rerun,
    Restart,
    RetryStep,
    StartExecution,
)
from zart_server.domain.model import IfExists, IfRunning
from zart_server.engine.operations.requests import Answered, RequestKey, find_answers, store_answers
from zart_server.engine.operations.rerun import rerun
from zart_server.engine.operations.restart import restart
from zart_server.engine.operations.retry_step import retry_steps
from zart_server.engine.operations.start import start_executions

CALLER = Caller("tester")


async def test_starting(many: str) -> None:
    async with explained(many) as tx:
        starts = [
            StartExecution(f"new-{n}", "many", "1", None, IfExists.FAIL, CALLER) for n in range(100)
        ]
        results = await start_executions(cast("Any", tx), starts)

        assert {type(result).__name__ for result in results} == {"Execution"}
        check(tx.plans, 500)


@pytest.mark.parametrize("first", [1, MANY + 1], ids=["finished", "queued"])
async def test_restarting(many: str, first: int) -> None:
    wanted = [
        (Restart(f"x-{n}", None, IfRunning.SUPERSEDE, None), CALLER)
        for n in range(first, first + 20)
    ]
    async with explained(many) as tx:
        done = await restart(cast("Any", tx), wanted, wait=True)

        assert {type(result).__name__ for result in done} == {"Restarted"}
        check(tx.plans, 100)


async def test_rerunning(many: str) -> None:
    wanted = [
        (Rerun(f"x-{n}", ("b",), (), True, False, "", IfRunning.SUPERSEDE, None), CALLER)
        for n in range(1, 21)
    ]
    async with explained(many) as tx:
        done = await rerun(cast("Any", tx), wanted, wait=True)

        assert {type(result).__name__ for result in done} == {"Rerunned"}
        check(tx.plans, 100)


async def test_retrying(many: str) -> None:
    wanted = [(RetryStep(f"x-{n}", "b", None, None, None), CALLER) for n in range(5, 105, 5)]
    async with explained(many) as tx:
        done = await retry_steps(cast("Any", tx), wanted, wait=True)

        assert {type(result).__name__ for result in done} == {"RetriedStep"}
        check(tx.plans, 100)


async def test_request_ids(many: str) -> None:
    keys = [RequestKey("", "Restart", f"{n}") for n in range(MANY - 10, MANY + 10)]
    async with explained(many) as tx:
        known = await find_answers(cast("Any", tx), dict.fromkeys(keys, b""))
        new = [Answered(key, b"", b"response") for key in keys if key not in known]
        await store_answers(cast("Any", tx), new)

        assert len(new) == 9
        check(tx.plans, 100)
