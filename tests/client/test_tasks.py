"""Tasks, steps, and zart.testing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, assert_type

import pytest
from waiting import block_until, for_ever

import zart
from zart.decoding import decode
from zart.models import RunStatus, TaskDefinition
from zart.v1 import task_definition_pb2


def order() -> zart.Task:
    """A task as in the contract."""
    task = zart.Task("order")

    @task.step(retry=zart.Retry(max_attempts=3, initial_backoff=1.0))
    async def lookup_user(ctx: zart.StepContext) -> dict[str, str]:
        """Find the user."""
        return {"id": str(ctx.payload["user"])}

    @task.step(depends_on=[lookup_user], timeout=30)
    def charge_card(ctx: zart.StepContext) -> str:
        user = ctx.result_of(lookup_user)
        assert_type(user, dict[str, str])
        return f"charged {user['id']}"

    @task.step(depends_on=["charge-card"], input={"template": "thanks"})
    async def send_email(ctx: zart.StepContext) -> list[str]:
        receipt = ctx.result_of(charge_card)
        assert_type(receipt, str)
        assert_type(ctx.result_of("charge-card"), Any)
        return [ctx.input["template"], receipt]

    return task


def test_names_dependencies_and_defaults() -> None:
    specs = {s.step_name: s for s in order().specs}
    assert list(specs) == ["lookup-user", "charge-card", "send-email"]
    assert specs["charge-card"].depends_on == ("lookup-user",)
    assert specs["charge-card"].timeout == 30
    assert specs["send-email"].retry == zart.Retry(3, 1.0, 2.0, 60.0)


def test_sequential_steps_follow_the_one_before() -> None:
    task = zart.Task("t", sequential=True)
    for name in ("a", "b", "c"):
        task.step(name=name)(lambda _: None)
    task.step(name="d", depends_on=["a"])(lambda _: None)
    task.step(name="e", depends_on=[])(lambda _: None)
    assert [s.depends_on for s in task.specs] == [(), ("a",), ("b",), ("a",), ()]


def test_mistakes_are_found_when_the_step_is_declared() -> None:
    task = zart.Task("t")
    task.step(name="a")(lambda _: None)
    with pytest.raises(ValueError, match="two steps 'a'"):
        task.step(name="a")(lambda _: None)
    with pytest.raises(ValueError, match="depends on 'z', which task 't' has not declared"):
        task.step(name="b", depends_on=["z"])(lambda _: None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"max_attempts": 0}, "max_attempts is 0, must be at least 1"),
        ({"max_attempts": -1}, "max_attempts is -1"),
        ({"backoff_multiplier": 0.0}, "backoff_multiplier is 0.0, must be at least 1"),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier is 0.5"),
        ({"backoff_multiplier": float("nan")}, "backoff_multiplier is nan"),
    ],
)
def test_what_a_server_takes_as_not_given_or_refuses_is_no_retry(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        zart.Retry(**given)


def test_a_retry_that_is_not_set_is_read_as_what_it_means() -> None:
    policy = task_definition_pb2.RetryPolicy()
    policy.initial_backoff.FromSeconds(1)
    policy.max_backoff.FromSeconds(60)
    definition = task_definition_pb2.TaskDefinition()
    definition.steps.add(step_name="a", retry_policy=policy)
    (read,) = decode(TaskDefinition, definition).steps
    assert (read.retry.max_attempts, read.retry.backoff_multiplier) == (3, 2.0)


async def test_steps_stay_callable() -> None:
    task = order()
    ctx = zart.testing.context(payload={"user": 7})
    assert await task.steps["lookup-user"](ctx) == {"id": "7"}
    ctx = zart.testing.context(results={task.steps["lookup-user"]: {"id": "9"}})
    assert task.steps["charge-card"](ctx) == "charged 9"
    assert task.steps["lookup-user"].__doc__ == "Find the user."


def test_a_context() -> None:
    ctx = zart.testing.context(
        step_name="s", execution_id="x", run_number=2, input=5, attempt=2, results={"a": None}
    )
    assert ctx.idempotency_key == "x:run:2/s"
    assert (ctx.run_id, ctx.input, ctx.attempt, ctx.cancelled) == ("x:run:2", 5, 2, False)
    assert ctx.deadline > datetime.now(UTC)
    assert ctx.result_of("a") is None
    with pytest.raises(LookupError, match="does not depend on 'b'"):
        ctx.result_of("b")
    assert ctx.logger.extra is not None
    assert ctx.logger.extra["step_name"] == "s"


def test_a_line_of_a_step_has_its_own_fields_and_those_of_the_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ctx = zart.testing.context(step_name="s", execution_id="x", attempt=2)
    given: dict[str, object] = {"amount": 20, "attempt": 7, "name": "ann", "args": 1}
    ctx.logger.warning("charged", extra=given)
    ctx.logger.warning("and nothing besides")
    own, plain = (vars(record) for record in caplog.records)
    names = ("execution_id", "step_name", "attempt", "amount", "name_", "args_")
    assert [own.get(name) for name in names] == ["x", "s", 2, 20, "ann", 1]
    assert [plain.get(name) for name in names] == ["x", "s", 2, None, None, None]


async def test_a_whole_graph_in_process() -> None:
    assert await zart.testing.run(order(), {"user": 7}) == ["thanks", "charged 7"]
    stubbed = await zart.testing.run(order(), {"user": 7}, results={"charge-card": "stub"})
    assert stubbed == ["thanks", "stub"]


async def test_in_process_attempts_are_repeated_and_failures_told() -> None:
    task = zart.Task("t")
    calls: list[int] = []

    @task.step(retry=zart.Retry(max_attempts=3, initial_backoff=60))
    def flaky(ctx: zart.StepContext) -> int:
        calls.append(ctx.attempt)
        if ctx.attempt < 3:
            raise RuntimeError("not yet")
        return ctx.attempt

    assert await zart.testing.run(task) == 3
    assert calls == [1, 2, 3]

    @task.step(depends_on=[flaky])
    async def doomed(ctx: zart.StepContext) -> None:
        raise zart.StepFailed("never", retryable=False)

    with pytest.raises(zart.RunFailed) as failed:
        await zart.testing.run(task)
    assert (failed.value.run.status, failed.value.run.error) == (RunStatus.FAILED, "doomed: never")


async def test_in_process_results_go_through_json_and_time_limits_hold() -> None:
    task = zart.Task("t")

    @task.step()
    async def pair(ctx: zart.StepContext) -> tuple[int, int]:
        return (1, 2)

    assert await zart.testing.run(task) == [1, 2]

    bad = zart.Task("bad")

    @bad.step()
    async def not_json(ctx: zart.StepContext) -> object:
        return {1, 2}

    with pytest.raises(zart.RunFailed, match="a set, is not JSON"):
        await zart.testing.run(bad)

    class Failing(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("no items")

    worse = zart.Task("worse")
    calls = []

    @worse.step(retry=zart.Retry(max_attempts=3, initial_backoff=0.01))
    async def fails(ctx: zart.StepContext) -> object:
        calls.append(ctx.attempt)
        return Failing(a=1)

    with pytest.raises(zart.RunFailed, match="a Failing, is not JSON: no items"):
        await zart.testing.run(worse)
    assert calls == [1]

    slow = zart.Task("slow")

    @slow.step(timeout=0.05, retry=zart.Retry(max_attempts=1))
    async def sleeper(ctx: zart.StepContext) -> None:
        await for_ever()

    @slow.step(timeout=0.05, retry=zart.Retry(max_attempts=1))
    def blocker(ctx: zart.StepContext) -> None:
        block_until(lambda: ctx.cancelled)

    with pytest.raises(zart.RunFailed, match=r"ran longer than 0\.05 s"):
        await zart.testing.run(slow)


def test_what_zart_exports_is_there() -> None:
    for name in zart.__all__:
        assert getattr(zart, name) is not None
    assert sorted(zart.__all__) == zart.__all__
    with pytest.raises(AttributeError):
        _ = zart.nothing


def test_importing_zart_loads_nothing_heavy() -> None:
    import subprocess
    import sys

    code = "import sys, zart; sys.exit(any(m in sys.modules for m in ('grpc', 'zart_server')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
