"""What a server tells Prometheus of what it does, and of what is in its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
from metrics.scraping import scraped, scraped_with_database
from rig import Rig, eventually, until_polled

import zart
from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest, serving


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server that tells of two tasks by name."""
    with serving(zart_database, metrics_listen="127.0.0.1:0", metrics_tasks=2) as server:
        yield server


@pytest.fixture
async def other(zart_server: ServerUnderTest, zart_database: str) -> AsyncIterator[str]:
    """Where a second server on the database serves its metrics, which has read nothing yet."""
    with serving(zart_database, metrics_listen="127.0.0.1:0", metrics_tasks=2) as server:
        assert server.running.metrics is not None
        yield server.running.metrics


async def test_attempts_are_counted_by_task_and_ending(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", {"a": (), "b": ("a",), "c": ("b",)})
    await rig.complete(await rig.lease_one("a"))
    await rig.fail(await rig.lease_one("b"), retryable=True)
    await rig.fail(await rig.lease_one("b"))
    found = await scraped(zart_server.running.metrics)
    assert found("zart_attempts_total", task="t", ending="completed") == 1
    assert found("zart_attempts_total", task="t", ending="failed") == 2
    assert found("zart_ready_to_leased_seconds_count", task="t") == 3
    assert found("zart_leased_to_ended_seconds_count", task="t") == 3
    assert 0 < found("zart_ready_to_leased_seconds_sum", task="t") < 60
    assert 0 < found("zart_leased_to_ended_seconds_sum", task="t") < 60
    assert found("zart_claimed_tasks_count") == found("zart_claimed_tasks_sum") == 3
    assert found("zart_outcomes_total", status="recorded") == 3
    assert found("zart_report_batch_outcomes_sum") == 3


async def test_what_is_leased_as_it_starts_has_not_waited(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    waiting = asyncio.create_task(rig.lease(1, wait=30))
    await until_polled(zart_server)
    before = await scraped(zart_server.running.metrics)
    assert before("zart_calls_in_progress", kind="waiting") == 1
    await rig.start("x", {"a": ()})
    await waiting
    found = await scraped(zart_server.running.metrics)
    assert found("zart_ready_to_leased_seconds_bucket", task="t", le="0.005") == 1
    assert found("zart_claimed_tasks_count") == 0


async def test_steps_stand_as_they_are_read(rig: Rig, other: str) -> None:
    await rig.dead("dead", {"a": (), "b": ("a",)})
    await rig.start("running", {"a": ()})
    await rig.lease_one("a", "running")
    await rig.client.pause(execution_id="paused")
    await rig.start("paused", {"a": (), "b": ()})
    empty = await rig.client.pause(execution_id="nothing yet")
    await rig.start("scheduled", {"a": (), "b": (), "c": ()})
    found = await scraped_with_database(other)
    statuses = {labels["status"]: value for labels, value in found.of("zart_steps") if value}
    assert statuses == {"dead": 1, "running": 1, "paused": 2, "scheduled": 3}
    assert found("zart_failed_runs", task="t") == 1
    assert 0 < found("zart_oldest_ready_step_age_seconds", task="t") < 60
    assert found("zart_pause_rules", status="active") == 2
    assert found("zart_rule_paused_steps") == 2
    assert found("zart_rule_paused_steps", rule=empty.rule_id) == 0
    assert empty.rule_id in found.labels("zart_rule_paused_steps", "rule")
    assert found("zart_database_up") == 1


async def test_only_as_many_tasks_have_labels_as_are_set(rig: Rig, other: str) -> None:
    for number in range(5):
        await rig.start(f"x{number}", {"a": ()}, task=f"t{number}")
    found = await scraped_with_database(other)
    tasks = found.labels("zart_steps", "task")
    assert len(tasks) == 3
    assert "other" in tasks
    assert found("zart_steps", status="scheduled") == 5
    assert found("zart_steps", task="other") == 3
    assert found.labels("zart_oldest_ready_step_age_seconds", "task") == tasks


async def test_a_task_whose_steps_have_ended_has_waited_for_nothing(rig: Rig, other: str) -> None:
    """An autoscaler that found no series would leave its replicas as they are."""
    await rig.start("x", {"a": ()})
    await rig.complete(await rig.lease_one("a"))
    found = await scraped_with_database(other)
    ages = list(found.of("zart_oldest_ready_step_age_seconds"))
    assert ages == [({"task": "t"}, 0)]


async def test_tasks_with_nothing_to_tell_leave_the_labels_to_others(rig: Rig, other: str) -> None:
    for number in range(3):
        await rig.start(f"x{number}", {"a": ()}, task=f"t{number}")
        await rig.work(task=f"t{number}")
    for number in range(3, 5):
        await rig.start(f"x{number}", {"a": ()}, task=f"t{number}")
    found = await scraped_with_database(other)
    assert found.labels("zart_steps", "task") == {"t3", "t4"}
    ages = {labels["task"]: age for labels, age in found.of("zart_oldest_ready_step_age_seconds")}
    assert ages.keys() == {"t3", "t4", "other"}
    assert ages["other"] == 0


async def test_all_servers_give_the_same_tasks_labels(
    rig: Rig, zart_server: ServerUnderTest, other: str
) -> None:
    """One has counted what others did not: the maximum of all is to count nothing twice."""
    for number in (4, 5):
        await rig.start(f"x{number}", {"a": ()}, task=f"t{number}")
        await rig.work(task=f"t{number}")
    for number in range(4):
        await rig.start(f"x{number}", {"a": ()}, task=f"t{number}")
    one = await scraped_with_database(zart_server.running.metrics)
    two = await scraped_with_database(other)
    assert one.labels("zart_attempts_total", "task") == {"t4", "t5"}
    for name in ("zart_steps", "zart_oldest_ready_step_age_seconds"):
        assert one.labels(name, "task") == two.labels(name, "task") == {"t0", "t1", "other"}
    for task, steps in (("t0", 1), ("t1", 1), ("other", 2)):
        assert one("zart_steps", task=task) == two("zart_steps", task=task) == steps


async def test_an_operation_is_counted_by_its_outcome(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.dead()
    before = await scraped(zart_server.running.metrics)
    await rig.client.retry_step("x", "b", validate_only=True)
    await rig.client.retry_step("x", "b")
    with pytest.raises(zart.errors.ZartError):
        await rig.client.retry_step("x", "b")
    found = await scraped(zart_server.running.metrics)
    for outcome in ("planned", "done", "refused"):
        labels = {"kind": "retry_step", "outcome": outcome}
        assert found("zart_operations_total", **labels) == 1 + before(
            "zart_operations_total", **labels
        )


async def test_an_operation_that_breaks_an_attempt_off_counts_it(
    rig: Rig, zart_server: ServerUnderTest
) -> None:
    await rig.start("x", {"a": ()})
    await rig.start("y", {"a": ()})
    await rig.lease_one("a", "x")
    await rig.client.cancel_execution("x")
    found = await scraped(zart_server.running.metrics)
    assert found("zart_attempts_total", task="t", ending="abandoned") == 1


async def test_a_server_out_of_reach_of_its_database_still_answers(
    rig: Rig, other: str, zart_postgres: str, zart_database: str
) -> None:
    await rig.start("x", {"a": ()})
    name, elsewhere = urlsplit(zart_database).path[1:], database_url(zart_postgres, "zart")
    await asyncio.to_thread(execute, elsewhere, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await asyncio.to_thread(
        execute,
        elsewhere,
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )

    async def is_told() -> bool:
        found = await scraped(other)
        return found("zart_database_up") == 0

    await eventually(is_told)
    found = await scraped(other)
    assert found("zart_build_info", component="server") == 1
    assert "zart_steps" not in found.types
