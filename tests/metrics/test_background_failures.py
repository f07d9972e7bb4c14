"""What fails in what a server does by itself is counted, and what is not done lags."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from metrics.scraping import scraped
from rig import Rig
from waiting import until

from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.errors import StoreConflict
from zart_server.engine.background.loop import DEFECT, WAITS, BackgroundLoop


@pytest.fixture
def zart_server(zart_database: str) -> Iterator[ServerUnderTest]:
    """A server that tells Prometheus what it does."""
    with serving(zart_database, metrics_listen="127.0.0.1:0") as server:
        yield server


def failing(error: Exception) -> Any:
    """Return what fails whenever it is awaited."""

    async def fail(*_arguments: object) -> None:
        raise error

    return fail


def fails(loop: BackgroundLoop, kind: str, before: int) -> bool:
    """Return whether a loop has failed more often than before."""
    return loop.failures[kind] > before


async def test_each_loop_is_told_and_none_has_failed(zart_server: ServerUnderTest) -> None:
    loops = zart_server.running.runtime.loops
    made = {each for each in BackgroundLoop.__subclasses__() if "zart_server" in each.__module__}
    assert {type(each) for each in loops} == made  # and none that only a test has
    found = await scraped(zart_server.running.metrics)
    told = {
        (labels["loop"], labels["kind"]): value
        for labels, value in found.of("zart_background_failures_total")
    }
    assert told.keys() == {(each.name, kind) for each in loops for kind in (DEFECT, WAITS)}
    assert {value for (_, kind), value in told.items() if kind == DEFECT} == {0}


@pytest.mark.parametrize(
    ("error", "kind"), [(KeyError("a defect"), DEFECT), (StoreConflict(), WAITS)]
)
async def test_a_turn_that_fails_is_counted_by_its_loop(
    zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: str
) -> None:
    for each in zart_server.running.runtime.loops:
        monkeypatch.setattr(each, "turn", failing(error))
        before = each.failures[kind]
        zart_server.loop.call_soon_threadsafe(each.kick)
        await until(partial(fails, each, kind, before))
    found = await scraped(zart_server.running.metrics)
    told = {labels["loop"]: value for labels, value in found.of("zart_background_failing_seconds")}
    assert told.keys() == {each.name for each in zart_server.running.runtime.loops}
    assert min(told.values()) > 0


async def test_leases_that_cannot_be_swept_lag(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps = zart_server.running.runtime.lease_sweeps
    await rig.start("x", {"a": ()})
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "_sweep", failing(KeyError("a defect")))
        assert len(await rig.lease(lease_duration=1.0)) == 1
        await until(lambda: sweeps.failures[DEFECT])
        done_at, failures = sweeps.done_at, sweeps.failures[DEFECT]
        await until(lambda: sweeps.failures[DEFECT] > failures)
        assert sweeps.done_at == done_at
    await until(lambda: sweeps.done_at > done_at)
    found = await scraped(zart_server.running.metrics)
    assert found("zart_background_failures_total", loop=sweeps.name, kind=DEFECT) > failures
    assert found("zart_maintenance_lag_seconds", loop=sweeps.name) < found(
        "zart_maintenance_lag_seconds"
    )


async def test_rules_that_cannot_be_ended_lag(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = zart_server.running.runtime.rule_looks
    with monkeypatch.context() as patched:
        expire = "zart_server.engine.background.rule_looks.expire"
        patched.setattr(expire, failing(KeyError("a defect")))
        await rig.client.pause(task_name="t", expires_in=1.0)
        await until(lambda: looks.failures[DEFECT])
        done_at, failures = looks.done_at, looks.failures[DEFECT]
        await until(lambda: looks.failures[DEFECT] > failures)
        assert looks.done_at == done_at
    await until(lambda: looks.done_at > done_at)


async def test_what_is_only_noted_holds_up_no_due_task(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on zart.task_names, say: no step waits for that."""
    maintenance = zart_server.running.runtime.maintenance
    touch = "zart_server.engine.background.maintenance.touch_asked"
    monkeypatch.setattr(touch, failing(StoreConflict()))
    await rig.start("x", {"a": ()})
    await rig.lease()
    await until(lambda: maintenance.failures[WAITS])
    done_at, failures = maintenance.done_at, maintenance.failures[WAITS]
    await until(lambda: maintenance.failures[WAITS] > failures + 1)
    assert maintenance.done_at > done_at
