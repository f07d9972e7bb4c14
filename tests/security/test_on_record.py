"""The identity is on record, beside what callers claim, and it is whose leases and repeats are."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest
from batching import until_batch
from doubts import ONE, STOP
from issuing import Connect, TokenFile
from rig import CHAIN, eventually, specs

import zart
from zart import errors
from zart.cli.main import main
from zart.testing.server import ServerUnderTest


@pytest.fixture
def tokens(tokens: TokenFile) -> TokenFile:
    """The usual ones, and one of an operator: attempts by hand have that word as their dispatcher."""
    tokens.add("chief", "operator")
    return tokens


async def test_runs_attempts_rules_and_operations_name_the_identity(
    connect: Connect, db: asyncpg.Connection[Any]
) -> None:
    starter, operator, viewer = connect("starter"), connect("operator"), connect("viewer")
    worker = connect("dispatcher")
    await worker.register_task("reg", [zart.StepSpec("a")])
    await starter.start("t", execution_id="x", steps=specs({"a": ()}), triggered_by="bob")
    await starter.batch_start_executions(
        [zart.Start("t", None, "y", specs({"a": ()}))], triggered_by="bob"
    )
    tasks = await worker.lease_tasks("d", ["t"], max_tasks=1)
    running = (await viewer.get_execution(tasks[0].execution_id)).step("a").attempts
    await operator.restart(tasks[0].execution_id, triggered_by="eve")
    rule = await operator.pause(task_name="t", triggered_by="eve")
    await viewer.wait_drained(rule.rule_id)
    await operator.resume(rule_id=rule.rule_id, triggered_by="eve")
    await starter.cancel_execution("x", triggered_by="bob")

    assert [(a.principal, a.dispatcher_id) for a in running] == [("dispatcher", "d")]
    runs = await viewer.list_runs("x")
    assert [(r.principal, r.triggered_by) for r in runs] == [
        ("starter", "bob"),
        ("operator", "eve"),
    ]
    [kept] = await viewer.list_pause_rules(include_deleted=True)
    assert (kept.principal, kept.created_by) == ("operator", "eve")
    assert (kept.deleted_by_principal, kept.deleted_by) == ("operator", "eve")
    operations = await viewer.list_operations()
    assert {(o.kind.value, o.principal, o.triggered_by) for o in operations} == {
        ("REGISTER_TASK", "dispatcher", ""),
        ("START", "starter", "bob"),
        ("RESTART", "operator", "eve"),
        ("PAUSE", "operator", "eve"),
        ("DRAIN", "", "drain"),
        ("RESUME", "operator", "eve"),
        ("CANCEL", "starter", "bob"),
    }
    by_operator = await viewer.list_operations(principal="operator")
    assert [o.kind.value for o in by_operator] == ["RESUME", "PAUSE", "RESTART"]
    for view, wanted in (
        ("zart_execution_runs", {"starter", "operator"}),
        ("zart_step_attempts", {"dispatcher"}),
        ("zart_operations", {"starter", "operator", "dispatcher", ""}),
        ("zart_pause_rules", {"operator"}),
    ):
        found = {row["principal"] for row in await db.fetch(f"SELECT principal FROM {view}")}
        assert found == wanted, view


async def test_steps_by_hand_name_the_identity_and_so_do_rules_and_doubts(connect: Connect) -> None:
    starter, operator, viewer = connect("starter"), connect("operator"), connect("viewer")
    worker, chief = connect("dispatcher"), connect("chief")
    await starter.start("t", execution_id="x", steps=specs({"a": (), "b": ()}))
    await chief.complete_step("x", "a", 1, triggered_by="eve")
    await chief.fail_step("x", "b", "no", triggered_by="eve")
    await starter.start("u", execution_id="doubtful", steps=specs(ONE, **STOP))
    (task,) = await worker.lease_tasks("d", ["u"])
    await worker.report_tasks("d", [zart.Outcome(task.task_id, task.lease_token, zart.Lost())])
    await chief.resolve_in_doubt(
        "doubtful", "a", "HAPPENED", run_number=0, attempt=1, triggered_by="eve"
    )
    rule_id = (await operator.pause(task_name="r")).rule_id
    for execution_id in ("exempt", "released", "withheld"):
        await starter.start("r", execution_id=execution_id, steps=specs(ONE))
    await chief.update_pause_rule(rule_id, exempt=["exempt"], triggered_by="eve")
    await operator.resume(rule_id=rule_id, rate_per_second=0.01, triggered_by="bob")
    await chief.stop_release(rule_id, triggered_by="eve")

    for name in ("a", "b"):
        (attempt,) = (await viewer.get_step("x", name)).attempts
        assert (attempt.dispatcher_id, attempt.principal) == ("operator", "chief"), name
    by_chief = await viewer.list_operations(principal="chief")
    assert sorted((o.kind.value, o.triggered_by) for o in by_chief) == [
        ("COMPLETE_STEP", "eve"),
        ("FAIL_STEP", "eve"),
        ("RESOLVE_IN_DOUBT", "eve"),
        ("STOP_RELEASE", "eve"),
        ("UPDATE_PAUSE_RULE", "eve"),
    ]


async def test_the_items_of_a_batch_are_done_as_its_creator_whoever_has_it_go_on(
    connect: Connect,
) -> None:
    chief, operator, viewer = connect("chief"), connect("operator"), connect("viewer")
    for execution_id in ("x", "y"):
        await connect("starter").start("t", execution_id=execution_id, steps=specs(ONE))
        await operator.fail_step(execution_id, "a", "no")
    created = await chief.create_batch(
        zart.RetryStep(), execution_ids=["x", "y"], canary=1, triggered_by="eve"
    )
    await until_batch(viewer, created.batch_id, "PAUSED")
    await operator.resume_batch(created.batch_id, triggered_by="bob")
    batch = await until_batch(viewer, created.batch_id, "COMPLETED")

    assert (batch.principal, batch.created_by, batch.counts.done) == ("chief", "eve", 2)
    operations = await viewer.list_operations(batch_id=created.batch_id)
    assert sorted((o.kind.value, o.principal, o.triggered_by) for o in operations) == [
        ("CREATE_BATCH", "chief", "eve"),
        ("PAUSE_BATCH", "chief", "eve"),
        ("RESUME_BATCH", "operator", "bob"),
        ("RETRY_STEP", "chief", "eve"),
        ("RETRY_STEP", "chief", "eve"),
    ]


async def test_the_command_shows_it_where_there_is_one(
    connect: Connect,
    guarded: ServerUnderTest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await connect("starter").start("t", execution_id="x", steps=specs({"a": ()}))
    worker = connect("dispatcher")
    await worker.lease_tasks("d", ["t"])
    await connect("operator").pause(task_name="t")
    monkeypatch.setenv("ZART_ADDRESS", guarded.address)
    monkeypatch.setenv("ZART_TOKEN", "zart_token-of-viewer")

    shown = {}
    for command in ("status x", "runs x", "history x", "pause-list"):
        assert main(command.split()) == 0
        shown[command] = capsys.readouterr().out

    assert "identity  starter" in shown["status x"]
    for command, principal in (
        ("status x", "dispatcher"),
        ("runs x", "starter"),
        ("history x", "starter"),
        ("pause-list", "operator"),
    ):
        assert "IDENTITY" in shown[command], command
        assert principal in shown[command], command


async def test_a_lease_is_reported_and_extended_by_its_identity_only(
    connect: Connect, tokens: TokenFile
) -> None:
    tokens.add("rival", "dispatcher")
    rival, worker = connect("rival"), connect("dispatcher")

    async def known() -> bool:
        try:
            await rival.lease_tasks("d", ["none"])
        except errors.InvalidCredentials:
            return False
        return True

    await eventually(known)
    await connect("starter").start("t", execution_id="x", steps=specs(CHAIN))
    [task] = await worker.lease_tasks("d", ["t"])
    lease = zart.Lease(task.task_id, task.lease_token)
    outcome = zart.Outcome(task.task_id, task.lease_token, zart.Completed(1))

    # It says the same name and knows the token: neither is an identity.
    assert [r.status.value for r in await rival.report_tasks("d", [outcome])] == ["LEASE_LOST"]
    assert [r.extended for r in await rival.extend_leases("d", [lease])] == [False]
    with pytest.raises(errors.InvalidField):
        await rival.get_step_results(lease, [])

    assert [r.extended for r in await worker.extend_leases("d", [lease])] == [True]
    assert [r.status.value for r in await worker.report_tasks("d", [outcome])] == ["RECORDED"]
    assert [r.status.value for r in await rival.report_tasks("d", [outcome])] == ["LEASE_LOST"]
    again = await worker.report_tasks("d", [outcome])
    assert [r.status.value for r in again] == ["ALREADY_RECORDED"]


async def test_a_request_id_is_the_callers_own(connect: Connect, tokens: TokenFile) -> None:
    tokens.add("other", "starter", "operator")
    other, starter = connect("other"), connect("starter")
    steps = [zart.StepSpec("a")]

    async def known() -> bool:
        try:
            await other.cancel_execution("nobody")
        except errors.ExecutionNotFound:
            return True
        except errors.InvalidCredentials:
            return False
        return False

    await eventually(known)
    await starter.start("t", execution_id="x", steps=steps, request_id="r")

    # The same again is answered from memory, to its own caller only.
    await starter.start("t", execution_id="x", steps=steps, request_id="r")
    with pytest.raises(errors.ExecutionExists):
        await other.start("t", execution_id="x", steps=steps, request_id="r")
    await other.start("t", execution_id="y", steps=steps, request_id="r")
    await connect("operator").pause(task_name="t", request_id="p")
    await other.pause(task_name="another", request_id="p")
