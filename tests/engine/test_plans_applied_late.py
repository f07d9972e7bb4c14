"""Whatever has happened since it was planned, a plan that is applied is done or PLAN_CHANGED."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
from engine import planned_deeds as deeds
from engine.planned_deeds import CASES, EVENTS, Case, Place
from engine.test_plans import changed
from retaining import make_old
from rig import Rig, eventually

from zart import errors
from zart.gateway.bindings import all_services
from zart_server.domain.plans import PlanToken


def _named(it: Case | Callable[..., object]) -> str:
    return str(it) if isinstance(it, Case) else it.__name__


def test_each_rpc_that_can_be_planned_is_here() -> None:
    planned = {
        method.name
        for service in all_services()
        for method in service.methods
        if "plan_token" in method.input_type.fields_by_name
    }
    assert {case.rpc for case in CASES} == planned


@pytest.mark.parametrize("case", CASES, ids=_named)
async def test_it_is_done_or_changed(rig: Rig, case: Case) -> None:
    refused_for: list[str] = []
    others: list[tuple[str, type[errors.Refused]]] = []
    for event in EVENTS:
        at = Place(rig, event.__name__)
        await case.situation(at)
        deed = case.deed(at)
        plan = await deed(validate_only=True, **case.options)
        with contextlib.suppress(errors.Refused):  # not each is possible in each situation
            await event(at)
        try:
            done = await deed(plan_token=plan.plan_token, **case.options)
        except errors.PlanChanged as error:
            refused_for.append(error.metadata["changed"])
        except errors.Refused as error:
            others.append((event.__name__, type(error)))
        else:
            assert not done.planned
    assert {kind for _, kind in others} <= {case.may_be}, others
    assert "request" not in refused_for


_OF_A_RUN = [
    Case("RetryStep", deeds.failed, deeds.retry_by_run, {}),
    Case("RetryStep", deeds.failed, deeds.retry, {}),
    Case("CompleteStep", deeds.failed, deeds.complete, {}),
    Case("FailStep", deeds.running, deeds.fail, deeds.OF_RUN_0),
    Case("Restart", deeds.failed, deeds.restart, deeds.OF_RUN_0),
    Case("Rerun", deeds.failed, deeds.rerun, deeds.OF_RUN_0),
    Case("Rerun", deeds.failed, deeds.rerun, {"force_rerun": ["a"]}),
    Case("Rerun", deeds.failed, deeds.rerun, {"preserve": ["a"]}),
    Case("Rerun", deeds.failed, deeds.rerun, {"inputs": {"b": 1}}),
    Case("CancelExecution", deeds.running, deeds.cancel, deeds.OF_RUN_0),
]


@pytest.mark.parametrize("case", _OF_A_RUN, ids=_named)
async def test_that_the_run_is_another_is_told(rig: Rig, case: Case) -> None:
    at = Place(rig, "x")
    await case.situation(at)
    deed = case.deed(at)
    plan = await deed(validate_only=True, **case.options)
    other = await rig.client.pause(task_name="x", validate_only=True)
    await deeds.restarted_as_another(at)

    assert await changed(deed(plan_token=plan.plan_token, **case.options)) == "run"
    assert await changed(deed(plan_token=other.plan_token, **case.options)) == "request"
    token = PlanToken.of_text(plan.plan_token)
    old = token._replace(made_at=token.made_at - timedelta(minutes=61)).to_text()
    assert await changed(deed(plan_token=old, **case.options)) == "run, time"
    with pytest.raises(errors.Refused) as refused:  # who has no plan learns what is wrong
        await deed(**case.options)
    assert not isinstance(refused.value, errors.PlanChanged)


_OF_NO_RUN = {"Pause", "UpdatePauseRule", "Resume", "CreateBatch", "PurgeExecutions"}


@pytest.mark.parametrize("case", [c for c in CASES if c.rpc not in _OF_NO_RUN], ids=_named)
async def test_it_is_not_done_to_another_execution_with_the_id(rig: Rig, case: Case) -> None:
    """The first one is removed, and the next is where that was: its run has the same id, too."""
    at = Place(rig, "x")
    await case.situation(at)
    deed = case.deed(at)
    plan = await deed(validate_only=True, **case.options)
    first = (await rig.client.get_execution("x")).run
    with contextlib.suppress(errors.RunFinished):
        await rig.client.cancel_execution("x")
    await make_old(rig.db)
    assert (await rig.client.purge_executions(timedelta(days=30))).removed_executions == 1
    await case.situation(at)
    second = (await rig.client.get_execution("x")).run

    assert (second.run_id, second.status) == (first.run_id, first.status)
    assert await changed(deed(plan_token=plan.plan_token, **case.options)) == "run"
    assert (await rig.client.get_execution("x")).run == second
    await deed(**case.options)


async def test_it_is_not_done_to_a_run_that_got_the_number_after_a_restore(rig: Rig) -> None:
    """A restore gives the number, and all keys, to a run of the same execution that begins later."""
    at = Place(rig, "x")
    await deeds.failed(at)
    plan = await deeds.retry(at)(validate_only=True)
    async with rig.db.transaction():
        await rig.db.execute("SET LOCAL zart.purge = 'on'")
        await rig.db.execute("UPDATE zart.runs SET created_at = created_at + interval '1 second'")

    assert await changed(deeds.retry(at)(plan_token=plan.plan_token)) == "run"


@pytest.mark.parametrize(
    ("case", "event"),
    [
        (Case("CancelExecution", deeds.running, deeds.cancel, {}), deeds.completed),
        (Case("Restart", deeds.failed, deeds.restart, deeds.GENTLY), deeds.retried),
        (
            Case("Rerun", deeds.failed, deeds.rerun, {**deeds.GENTLY, "force_rerun": ["b"]}),
            deeds.retried,
        ),
        (Case("RetryStep", deeds.half_dead, deeds.retry, {}), deeds.cancelled),
        (Case("CompleteStep", deeds.half_dead, deeds.complete, {}), deeds.cancelled),
    ],
    ids=_named,
)
async def test_that_the_run_goes_on_or_has_ended_is_told(
    rig: Rig, case: Case, event: Callable[[Place], Awaitable[None]]
) -> None:
    """Where the deed cannot be done for it; else it binds nothing."""
    at = Place(rig, "x")
    await case.situation(at)
    deed = case.deed(at)
    plan = await deed(validate_only=True, **case.options)
    await event(at)

    assert await changed(deed(plan_token=plan.plan_token, **case.options)) == "run_status"
    with pytest.raises((errors.RunFinished, errors.RunActive)):
        await deed(**case.options)


async def test_that_nothing_is_left_to_be_paused_is_told(rig: Rig) -> None:
    """No rule is made that matches nothing, where none such was wanted."""
    at = Place(rig, "x")
    await deeds.running(at)
    plan = await deeds.pause_it(at)(validate_only=True)
    await deeds.completed(at)

    with pytest.raises(errors.ScopeMatchesNothing):
        await deeds.pause_it(at)()
    told = await changed(deeds.pause_it(at)(plan_token=plan.plan_token))
    assert told == "matching_steps"
    assert [rule async for rule in rig.client.list_pause_rules()] == []


async def test_a_plan_whose_end_has_come_is_over_as_one_of_an_hour_ago(rig: Rig) -> None:
    at = Place(rig, "x")
    await deeds.paused(at)
    for deed in (deeds.pause_it(at), deeds.exempt(at)):
        ends_at = datetime.now(UTC) + timedelta(seconds=1)
        plan = await deed(validate_only=True, expires_at=ends_at)

        async def has_come(ends_at: datetime = ends_at) -> bool:
            return bool(await rig.db.fetchval("SELECT clock_timestamp() > $1", ends_at))

        await eventually(has_come)
        assert await changed(deed(plan_token=plan.plan_token, expires_at=ends_at)) == "time"
        with pytest.raises(errors.InvalidField):
            await deed(expires_at=ends_at)
