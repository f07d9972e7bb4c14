"""ListInDoubt and ResolveInDoubt: what may have happened is listed until somebody has found out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from doubts import ONE, STOP, in_doubt
from rig import CHAIN, Rig

import zart
from zart.calls.doubts import resolve_in_doubt
from zart.cli.main import main
from zart.errors import (
    AttemptNotFound,
    BatchNotFound,
    ErrorGroupNotFound,
    ExecutionNotFound,
    InvalidField,
    NotInDoubt,
    PlanChanged,
    RunNotFound,
    StepInDoubt,
    StepNotFound,
)
from zart.models import InDoubtAttempt, OperationKind, StepError
from zart.testing.server import ServerUnderTest

HAPPENED, DID_NOT = zart.InDoubtFinding.HAPPENED, zart.InDoubtFinding.DID_NOT_HAPPEN


async def listed(rig: Rig, **conditions: Any) -> list[InDoubtAttempt]:
    """List what is in doubt."""
    chosen = zart.ExecutionFilter(**conditions) if conditions else None
    return [item async for item in rig.client.list_in_doubt(chosen)]


async def test_the_list_has_what_is_in_doubt_with_what_was_told_later(rig: Rig) -> None:
    await in_doubt(rig, "first", late=zart.Completed({"paid": 7}))
    await in_doubt(rig, "second", late=zart.Failed(StepError("Declined", "no", "")))
    await in_doubt(rig, "third", late=zart.Completed("x" * 70_000))
    await in_doubt(rig, "fourth")
    fourth, third, second, first = await listed(rig)
    assert (first.execution_id, first.run_number, first.step_name, first.attempt) == (
        "first", 0, "a", 1,
    )  # fmt: skip
    assert (first.ended_as, first.dispatcher_id, first.task_name) == ("LOST", "d", "t")
    assert first.started_at is not None
    assert first.ended_at is not None
    assert first.started_at < first.ended_at
    assert (first.finding, first.resolved_at, first.reason) == ("UNSPECIFIED", None, "")
    assert first.resolved_by_operation_id == ""
    assert first.late_outcome is not None
    assert (first.late_outcome.status, first.late_outcome.result) == ("COMPLETED", {"paid": 7})
    assert first.late_outcome.received_at is not None
    assert second.late_outcome is not None
    assert second.late_outcome.error == StepError("Declined", "no", "")
    assert third.late_outcome is not None
    assert (third.late_outcome.result, third.late_outcome.result_omitted) == (None, True)
    assert fourth.late_outcome is None


async def test_pages_go_on_where_the_last_one_ended(rig: Rig) -> None:
    for n in range(5):
        await in_doubt(rig, f"x{n}")
    for chosen in (None, zart.ExecutionFilter(execution_id_prefix="x"), TASK):
        pages = [page async for page in rig.client.list_in_doubt(chosen, page_size=2).pages()]
        found = [item.execution_id for page in pages for item in page.items]
        assert found == ["x4", "x3", "x2", "x1", "x0"]
        assert max(len(page.items) for page in pages) == 2


TASK = zart.ExecutionFilter(task_name="t")


async def test_the_filter_chooses_by_the_attempts_own_step(rig: Rig) -> None:
    await in_doubt(rig, "one-1")
    await in_doubt(rig, "one-2", task="u")
    await in_doubt(rig, "other", graph=CHAIN)
    await rig.start("gone", ONE, **STOP)
    await rig.lease_one("a", "gone")
    await rig.client.cancel_execution("gone")
    for conditions, expected in (
        ({"task_name": "u"}, {"one-2"}),
        ({"execution_id_prefix": "one-"}, {"one-1", "one-2"}),
        ({"execution_id_prefix": "one-", "task_name": "t"}, {"one-1"}),
        ({"execution_id_prefix": "o"}, {"one-1", "one-2", "other"}),
        ({"step_pattern": "[ab]"}, {"one-1", "one-2", "other", "gone"}),
        ({"step_pattern": "b*"}, set()),
        ({"statuses": ["CANCELLED"]}, {"gone"}),
        ({"step_statuses": ["DEAD"], "step_pattern": "a"}, {"one-1", "one-2", "other"}),
    ):
        found = {item.execution_id for item in await listed(rig, **conditions)}
        assert found == expected, conditions
    ended = {item.execution_id: item.ended_at for item in await listed(rig)}
    since = {item.execution_id for item in await listed(rig, dead_after=ended["other"])}
    assert since == {"other", "gone"}
    created = (await rig.client.get_execution("other")).execution.created_at
    before = {item.execution_id for item in await listed(rig, created_before=created)}
    assert before == {"one-1", "one-2"}
    with pytest.raises(InvalidField, match=r"filter\.rule_id"):
        await listed(rig, rule_id="pr-1234abcd")


async def test_the_filter_chooses_by_errors_batches_and_who_began(rig: Rig) -> None:
    await in_doubt(rig, "one")
    await in_doubt(rig, "two", task="u")
    await rig.client.restart("two", accept_in_doubt=True, triggered_by="ops")
    [group] = [
        found.error_group_id
        async for found in rig.client.list_error_groups()
        if found.task_name == "t"
    ]
    created = await rig.client.create_batch(zart.CancelExecution(), execution_ids=["two"])
    yesterday = datetime.now(UTC) - timedelta(days=1)
    began = {"triggered_by": "tester", "created_after": yesterday}
    for conditions, expected in (
        ({"error_group_id": group}, {"one"}),
        ({"error_contains": "InDoubt"}, {"one", "two"}),
        ({"error_contains": "card"}, set()),
        ({"batch_id": created.batch_id}, {"two"}),
        (began, {"one", "two"}),
        (began | {"triggered_by": "ops"}, set()),
    ):
        found = {item.execution_id for item in await listed(rig, **conditions)}
        assert found == expected, conditions
    with pytest.raises(BatchNotFound):
        await listed(rig, batch_id="ba-nowhere")
    with pytest.raises(ErrorGroupNotFound):
        await listed(rig, error_group_id="eg-1abcdefg")


@pytest.mark.parametrize("finding", [HAPPENED, DID_NOT])
async def test_a_finding_is_on_record_and_changes_nothing_else(rig: Rig, finding: Any) -> None:
    await in_doubt(rig, late=zart.Completed("late"))
    before = await rig.client.get_step("x", "a")
    done = await rig.client.resolve_in_doubt(
        "x", "a", finding, run_number=0, attempt=1, reason="the statement", request_id="r"
    )
    item = done.item
    assert (item.finding, item.reason, done.replayed) == (finding, "the statement", False)
    assert item.resolved_at is not None
    assert item.late_outcome is not None
    assert (item.late_outcome.status, item.late_outcome.result) == ("COMPLETED", None)
    (operation,) = [
        each async for each in rig.client.list_operations(kinds=[OperationKind.RESOLVE_IN_DOUBT])
    ]
    assert item.resolved_by_operation_id == operation.operation_id
    assert (operation.execution_id, operation.run_number, operation.step_name) == ("x", 0, "a")
    assert operation.made is not None
    assert operation.made.finding.upper() == finding
    assert await listed(rig) == []
    after = await rig.client.get_step("x", "a")
    assert (after.status, after.in_doubt) == ("DEAD", False)
    assert before.last_error == after.last_error
    again = await rig.client.resolve_in_doubt(
        "x", "a", finding, run_number=0, attempt=1, reason="the statement", request_id="r"
    )
    assert again.replayed
    with pytest.raises(NotInDoubt) as refused:
        await rig.client.resolve_in_doubt("x", "a", HAPPENED, run_number=0, attempt=1)
    assert refused.value.metadata["finding"] == finding


async def test_what_did_not_happen_is_retried_like_any(rig: Rig) -> None:
    await in_doubt(rig)
    await rig.client.resolve_in_doubt("x", "a", "did-not-happen", run_number=0, attempt=1)
    await rig.client.retry_step("x", "a")
    await rig.work()
    assert await rig.run_status() == "COMPLETED"


async def test_what_happened_is_run_again_only_if_that_is_accepted(rig: Rig) -> None:
    await in_doubt(rig)
    await rig.client.resolve_in_doubt("x", "a", "happened", run_number=0, attempt=1)
    with pytest.raises(StepInDoubt, match="found to have happened"):
        await rig.client.retry_step("x", "a")


@pytest.mark.parametrize("deed", ["restart", "rerun", "cancel_execution"])
async def test_who_planned_in_doubt_is_told_that_it_was_found_to_have_happened(
    rig: Rig, deed: str
) -> None:
    """To accept a doubt is not to accept that what has happened is done again."""
    await rig.start("x", {"a": (), "b": ()}, **STOP)
    await rig.lease()  # b stays in flight, so that there is something to cancel
    lost = rig.leased["x", "a"]
    await rig.report(zart.Outcome(lost.task_id, lost.lease_token, zart.Lost()))
    operate: Any = getattr(rig.client, deed)
    options = {} if deed == "cancel_execution" else {"accept_in_doubt": True}
    plan = await operate("x", validate_only=True, **options)
    await rig.client.resolve_in_doubt("x", "a", HAPPENED, run_number=0, attempt=1)
    with pytest.raises(PlanChanged) as refused:
        await operate("x", plan_token=plan.plan_token, **options)
    assert refused.value.metadata["changed"] == "in_doubt"
    assert (await rig.statuses())["b"] == "RUNNING"
    again = await operate("x", validate_only=True, **options)
    await operate("x", plan_token=again.plan_token, **options)
    assert (await rig.statuses(run_number=0))["b"] == "CANCELLED"


async def test_a_doubt_of_a_past_run_is_resolved(rig: Rig) -> None:
    await in_doubt(rig)
    await rig.client.restart("x", accept_in_doubt=True)
    (item,) = await listed(rig)
    assert (item.run_number, item.attempt) == (0, 1)
    await rig.client.resolve_in_doubt("x", "a", DID_NOT, run_number=0, attempt=1)
    assert await listed(rig) == []


async def test_what_is_not_there_or_not_in_doubt_is_refused(rig: Rig) -> None:
    await rig.start("x", CHAIN, **STOP)
    await rig.fail(await rig.lease_one("a"), retryable=True)
    await rig.complete(await rig.lease_one("a"))
    await rig.lease_one("b")
    for arguments, kind in (
        (("no", "a", 0, 1), ExecutionNotFound),
        (("x", "a", 7, 1), RunNotFound),
        (("x", "no", 0, 1), StepNotFound),
        (("x", "a", 0, 3), AttemptNotFound),
        (("x", "c", 0, 1), AttemptNotFound),
        (("x", "a", 0, 1), NotInDoubt),
        (("x", "a", 0, 2), NotInDoubt),
        (("x", "b", 0, 1), NotInDoubt),
        (("x", "a", 0, 0), InvalidField),
    ):
        execution_id, step_name, run_number, attempt = arguments
        with pytest.raises(kind):
            await rig.client.resolve_in_doubt(
                execution_id, step_name, HAPPENED, run_number=run_number, attempt=attempt
            )
    call = resolve_in_doubt("x", "a", HAPPENED, run_number=0, attempt=1)
    call.request.ClearField("finding")  # which our client never leaves out
    with pytest.raises(InvalidField, match="finding"):
        await rig.client.send(call)
    with pytest.raises(ValueError, match="MAYBE"):
        await rig.client.resolve_in_doubt("x", "a", "maybe", run_number=0, attempt=1)


async def test_the_database_keeps_what_was_resolved(rig: Rig) -> None:
    await in_doubt(rig)
    await rig.client.resolve_in_doubt("x", "a", HAPPENED, run_number=0, attempt=1)
    for statement in (
        "UPDATE zart.in_doubt SET finding = 'did_not_happen'",
        "UPDATE zart.in_doubt SET resolved_at = NULL, resolved_by = NULL, finding = NULL",
        "DELETE FROM zart.in_doubt",
        "TRUNCATE zart.in_doubt",
    ):
        with pytest.raises(Exception, match="cannot be changed or deleted"):
            await rig.db.execute(statement)


def command(server: ServerUnderTest, *arguments: str) -> int:
    """Run a command of zart; gives its exit code."""
    name, *others = arguments
    return main([name, "--address", server.address, *others])


async def test_the_commands_list_and_resolve(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await in_doubt(rig, "x", late=zart.Completed({"paid": 7}))
    await in_doubt(rig, "xy")
    assert command(zart_server, "in-doubt", "--task-name", "t", "--step", "a*") == 0
    told = capsys.readouterr().out
    assert "xy" in told
    assert '{"paid": 7}' in told
    assert command(zart_server, "retry-step", "x", "a") == 1
    assert "accept-in-doubt" in capsys.readouterr().err
    assert command(zart_server, "resolve", "x", "a", "happened") == 0
    assert "is resolved: happened" in capsys.readouterr().out
    assert command(zart_server, "resolve", "x", "a", "happened") == 1
    assert ": HAPPENED [NOT_IN_DOUBT]" in capsys.readouterr().err
    assert command(zart_server, "resolve", "xy", "a", "maybe") == 2
    where = ("--run", "0", "--attempt", "1")
    assert command(zart_server, "resolve", "xy", "a", "did-not-happen", *where) == 0
    assert command(zart_server, "retry-step", "x", "a", "--accept-in-doubt") == 0
    assert command(zart_server, "retry-step", "xy", "a") == 0
    assert await listed(rig) == []
