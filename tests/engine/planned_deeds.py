"""Deeds that can be planned, where they can be done, and what may happen before one is."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

from rig import CHAIN, DIAMOND, Rig, eventually, specs

import zart
from zart import errors

Do: TypeAlias = Callable[..., Awaitable[Any]]
LONG_AGO = timedelta(days=400)


@dataclass
class Place:
    """An execution of a task of its own and, where a situation has one, a rule of that task."""

    rig: Rig
    name: str
    rule_id: str = ""

    async def begin(self, graph: Any) -> None:
        """Start the execution, of a registered task."""
        await self.rig.client.register_task(self.name, specs(graph))
        await self.rig.client.start(self.name, execution_id=self.name)

    async def lease(self, step: str) -> Any:
        """Lease a step, and give back what comes along."""
        return await self.rig.lease_one(step, self.name, task=self.name)


async def failed(at: Place) -> None:
    """Have its run FAILED: b is dead."""
    await at.begin(CHAIN)
    await at.rig.work(task=at.name, fail=["b"])


async def half_dead(at: Place) -> None:
    """Have b dead, and c go on."""
    await at.begin(DIAMOND)
    await at.rig.complete(await at.lease("a"))
    await at.rig.fail(await at.lease("b"))


async def running(at: Place) -> None:
    """Have it RUNNING: b is ready."""
    await at.begin(CHAIN)
    await at.rig.complete(await at.lease("a"))


async def paused(at: Place) -> None:
    """Have a rule withhold its first step."""
    at.rule_id = (await at.rig.client.pause(task_name=at.name)).rule_id
    await at.begin(CHAIN)


@dataclass(frozen=True)
class Case:
    """A deed, of which a plan is made. ``may_be``: what it may be refused with when applied.

    That is what is bound by no plan, as it is counted: whether anything is left.
    """

    rpc: str
    situation: Callable[[Place], Awaitable[None]]
    deed: Callable[[Place], Do]
    options: dict[str, Any]
    may_be: type[errors.Refused] | None = None

    def __str__(self) -> str:
        return "-".join((self.rpc, self.situation.__name__, self.deed.__name__, *self.options))


def retry(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.retry_step(at.name, "b", **how)


def retry_by_run(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.retry_step("", "b", run_id=f"{at.name}:run:0", **how)


def complete(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.complete_step(at.name, "b", 1, **how)


def fail(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.fail_step(at.name, "c", "no", **how)


def restart(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.restart(at.name, **how)


def rerun(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.rerun(at.name, **how)


def cancel(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.cancel_execution(at.name, **how)


def pause_it(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.pause(execution_id=at.name, must_match=True, **how)


def pause_task(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.pause(
        task_name=at.name, step_pattern="b", must_match=True, **how
    )


def exempt(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.update_pause_rule(at.rule_id, exempt=[at.name], **how)


def resume_rule(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.resume(rule_id=at.rule_id, **how)


def resume_task(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.resume(task_name=at.name, **how)


def batch(at: Place) -> Do:
    """Return a call that does it."""
    wanted = zart.ExecutionFilter(task_name=at.name, step_pattern="b")
    return lambda **how: at.rig.client.create_batch(zart.RetryStep(), filter=wanted, **how)


def purge(at: Place) -> Do:
    """Return a call that does it."""
    return lambda **how: at.rig.client.purge_executions(LONG_AGO, **how)


OF_RUN_0 = {"expected_run_number": 0}
GENTLY = {"if_running": "fail"}
CASES = [
    Case("RetryStep", failed, retry, {}),
    Case("RetryStep", half_dead, retry_by_run, {}),
    Case("CompleteStep", failed, complete, {}),
    Case("CompleteStep", half_dead, complete, OF_RUN_0),
    Case("CompleteStep", running, complete, {}),
    Case("FailStep", running, fail, {}),
    Case("Restart", failed, restart, GENTLY),
    Case("Rerun", failed, rerun, GENTLY),
    Case("Rerun", failed, rerun, {"force_rerun": ["a"]}),
    Case("Rerun", failed, rerun, {"inputs": {"b": 1}}),
    Case("CancelExecution", running, cancel, {}),
    Case("Pause", running, pause_it, {}),
    Case("Pause", running, pause_task, {}),
    Case("UpdatePauseRule", paused, exempt, {"expires_in": 3600}),
    Case("Resume", paused, resume_rule, {}),
    Case("Resume", paused, resume_task, {}),
    Case("Resume", paused, resume_rule, {"canary": 1}, errors.NothingPaused),
    Case("Resume", paused, resume_task, {"canary": 1}, errors.NothingPaused),
    Case("Resume", paused, resume_task, {"rate_per_second": 100.0}),
    Case("CreateBatch", failed, batch, {}, errors.NothingSelected),
    Case("PurgeExecutions", failed, purge, {}),
]


async def restarted(at: Place) -> None:
    """Restart it."""
    await at.rig.client.restart(at.name)


async def restarted_as_another(at: Place) -> None:
    """Restart it with a definition that has none of the steps."""
    await at.rig.client.register_task(at.name, [zart.StepSpec("other")])
    await at.rig.client.restart(at.name)


async def retried(at: Place) -> None:
    """Revive b."""
    await at.rig.client.retry_step(at.name, "b")


async def completed(at: Place) -> None:
    """Have it COMPLETED."""
    with contextlib.suppress(errors.Refused):
        await at.rig.client.retry_step(at.name, "b")
    await at.rig.client.resume(task_name=at.name)

    async def is_over() -> bool:
        await at.rig.work(task=at.name)
        return await at.rig.run_status(at.name) == "COMPLETED"

    await eventually(is_over)


async def died_again(at: Place) -> None:
    """Have b dead, for the first or the second time."""
    await at.rig.client.resume(task_name=at.name)
    with contextlib.suppress(errors.Refused):
        await at.rig.client.retry_step(at.name, "b")

    async def is_dead() -> bool:
        await at.rig.work(task=at.name, fail=["b"])
        return (await at.rig.client.get_step(at.name, "b")).status == "DEAD"

    await eventually(is_dead)


async def cancelled(at: Place) -> None:
    """Cancel it."""
    await at.rig.client.cancel_execution(at.name)


async def ended_by_hand(at: Place) -> None:
    """Complete b by hand."""
    await at.rig.client.complete_step(at.name, "b", 1)


async def paused_once_more(at: Place) -> None:
    """Add a rule of its task."""
    await at.rig.client.pause(task_name=at.name)


async def resumed(at: Place) -> None:
    """End the rule."""
    await at.rig.client.resume(rule_id=at.rule_id)


async def resumed_slowly(at: Place) -> None:
    """Have the rule release at a pace."""
    await at.rig.client.resume(rule_id=at.rule_id, rate_per_second=0.01)


async def exempted(at: Place) -> None:
    """Exempt an execution from the rule."""
    await at.rig.client.update_pause_rule(at.rule_id, exempt=["another"])


EVENTS = [
    restarted,
    restarted_as_another,
    retried,
    completed,
    died_again,
    cancelled,
    ended_by_hand,
    paused_once_more,
    resumed,
    resumed_slowly,
    exempted,
]
