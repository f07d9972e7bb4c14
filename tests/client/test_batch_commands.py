"""The commands of batches: what they tell, ask, refuse, and exit with."""

from __future__ import annotations

import asyncio
import shlex

import pytest
from batching import dead_steps, until_batch
from client.each_command import EACH
from client.scripted import Script
from rig import Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import batch_pb2, batch_service_pb2, filter_pb2

MAKING = [
    name for name, command in EACH.items() if "no_wait" in {each.name for each in command.params}
]


async def run(server: ServerUnderTest, *words: str) -> int:
    """Run a command against the server, and return its exit code."""
    return await asyncio.to_thread(main, ["--address", server.address, *words])


async def test_a_plan_is_shown_and_done(rig: Rig, zart_server: ServerUnderTest) -> None:
    await dead_steps(rig.client, 3)
    which = ["--task-name", "t", "--step", "a"]
    assert await run(zart_server, "batch", "retry-step", *which, "--dry-run") == 0
    assert await rig.client.list_batches() == []
    assert await run(zart_server, "batch", "retry-step", *which) == 2  # nobody is asked
    assert await run(zart_server, "batch", "retry-step", *which, "--yes") == 0
    [batch] = await rig.client.list_batches()
    assert (batch.status, batch.counts.done) == ("COMPLETED", 3)
    assert await run(zart_server, "batch", "list") == 0
    assert await run(zart_server, "batch", "show", batch.batch_id) == 0
    assert await run(zart_server, "batch", "items", batch.batch_id, "--status", "done") == 0
    assert await run(zart_server, "batch", "cancel", batch.batch_id) == 1  # it is over


async def test_what_was_refused_ends_with_4(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x", {"a": ()})
    assert await run(zart_server, "batch", "restart", "--everything", "--yes") == 4
    assert await run(zart_server, "batch", "restart", "--yes") == 2  # of which?
    assert await run(zart_server, "batch", "retry-step", "--everything", "--yes") == 1  # nothing


async def test_what_is_named_and_has_no_dead_step_is_told(
    rig: Rig, zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    await dead_steps(rig.client, 1)
    await rig.start("alive", {"a": ()})
    made = ["batch", "retry-step", "--execution-id", "alive", "--execution-id", "x-0"]
    assert await run(zart_server, *made, "--dry-run") == 0
    assert "1 would be refused for STEP_NOT_DEAD: alive" in capsys.readouterr().out
    assert await run(zart_server, *made, "--yes") == 4
    [batch] = await rig.client.list_batches()
    assert await run(zart_server, "batch", "items", batch.batch_id, "--status", "refused") == 0
    told = capsys.readouterr().out
    assert "STEP_NOT_DEAD: no step of run 'alive:run:0' is DEAD: it is SCHEDULED" in told


async def test_a_canary_is_resumed(rig: Rig, zart_server: ServerUnderTest) -> None:
    await dead_steps(rig.client, 3)
    made = ["batch", "retry-step", "--everything", "--canary", "1", "--yes"]
    assert await run(zart_server, *made) == 0
    [batch] = await rig.client.list_batches()
    assert batch.status == "PAUSED"
    assert await run(zart_server, "batch", "update", batch.batch_id, "--rate", "100/s") == 0
    assert await run(zart_server, "batch", "resume", batch.batch_id) == 0
    await until_batch(rig.client, batch.batch_id, "COMPLETED")


@pytest.mark.parametrize("name", MAKING)
async def test_the_example_in_its_help_is_of_something_to_do(
    rig: Rig, zart_server: ServerUnderTest, name: str
) -> None:
    """Where an execution died of all its steps, and of one at work a rule holds a step."""
    await rig.start("dead", {"charge-card": (), "mail": ()}, task="order")
    for leased in await rig.lease(task="order"):
        await rig.fail(leased)
    rule = await rig.client.pause(execution_id="held", step_pattern="mail")
    await rig.start("held", {"charge-card": (), "mail": ()}, task="order")
    assert len(await rig.lease(task="order")) == 1
    example = EACH[name].epilog.removeprefix("Example: zart ")
    words = shlex.split(example.replace("pr-7k2m9x4q", rule.rule_id))
    assert await run(zart_server, *words, "--yes") == 0
    [batch] = await rig.client.list_batches()
    assert (batch.counts.done, batch.counts.refused) == (1, 0)


async def test_what_is_refused_is_told_by_its_option(
    zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {
        "retry-step --step a --step-status paused": "--step-status: is to be DEAD",
        "retry-step --error-group none": "--error-group: is no",
        "retry-step --task-name t --max-attempts 1000001": "--max-attempts: is 1000001",
        "fail-step --step a --message ' '": "--message: is empty",
        "complete-step --task-name t --result 1": "the filter: has no condition on steps, such as --step",
        "restart --started-by ann": "--created-after: is needed",
        "rerun --status failed --rate 200000": "--rate: is 200000",
    }
    for line, told in refused.items():
        assert await run(zart_server, "batch", *shlex.split(line), "--yes") == 1
        assert f"zart: {told}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (batch_pb2.BATCH_PAUSE_CAUSE_MAX_FAILURES, 4),
        (batch_pb2.BATCH_PAUSE_CAUSE_CANARY, 0),
        (batch_pb2.BATCH_PAUSE_CAUSE_OPERATOR, 4),
    ],
)
def test_a_batch_that_is_paused_but_by_its_canary_ends_with_4(
    cause: batch_pb2.BatchPauseCause.ValueType, code: int
) -> None:
    """A watch may tell that it is paused before it tells which steps are dead."""
    paused = batch_pb2.Batch(
        batch_id="ba-7k2m9x4q",
        status=batch_pb2.BATCH_STATUS_PAUSED,
        pause_cause=cause,
        operation=batch_pb2.BatchOperation(retry_step=batch_pb2.BatchRetryStep()),
        selection=filter_pb2.ExecutionSelection(everything=True),
        counts=batch_pb2.BatchCounts(selected=3, pending=3),
    )
    script = Script(
        ("CreateBatch", batch_service_pb2.CreateBatchResponse(batch=paused)),
        ("WatchBatch", [batch_service_pb2.WatchBatchResponse(batch=paused)]),
    )
    line = "batch retry-step --everything --max-failures 5 --yes"
    assert main(line.split(), script.open) == code
