"""What no clock can hold is refused by its name: times before the first year, spans without an end."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest
from client.scripted import Run
from rig import Rig

import zart
from zart.calls import admin, breaker, dispatch, execution, filtered, retention
from zart.calls import audit as calls
from zart.testing.server import ServerUnderTest
from zart.v1 import audit_service_pb2 as audit

EAST, WEST = timezone(timedelta(hours=14)), timezone(timedelta(hours=-14))
TOO_EARLY, TOO_LATE = datetime.min.replace(tzinfo=EAST), datetime.max.replace(tzinfo=WEST)


@pytest.mark.parametrize(
    ("line", "option"),
    [
        ("list --created-after 0001-01-01T00:00+14:00", "--created-after"),
        ("errors --dead-before 9999-12-31T23:59-14:00", "--dead-before"),
        ("audit --since 0001-01-01T00:00+14:00", "--since"),
        ("audit --until 0001-01-01T00:00+14:00", "--until"),
        ("list --timeout inf", "--timeout"),
        ("--timeout nan list", "--timeout"),
        ("wait x --timeout 1e300", "--timeout"),
        ("health --timeout inf", "--timeout"),
        ("gateway --timeout nan", "--timeout"),
        ("dispatch json --grace inf", "--grace"),
        ("dispatch json --lease nan", "--lease"),
    ],
)
def test_a_time_or_timeout_that_no_clock_holds_ends_with_2(
    run: Run, line: str, option: str
) -> None:
    code, _, err, requests = run(line)
    assert (code, requests) == (2, [])
    assert re.search(f"Invalid value for '?{option}", err), err


def test_an_audit_until_the_first_week_begins_with_the_first_year(run: Run) -> None:
    code, _, _, (request,) = run(
        "audit --until 0001-01-03", ("ListOperations", audit.ListOperationsResponse())
    )
    assert code == 0
    assert request.created_after.ToDatetime(tzinfo=UTC) == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("created_after", lambda: filtered.list_executions(created_after=TOO_EARLY)),
        ("created_before", lambda: filtered.list_executions(created_before=TOO_LATE)),
        ("dead_after", lambda: zart.ExecutionFilter(dead_after=TOO_EARLY).to_message()),
        ("created_before", lambda: calls.list_operations(created_before=TOO_EARLY)),
        ("expires_at", lambda: admin.pause(everything=True, expires_at=TOO_LATE)),
        ("expires_in", lambda: admin.pause(everything=True, expires_in=math.inf)),
        ("expires_in", lambda: admin.update_pause_rule("pr-1", expires_in=math.nan)),
        ("window", lambda: breaker.create_breaker(failure_threshold=1, window=1e300)),
        ("keep_for", lambda: retention.set_retention("t", math.inf)),
        ("older_than", lambda: retention.purge_executions(math.inf)),
        ("wait", lambda: dispatch.lease_tasks("d", ["t"], wait=math.inf)),
        ("lease_duration", lambda: dispatch.lease_tasks("d", ["t"], lease_duration=math.nan)),
        ("timeout", lambda: execution.step_spec(zart.StepSpec("a", timeout=math.inf))),
        (
            "max_backoff",
            lambda: execution.step_spec(zart.StepSpec("a", retry=zart.Retry(max_backoff=1e300))),
        ),
    ],
)
def test_a_call_with_a_time_that_no_clock_holds_is_a_value_error_with_its_name(
    field: str, call: Callable[[], object]
) -> None:
    with pytest.raises(ValueError, match=f"^{field}: "):
        call()


def test_a_time_without_a_zone_is_told_by_its_name() -> None:
    with pytest.raises(ValueError, match=r"^created_after needs a time zone"):
        filtered.list_executions(created_after=datetime(2026, 1, 31))  # noqa: DTZ001 - that is it


async def test_there_may_be_no_end_to_waiting(rig: Rig, zart_server: ServerUnderTest) -> None:
    await rig.start("x", {"a": ()})
    await rig.work()
    async with zart.connect(zart_server.address, timeout=math.inf) as unhurried:
        assert await unhurried.handle("x").result(timeout=math.inf) == "a"
        assert (await unhurried.get_execution("x")).run.status == "COMPLETED"
    with zart.connect_sync(zart_server.address, timeout=math.inf) as client:
        assert client.get_execution("x").run.status == "COMPLETED"
        assert client.handle("x").result(timeout=math.inf) == "a"
        assert client.handle("x").result(timeout=1e12) == "a"
        steps = [zart.StepSpec("a")]
        with ThreadPoolExecutor(8) as threads:  # whose starts go out together
            begun = list(threads.map(lambda _: client.start("t", steps=steps), range(40)))
        assert len({handle.execution_id for handle in begun}) == 40
