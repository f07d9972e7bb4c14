"""DispatchTasks: the calls of a dispatcher in one stream, and what callers may do to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from doubts import STOP
from issuing import TokenFile
from rig import CHAIN, Rig, specs, until_polled
from streaming import Stream, completed, lease_request, waiting
from waiting import eventually, until

import zart
from zart.testing.server import ServerUnderTest, serving
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

Code = grpc.StatusCode
# A window that does not grow, so that what nobody reads does not get far.
NARROW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
BIG = "x" * 1_000_000


async def queued(rig: Rig) -> int:
    """Count the tasks that anybody may lease."""
    found: int = await rig.db.fetchval("SELECT count(*) FROM zart.queue")
    return found


async def test_requests_are_answered_as_the_calls_of_their_kinds(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    stream = Stream(rig.client.channel)
    (first,) = await stream.lease()
    assert (first.execution_id, first.step_name) == ("x", "a")
    refs = [pb.LeaseRef(task_id=first.task_id, lease_token=first.lease_token)]
    extended = await stream.ask(extend=pb.ExtendLeasesRequest(dispatcher_id="d", leases=refs))
    assert extended.extended.results[0].extended
    wish = pb.LeaseNext(task_names=["t"], max_tasks=1)
    reported = await stream.report(completed(first), lease_next=wish)
    assert [result.status for result in reported.results] == [pb.REPORT_STATUS_RECORDED]
    (second,) = reported.tasks
    assert second.step_name == "b"
    again = await stream.report(completed(first))
    assert again.results[0].status == pb.REPORT_STATUS_ALREADY_RECORDED
    waits = await stream.send(lease=lease_request(wait=waiting(60)))
    await stream.report(completed(second))
    (third,) = (await stream.read(waits)).leased.tasks
    await stream.report(completed(third))
    assert await stream.end() is Code.OK
    assert await rig.run_status() == "COMPLETED"


async def test_an_error_is_of_one_request_and_the_stream_goes_on(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    (task,) = await rig.lease()
    stream = Stream(rig.client.channel)
    for wrong in (
        {"lease": lease_request(max_tasks=0)},
        {"lease": pb.LeaseTasksRequest()},
        {"report": pb.ReportTasksRequest()},
        {"extend": pb.ExtendLeasesRequest()},
        {},
    ):
        answer = await stream.ask(**wrong)
        assert answer.WhichOneof("answer") == "error"
        assert answer.error.code == Code.INVALID_ARGUMENT.value[0]
    outcome = pb.TaskOutcome(
        task_id=task.task_id,
        lease_token=task.lease_token + 1,
        completed=pb.TaskCompleted(result_json="1"),
    )
    unsaid = pb.TaskOutcome(task_id=task.task_id, lease_token=task.lease_token)
    results = (await stream.report(outcome, unsaid)).results
    assert [result.status for result in results] == [
        pb.REPORT_STATUS_LEASE_LOST,
        pb.REPORT_STATUS_REJECTED,
    ]
    assert await rig.complete(task) == ["RECORDED"]
    assert await stream.end() is Code.OK


async def test_a_ping_is_answered_at_once(rig: Rig) -> None:
    stream = Stream(rig.client.channel)
    waits = await stream.send(lease=lease_request(wait=waiting(60)))
    assert (await stream.ask(ping=pb.StreamPing())).WhichOneof("answer") == "pong"
    assert waits not in stream.told
    assert await stream.end() is Code.OK


async def test_what_is_no_message_ends_the_stream(rig: Rig) -> None:
    call: Any = rig.client.channel.stream_stream("/zart.v1.DispatchService/DispatchTasks")()
    await call.write(b"\xff\xff")
    await until(call.done)
    assert await call.code() is Code.INVALID_ARGUMENT


async def test_half_closing_ends_what_waits_and_nothing_else(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    stream = Stream(rig.client.channel)
    waits = await stream.send(lease=lease_request(wait=waiting(60)))
    await until_polled(zart_server)
    assert await stream.end() is Code.OK
    assert not stream.told[waits].leased.tasks


async def test_eight_requests_are_under_way_and_no_more(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    stream = Stream(rig.client.channel)
    for _ in range(8):
        await stream.send(lease=lease_request(wait=waiting(60)))
    extend = await stream.send(
        extend=pb.ExtendLeasesRequest(
            dispatcher_id="d", leases=[pb.LeaseRef(task_id="1-1-1", lease_token=1)]
        )
    )
    await until_polled(zart_server, 8)
    await rig.start("x", CHAIN)  # one of those that wait is answered, and makes room
    assert (await stream.read(extend)).WhichOneof("answer") == "extended"
    stream.call.cancel()


@pytest.fixture
async def narrow(zart_server: ServerUnderTest) -> AsyncIterator[Stream]:
    """A stream through which little goes that is not read."""
    async with grpc.aio.insecure_channel(zart_server.address, options=NARROW) as channel:
        yield Stream(channel)


async def test_leases_that_are_not_sent_are_given_back(rig: Rig, narrow: Stream) -> None:
    await rig.start("x", {f"s{n}": () for n in range(12)}, payload=BIG)
    stream = narrow
    for _ in range(3):  # nobody reads, so that not all fits on the way
        await stream.send(lease=lease_request(max_tasks=4, lease_duration=waiting(3600)))

    async def all_leased() -> bool:
        return await queued(rig) == 0

    await eventually(all_leased)
    stream.call.cancel()

    async def some_are_back() -> bool:
        return await queued(rig) >= 4

    await eventually(some_are_back)  # long before their leases end
    for task in await rig.lease():
        step = await rig.client.get_step("x", task.step_name)
        assert [attempt.status.value for attempt in step.attempts] == ["RELEASED", "RUNNING"]


async def test_a_lease_that_may_have_been_sent_is_left_of_a_step_that_must_not_run_twice(
    rig: Rig, narrow: Stream
) -> None:
    await rig.start("x", {f"s{n}": () for n in range(12)}, payload=BIG, **STOP)

    async def are_left(count: int) -> None:
        async def is_so() -> bool:
            return await queued(rig) == count

        await eventually(is_so)

    request = lease_request(max_tasks=4, lease_duration=waiting(3600))
    await narrow.send(lease=request)
    await are_left(8)
    await narrow.send(lease=request)  # while the first answer is being sent
    await narrow.send(lease=request)
    await are_left(0)
    narrow.call.cancel()
    await are_left(8)
    steps = await rig.db.fetch("SELECT status, count(*) FROM zart_steps GROUP BY status")
    assert {row["status"]: row["count"] for row in steps} == {"scheduled": 8, "running": 4}


async def test_who_does_not_read_is_read_no_further_and_ended(rig: Rig, narrow: Stream) -> None:
    await rig.start("x", {f"s{n}": () for n in range(15)}, payload=BIG)
    stream = narrow
    for _ in range(3):  # more than there is room for on the way
        await stream.send(lease=lease_request(max_tasks=5, lease_duration=waiting(3600)))

    async def all_leased() -> bool:
        return await queued(rig) == 0

    async def some_are_back() -> bool:
        return await queued(rig) >= 5

    await eventually(all_leased)
    await eventually(some_are_back)
    assert await stream.code() is not Code.OK


async def test_each_request_is_judged_by_who_asks_now(
    tokens: TokenFile, zart_database: str
) -> None:
    token = tokens.add("limited", "dispatcher", tasks=["mine"])
    credentials = zart.Credentials(token=token)
    with serving(zart_database, auth_tokens=tokens.path) as server:
        async with zart.connect(server.address, credentials=credentials) as client:
            stream = Stream(client.channel)
            first = await stream.ask(lease=lease_request("mine"))
            assert first.WhichOneof("answer") == "leased"
            other = await stream.ask(lease=lease_request("others"))
            assert other.error.code == Code.PERMISSION_DENIED.value[0]
            waits = await stream.send(lease=lease_request("mine", wait=waiting(60)))
            tokens.remove("limited")

            async def is_refused() -> bool:
                try:
                    await stream.ask(lease=lease_request("mine"))
                except grpc.aio.AioRpcError as error:
                    return error.code() is Code.UNAUTHENTICATED
                return False

            await eventually(is_refused)
            assert waits not in stream.told


async def test_a_report_within_a_stream_asks_for_no_task_that_its_dispatcher_may_not_have(
    tokens: TokenFile, zart_database: str
) -> None:
    limited = zart.Credentials(token=tokens.add("limited", "dispatcher", tasks=["mine"]))
    starter = zart.Credentials(token=tokens.add("beginner", "starter"))
    with serving(zart_database, auth_tokens=tokens.path) as server:
        async with (
            zart.connect(server.address, credentials=starter) as starting,
            zart.connect(server.address, credentials=limited) as client,
        ):
            await starting.start("mine", execution_id="x", steps=specs(CHAIN))
            stream = Stream(client.channel)
            (task,) = await stream.lease("mine")
            wish = pb.LeaseNext(task_names=["mine", "others"], max_tasks=1)
            asked = pb.ReportTasksRequest(
                dispatcher_id="d", outcomes=[completed(task)], lease_next=wish
            )
            refused = await stream.ask(report=asked)
            assert refused.error.code == Code.PERMISSION_DENIED.value[0]
            # Nothing was recorded by then, and nothing leased.
            wish = pb.LeaseNext(task_names=["mine"], max_tasks=1)
            reported = await stream.report(completed(task), lease_next=wish)
            assert [result.status for result in reported.results] == [pb.REPORT_STATUS_RECORDED]
            assert [following.step_name for following in reported.tasks] == ["b"]
            assert await stream.end() is Code.OK


async def test_an_old_stream_and_one_of_a_server_that_stops_are_told_to_end(
    rig: Rig, zart_database: str
) -> None:
    await rig.start("x", {"a": (), "b": ()})
    with serving(zart_database, stream_age=0.3) as server:
        async with zart.connect(server.address) as client:
            stub = DispatchServiceStub(client.channel)
            (task, _) = (await stub.LeaseTasks(lease_request())).tasks
            stream = Stream(client.channel)
            waits = await stream.send(lease=lease_request(wait=waiting(60)))
            assert (await stream.read(0)).WhichOneof("answer") == "ending"
            assert not (await stream.read(waits)).leased.tasks
            result = (await stream.report(completed(task))).results[0]
            assert result.status == pb.REPORT_STATUS_RECORDED
            assert await stream.end() is Code.OK
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client:
            stream = Stream(client.channel)
            waits = await stream.send(lease=lease_request("nosuch", wait=waiting(60)))
            await until_polled(server)
            server.loop.call_soon_threadsafe(server.running.runtime.drain)
            assert (await stream.read(0)).WhichOneof("answer") == "ending"
            assert await stream.end() is Code.OK
            assert waits in stream.told
            late = Stream(client.channel)
            assert await late.code() is Code.UNAVAILABLE
