"""A batch that cancels executions needs the starter's role besides the operator's, each time."""

from __future__ import annotations

from typing import Any

import pytest
from batching import until_batch
from issuing import Connect, TokenFile

import zart
from zart import errors

REFUSAL = ("role 'starter' is needed to have executions cancelled", {"role": "starter"})


@pytest.fixture
def tokens(tokens: TokenFile) -> TokenFile:
    """The usual ones, and one of somebody who has both roles."""
    tokens.add("both", "operator", "starter")
    return tokens


async def two_executions(connect: Connect) -> list[str]:
    """Start two executions of which nothing is leased; gives their ids."""
    names = ["x", "y"]
    for name in names:
        await connect("starter").start("t", execution_id=name, steps=[zart.StepSpec("a")])
    return names


@pytest.mark.parametrize("validate_only", [False, True], ids=["done", "planned"])
async def test_an_operator_alone_creates_none(connect: Connect, *, validate_only: bool) -> None:
    names = await two_executions(connect)
    with pytest.raises(errors.RoleRequired) as refused:
        await connect("operator").create_batch(
            zart.CancelExecution(), execution_ids=names, validate_only=validate_only
        )

    assert (refused.value.message, dict(refused.value.metadata)) == REFUSAL
    viewer = connect("viewer")
    assert await viewer.list_batches() == []
    assert {(await viewer.get_execution(name)).run.status.value for name in names} == {"SCHEDULED"}


async def test_that_is_told_before_what_else_is_wrong(connect: Connect) -> None:
    for caller, told in (("operator", errors.RoleRequired), ("both", errors.InvalidField)):
        with pytest.raises(told):
            await connect(caller).create_batch(zart.CancelExecution(), execution_ids=[""])


async def test_it_is_for_this_operation_only_and_an_admin_may_do_everything(
    connect: Connect,
) -> None:
    names = await two_executions(connect)
    for caller, operation in (
        ("operator", zart.Restart(if_running="supersede")),
        ("both", zart.CancelExecution()),
        ("admin", zart.CancelExecution()),
    ):
        planned = await connect(caller).create_batch(
            operation, execution_ids=names, validate_only=True
        )
        assert planned.planned, caller


async def test_who_has_one_go_on_is_asked_as_who_created_it(connect: Connect) -> None:
    names = await two_executions(connect)
    both, operator, viewer = connect("both"), connect("operator"), connect("viewer")
    created = await both.create_batch(zart.CancelExecution(), execution_ids=names, canary=1)
    await until_batch(viewer, created.batch_id, "PAUSED")
    with pytest.raises(errors.RoleRequired) as refused:
        await operator.resume_batch(created.batch_id)

    assert (refused.value.message, dict(refused.value.metadata)) == REFUSAL
    batch = await viewer.get_batch(created.batch_id)
    assert (batch.status, batch.counts.done, batch.counts.pending) == ("PAUSED", 1, 1)

    await both.resume_batch(created.batch_id)
    batch = await until_batch(viewer, created.batch_id, "COMPLETED")
    assert (batch.counts.done, batch.counts.refused) == (2, 0)
    assert {(await viewer.get_execution(name)).run.status.value for name in names} == {"CANCELLED"}


@pytest.mark.parametrize(
    "loosened",
    [
        {"rate_per_second": 0.2},
        {"rate_per_second": None},
        {"max_failures": 3},
        {"max_failures": None},
    ],
    ids=str,
)
async def test_who_loosens_one_is_asked_as_who_created_it(
    connect: Connect, loosened: dict[str, Any]
) -> None:
    """Slower, or after fewer failures, it may be had by any operator."""
    names = await two_executions(connect)
    both, operator = connect("both"), connect("operator")
    created = await both.create_batch(
        zart.CancelExecution(), execution_ids=names, rate_per_second=0.1, max_failures=2
    )
    batch_id = created.batch_id
    with pytest.raises(errors.RoleRequired) as refused:
        await operator.update_batch(batch_id, **loosened)
    assert (refused.value.message, dict(refused.value.metadata)) == REFUSAL

    await operator.update_batch(batch_id, max_failures=2)
    await operator.update_batch(batch_id, rate_per_second=0.05, max_failures=1)
    await both.update_batch(batch_id, **loosened)


async def test_others_are_loosened_by_an_operator(connect: Connect) -> None:
    names = await two_executions(connect)
    operator = connect("operator")
    created = await operator.create_batch(
        zart.Restart(if_running="supersede"), execution_ids=names, rate_per_second=0.1
    )
    await operator.update_batch(created.batch_id, rate_per_second=None)
