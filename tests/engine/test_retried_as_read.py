"""The step in RetryStep's answer, mostly made of what revived it, is the step that is then read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
from rig import DIAMOND, Rig

import zart

_Made: TypeAlias = Callable[[Rig], Awaitable[str]]
_ONE = {"a": ()}
# Each asks for what is left to say of the task's name: whether, and when, a dispatcher asked for it.
_ASKED = ["NULL", "now() + interval '1 hour'", "'2026-01-31 14:00:00Z'"]


async def _failed_once(rig: Rig) -> str:
    await rig.dead(step="b")
    return "b"


async def _failed_often(rig: Rig) -> str:
    await rig.start("x", _ONE, retry=zart.Retry(max_attempts=3, initial_backoff=0))
    for n in range(3):
        await rig.fail(await rig.lease_one("a"), retryable=True, message=f"no. {n}")
    await rig.client.retry_step("x", "a", max_attempts=1)
    await rig.fail(await rig.lease_one("a"), message="not a fourth time")
    return "a"


async def _longer_than_is_shown(rig: Rig) -> str:
    await rig.start("x", _ONE)
    await rig.fail(await rig.lease_one("a"), message="no" * 1000)
    await rig.db.execute(
        "INSERT INTO zart.attempts SELECT (jsonb_populate_record(a, jsonb_build_object("
        " 'attempt', 1000, 'error', jsonb_set(a.error::jsonb, '{message}', to_jsonb(t))))).*"
        " FROM zart.attempts a, (SELECT string_agg(md5(n::text), '') AS t"
        " FROM generate_series(1, 140000) n) long"
    )
    return "a"


async def _failed_by_hand(rig: Rig) -> str:
    await rig.start("x", DIAMOND)
    await rig.complete(await rig.lease_one("a"))
    await rig.client.fail_step("x", "d", "no")
    return "d"


async def _failed_by_hand_when_ready(rig: Rig) -> str:
    await rig.start("x", DIAMOND)
    await rig.client.fail_step("x", "a", "no", reason="it is down")
    return "a"


async def _corrected(rig: Rig) -> str:
    await rig.dead(step="b")
    await rig.client.retry_step("x", "b", input={"card": 2})
    await rig.fail(await rig.lease_one("b"))
    return "b"


async def _in_doubt(rig: Rig) -> str:
    await rig.start("x", _ONE, if_in_doubt=zart.IfInDoubt.STOP)
    task = await rig.lease_one("a")
    await rig.report(zart.Outcome(task.task_id, task.lease_token, zart.Lost()))
    return "a"


async def _of_a_rerun(rig: Rig) -> str:
    await rig.start("x")
    await rig.work()
    await rig.client.rerun("x", force_rerun=["c"])
    await rig.work(fail=["c"])
    return "c"


_DEAD = [
    _failed_once, _failed_often, _longer_than_is_shown, _failed_by_hand, _failed_by_hand_when_ready,
    _corrected, _in_doubt, _of_a_rerun,
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "is_paused"),
    # What a rule withholds is read: that it is shows by any.
    [*((make, False) for make in _DEAD), (_failed_once, True), (_corrected, True)],
)
async def test_the_answer_has_the_step_as_it_is_read(
    rig: Rig, make: _Made, *, is_paused: bool
) -> None:
    name = await make(rig)
    if is_paused:
        await rig.client.pause(task_name="t")
    for asked, options in zip(_ASKED, [{}, {"max_attempts": 7}, {"input": 3}], strict=True):
        await _asked(rig, asked)
        await _is_as_read(rig, name, **options)
        await rig.client.fail_step("x", name, "once more")


async def _asked(rig: Rig, when: str) -> None:
    await rig.db.execute(
        f"INSERT INTO zart.task_names (task_name, last_asked_at) VALUES ('t', {when})"
        " ON CONFLICT (task_name) DO UPDATE SET last_asked_at = excluded.last_asked_at"
    )


async def _is_as_read(rig: Rig, name: str, **options: Any) -> None:
    async with rig.locked("SELECT FROM zart.task_names FOR NO KEY UPDATE"):  # nobody notes who asks
        retried = await rig.client.retry_step("x", name, accept_in_doubt=True, **options)
        read = await rig.client.get_step("x", name)
    assert retried.step.attempts
    # An answer has no inputs: it is kept, as that of the request.
    assert retried.step == replace(read, input=None)
