"""A watch whose server goes away: it is said once a break, and at the end that nobody can know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from client.scripted import EXECUTION, RULE, refusal
from client.test_release_bar import Following
from google.protobuf.message import Message
from google.rpc import code_pb2
from grpc_status import rpc_status
from terminal import Printed, zart_command
from waiting import GIVE_UP, for_ever

import zart
from zart import channel
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import batch_pb2, filter_pb2
from zart.v1 import batch_service_pb2 as batch
from zart.v1 import execution_pb2 as states
from zart.v1 import execution_service_pb2 as execution
from zart.v1 import pause_rule_pb2 as rules
from zart.waiting import last_of

SAID = "no answer from the server, trying again"
SOON = 6.0  # seconds: a first message is there by then, also where the machine stands still
NOBODY = grpc.StatusCode.UNAVAILABLE  # as where no server is
STOPPING = refusal(code_pb2.UNAVAILABLE, "SHUTTING_DOWN", "stopping")
SILENCE = "silence"  # of a server that has taken a call
BUSY = states.Run(run_id="x:run:0", status=states.RUN_STATUS_RUNNING)
DONE = states.Run(run_id="x:run:0", status=states.RUN_STATUS_COMPLETED, result_json="7")
STARTED = execution.RunExecutionResponse(
    started=execution.StartExecutionResponse(execution=EXECUTION)
)
AT_WORK = execution.WatchExecutionResponse(execution=EXECUTION, run=BUSY)
OVER = execution.WatchExecutionResponse(execution=EXECUTION, run=DONE)
PAUSED = admin.PauseResponse(rule=RULE, running_steps=3)
IN_FLIGHT = admin.WatchPauseRuleResponse(rule=RULE)

Answers = list[Message | Any]  # messages, and what a call ends with in place of an OK


class Breaking(grpc.GenericRpcHandler):
    """Answers the calls of each method with a list each, in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answers]] = {}
        self.address = ""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        calls = self.answers[details.method.rpartition("/")[2]]
        answers = calls.pop(0) if len(calls) > 1 else calls[0]
        if "/Watch" in details.method or details.method.endswith("/RunExecution"):
            return grpc.unary_stream_rpc_method_handler(self._stream(answers))

        async def call(_request: bytes, _context: Any) -> bytes:
            (answer,) = answers
            return bytes(answer.SerializeToString())

        return grpc.unary_unary_rpc_method_handler(call)

    @staticmethod
    def _stream(answers: Answers) -> Any:
        async def stream(_request: bytes, context: Any) -> AsyncIterator[bytes]:
            for answer in answers:
                if answer is SILENCE:
                    await for_ever()
                elif answer is NOBODY:
                    await context.abort(NOBODY, "nobody")
                elif answer is STOPPING:
                    status = rpc_status.to_status(answer)
                    await context.abort(status.code, status.details, status.trailing_metadata)
                else:
                    yield answer.SerializeToString()

        return stream


@asynccontextmanager
async def serving_breaking() -> AsyncIterator[Breaking]:
    """Run a server whose watches break."""
    handler, server = Breaking(), grpc.aio.server()
    server.add_generic_rpc_handlers([handler])
    handler.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield handler
    await server.stop(None)


@pytest.fixture
async def breaking() -> AsyncIterator[Breaking]:
    """One such server."""
    async with serving_breaking() as handler:
        yield handler


async def command(monkeypatch: pytest.MonkeyPatch, server: Breaking, line: str) -> Printed:
    """Run a command, in a thread."""
    words = ["--address", server.address, *line.split()]
    return await asyncio.to_thread(zart_command, monkeypatch, words)


@pytest.mark.parametrize("broken", [NOBODY, STOPPING])
async def test_who_waited_for_a_server_that_went_away_is_told_so(broken: Any) -> None:
    """All at once, each at a server of its own: together they take no longer than one."""
    kind = zart.Unreachable if broken is NOBODY else zart.errors.ShuttingDown
    waits: list[Callable[[zart.Client, zart.SyncClient], Awaitable[object]]] = [
        lambda client, _: client.handle("x").result(timeout=SOON),
        lambda client, _: client.wait_drained("pr-abcd1234", timeout=SOON),
        lambda client, _: last_of(client.watch_execution("x", timeout=SOON)),
        lambda client, _: last_of(client.watch_pause_rule("pr-abcd1234", timeout=SOON)),
        lambda client, _: client.run("t", timeout=SOON),
        lambda _, sync: asyncio.to_thread(sync.handle("x").result, timeout=SOON),
        lambda _, sync: asyncio.to_thread(sync.wait_drained, "pr-abcd1234", timeout=SOON),
        lambda _, sync: asyncio.to_thread(sync.run, "t", timeout=SOON),
    ]

    async def is_told(wait: Callable[[zart.Client, zart.SyncClient], Awaitable[object]]) -> None:
        async with serving_breaking() as server, zart.connect(server.address) as client:
            server.answers = {
                "WatchExecution": [[AT_WORK, broken], [broken]],
                "WatchPauseRule": [[IN_FLIGHT, broken], [broken]],
                "RunExecution": [[STARTED, broken]],
            }
            with zart.connect_sync(server.address) as sync, pytest.raises(kind):
                await wait(client, sync)

    async with asyncio.TaskGroup() as group:
        for wait in waits:
            group.create_task(is_told(wait))


async def test_a_pause_that_could_not_be_seen_to_drain_ends_with_3(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "pause --task-name order --wait --wait-for 4s --request-id once"
    for broken in (NOBODY, STOPPING):
        breaking.answers = {
            "Pause": [[PAUSED]], "WatchPauseRule": [[IN_FLIGHT, broken], [broken]]
        }  # fmt: skip
        printed = await command(monkeypatch, breaking, line)
        assert printed.code == 3, printed
        assert printed.err.count(SAID) == 1
        assert "is not drained after" not in printed.err
        assert "pr-abcd1234 was made; whether it is drained is not known" in printed.err
        assert "it was done; this goes on from there" in printed.err
    breaking.answers["WatchPauseRule"] = [[IN_FLIGHT, STOPPING], [STOPPING]]
    printed = await command(monkeypatch, breaking, f"{line} -o json")
    assert printed.code == 3
    assert json.loads(printed.err.partition("\nit was done")[0])["message"] == "stopping"


async def test_a_pause_whose_watch_nobody_answers_ends_with_3(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking.answers = {"Pause": [[PAUSED]], "WatchPauseRule": [[SILENCE]]}
    line = "pause --task-name order --request-id once --wait-for"
    printed = await command(monkeypatch, breaking, f"{line} 1s")
    assert printed.code == 3, printed
    assert "is not drained after" not in printed.err
    assert "pr-abcd1234 was made; whether it is drained is not known" in printed.err
    assert "no answer to the watch within 1 s" in printed.err
    breaking.answers["WatchPauseRule"] = [[IN_FLIGHT, SILENCE]]
    printed = await command(monkeypatch, breaking, f"{line} 4s")
    assert (printed.code, "is not drained after" in printed.err) == (5, True), printed


@pytest.mark.parametrize(
    ("line", "breaks"), [("watch x", 2), ("wait x", 2), ("start t --wait", 2), ("wait x -o json", 0)]
)  # fmt: skip
async def test_each_break_is_said_once(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch, line: str, breaks: int
) -> None:
    watches: list[Answers] = [[AT_WORK, NOBODY], [NOBODY], [AT_WORK, STOPPING], [STOPPING], [OVER]]
    breaking.answers = {
        "GetExecution": [[execution.GetExecutionResponse(execution=EXECUTION, run=DONE)]],
        "WatchExecution": watches[1:] if "start" in line else watches,
        "RunExecution": [[STARTED, NOBODY]],
    }  # fmt: skip
    printed = await command(monkeypatch, breaking, line)
    assert (printed.code, printed.err.count(SAID)) == (0, breaks), printed


async def test_what_was_never_answered_is_said_too(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking.answers = {"WatchExecution": [[STOPPING]]}
    # Else gRPC would repeat a call for some two seconds before it counts as one that failed.
    once = [*channel._OPTIONS, ("grpc.enable_retries", 0)]
    monkeypatch.setattr(channel, "_OPTIONS", once)
    printed = await command(monkeypatch, breaking, "wait x --timeout 4")
    assert (printed.code, printed.err.count(SAID)) == (3, 1)
    assert "stopping [SHUTTING_DOWN]" in printed.err


async def test_a_batch_that_is_followed_says_it_too(
    breaking: Breaking, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = batch_pb2.Batch(
        batch_id="ba-7k2m9x4q",
        status=batch_pb2.BATCH_STATUS_RUNNING,
        operation=batch_pb2.BatchOperation(restart=batch_pb2.BatchRestart()),
        selection=filter_pb2.ExecutionSelection(everything=True),
        counts=batch_pb2.BatchCounts(selected=3, pending=3),
    )
    over = batch_pb2.Batch()
    over.CopyFrom(made)
    over.status = batch_pb2.BATCH_STATUS_COMPLETED
    breaking.answers = {
        "CreateBatch": [[batch.CreateBatchResponse(batch=made)]],
        "WatchBatch": [
            [batch.WatchBatchResponse(batch=made), NOBODY],
            [NOBODY],
            [batch.WatchBatchResponse(batch=over)],
        ],
    }
    printed = await command(monkeypatch, breaking, "batch restart --everything --yes")
    assert (printed.code, printed.err) == (0, f"{SAID}\n"), printed


async def test_at_a_terminal_it_is_said_above_the_bar(breaking: Breaking) -> None:
    releasing = rules.PauseRule()
    releasing.CopyFrom(RULE)
    releasing.status = rules.PAUSE_RULE_STATUS_RELEASING
    releasing.release.rate_per_second = 1
    ended = rules.PauseRule()
    ended.CopyFrom(RULE)
    ended.status = rules.PAUSE_RULE_STATUS_RESUMED
    breaking.answers = {
        "Resume": [[admin.ResumeResponse(rules=[releasing], released_steps=9)]],
        "WatchPauseRule": [
            [admin.WatchPauseRuleResponse(rule=releasing), NOBODY],
            [NOBODY],
            [admin.WatchPauseRuleResponse(rule=ended)],
        ],
    }
    words = ["resume", "--rule-id", RULE.rule_id, "--rate", "1/s", "--yes"]
    following = Following(breaking.address, *words)
    code, seen = await asyncio.wait_for(following.ends(), GIVE_UP)
    assert code == 0, seen
    assert seen.count(SAID) == 1
    assert f"{RULE.rule_id} is RESUMED" in seen
