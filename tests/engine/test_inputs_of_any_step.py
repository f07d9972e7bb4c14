"""Operations that take an input, on steps in each state, wherever the present input stands.

That of a preserved step stands in the run that its result was made in, which is not this one.
"""

from __future__ import annotations

import ast
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from rig import CHAIN, Rig

from zart import errors

_Made: TypeAlias = Callable[[Rig], Awaitable[None]]
_Refusal: TypeAlias = type[errors.ZartError] | None
_SERVER = Path(__file__).parents[2] / "server/zart_server"


async def _pending(rig: Rig) -> None:
    assert await rig.lease_one("a")


async def _scheduled(rig: Rig) -> None:
    await rig.complete(await rig.lease_one("a"))


async def _paused(rig: Rig) -> None:
    await rig.client.pause(execution_id="x", step_pattern="b")
    await rig.complete(await rig.lease_one("a"))


async def _running(rig: Rig) -> None:
    await _scheduled(rig)
    await rig.lease_one("b")


async def _completed(rig: Rig) -> None:
    await _running(rig)
    await rig.complete(rig.leased["x", "b"])


async def _dead(rig: Rig) -> None:
    await rig.work(fail=["b"])


async def _cancelled(rig: Rig) -> None:
    await rig.client.cancel_execution("x")


async def _skipped(rig: Rig) -> None:
    await rig.client.complete_step("x", "b", skip=True)


# What a step is made, and why it cannot be retried then.
STATES: dict[str, tuple[_Made, _Refusal]] = {
    "PENDING": (_pending, errors.StepNotDead),
    "SCHEDULED": (_scheduled, errors.StepNotDead),
    "PAUSED": (_paused, errors.StepNotDead),
    "RUNNING": (_running, errors.StepNotDead),
    "COMPLETED": (_completed, errors.StepNotDead),
    "SKIPPED": (_skipped, errors.StepNotDead),
    "DEAD": (_dead, None),
    "CANCELLED": (_cancelled, errors.RunFinished),
}


async def _refused(call: Awaitable[object]) -> _Refusal:
    try:
        await call
    except errors.ZartError as error:
        return type(error)
    return None


async def _all_answer(rig: Rig, refusal: _Refusal) -> None:
    """Ask for everything that compares an input with that which the step has."""
    before = (await rig.client.get_step("x", "b")).input
    for given in (before, {"card": 3}):
        retry = rig.client.retry_step("x", "b", input=given, validate_only=True)
        assert await _refused(retry) == refusal
        rerun = rig.client.rerun("x", inputs={"b": given}, force_rerun=["a"], validate_only=True)
        assert await _refused(rerun) is None
    assert await _refused(rig.client.retry_step("x", "b", input={"card": 3})) == refusal
    step = await rig.client.get_step("x", "b")
    assert step.input == ({"card": 3} if refusal is None else before)
    assert await _refused(rig.client.rerun("x", inputs={"b": {"card": 4}})) is None
    assert (await rig.client.get_step("x", "b")).input == {"card": 4}
    assert r"{\"card\":4}" in await rig.client.export_execution("x")
    assert (await rig.client.compare_runs("x")).steps


@pytest.mark.parametrize("corrected", [False, True], ids=["never corrected", "corrected here"])
@pytest.mark.parametrize("state", STATES)
async def test_of_a_step_of_this_run(rig: Rig, state: str, *, corrected: bool) -> None:
    await rig.start("x", CHAIN, input=1)
    await rig.client.rerun("x", force_rerun=list(CHAIN), inputs={"b": 2} if corrected else {})
    make, refusal = STATES[state]
    await make(rig)
    step = await rig.client.get_step("x", "b")
    status = "COMPLETED" if state == "SKIPPED" else state
    assert (step.status, step.input_corrections) == (status, int(corrected))
    await _all_answer(rig, refusal)


@pytest.mark.parametrize("times", [1, 2], ids=["preserved", "preserved twice"])
@pytest.mark.parametrize("corrections", [0, 1, 2])
async def test_of_a_step_that_reruns_preserved(rig: Rig, corrections: int, times: int) -> None:
    await rig.start("x", CHAIN, input=1)
    for n in range(corrections):
        await rig.work(fail=["b"])
        await rig.client.retry_step("x", "b", input={"n": n})
    await rig.work(fail=["c"])
    for _ in range(times):
        assert "b" in (await rig.client.rerun("x")).preserved
        await rig.work(fail=["c"])
    step = await rig.client.get_step("x", "b")
    assert (step.preserved_from_run_number, step.input_corrections) == (0, corrections)
    await _all_answer(rig, errors.StepNotDead)


# Who makes a key of its parts: a leased step is of its own run, for a preserved one is completed.
_MADE_OF_PARTS = {"engine/dispatch/task_parts.py", "store/step_inputs.py"}


def test_where_an_input_stands_is_said_in_one_place() -> None:
    """Whoever makes the key of a run and a step finds no row where the step was preserved."""
    making = {
        path.relative_to(_SERVER).as_posix()
        for path in _SERVER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "InputKey"
    }
    assert making == _MADE_OF_PARTS
