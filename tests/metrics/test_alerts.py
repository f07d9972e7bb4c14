"""deploy/prometheus/alerts.yml and the dashboard, by a real Prometheus beside a running system."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from breaking import breaker
from metrics.alert_case import Case
from metrics.alert_cases import CASES
from metrics.prometheus import (
    ROOT,
    RULES,
    WINDOW,
    Prometheus,
    alerts_of,
    hurried,
    needs_prometheus,
    play,
    running_prometheus,
)
from metrics.series import ENDS, written
from metrics.system import System
from ports import free_port
from rig import LONG, Rig
from shipped.files import check_command
from waiting import until

from zart.testing.fixtures import database_url, execute
from zart.testing.server import ServerUnderTest

DASHBOARD = json.loads((ROOT / "deploy/grafana/zart.json").read_text())
# What comes about in seconds, on the system that runs here; the others are played to promtool only.
HERE = {
    "ZartAttemptsFail",
    "ZartBatchStands",
    "ZartBreakerOpen",
    "ZartDispatcherBlocked",
    "ZartInDoubt",
    "ZartLeasesLost",
    "ZartPausedForLong",
    "ZartProcessDown",
    "ZartReleaseStands",
    "ZartStepsDead",
    "ZartStepsWait",
}

# What a machine that is busy with other tests may have as well, what there is before a first look,
# and what other tests of this process have counted.
SLOW = {
    "ZartCallsSlow", "ZartDatabaseDown", "ZartDatabaseNotRead", "ZartDefects",
    "ZartDispatcherNotReady", "ZartMaintenanceLags", "ZartNoServer", "ZartPoolExhausted",
}  # fmt: skip


def queries() -> list[str]:
    """Return the queries of the dashboard, for all tasks and over some seconds."""
    return [
        target["expr"].replace("$__rate_interval", WINDOW).replace("$task", ".*")
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())
    ]


@pytest.fixture
def zart_server(shared_system: System) -> ServerUnderTest:
    """The server of the system, for the client of these tests."""
    return shared_system.server


@pytest.fixture
async def db(shared_system: System) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to its database."""
    connection = await asyncpg.connect(shared_system.server.database_url)
    yield connection
    await connection.close()


@pytest.fixture
def prometheus(shared_system: System, tmp_path: Path) -> Iterator[Prometheus]:
    """One that reads the system, and a process that is not there."""
    targets = [*shared_system.metrics.values(), f"127.0.0.1:{free_port()}"]
    with running_prometheus(tmp_path, targets, hurried(RULES.read_text())) as running:
        yield running


@contextlib.asynccontextmanager
async def trouble(rig: Rig) -> AsyncIterator[None]:
    """Have attempts fail and leases be lost, again and again, until the context is left."""

    async def go_on() -> None:
        for number in range(1_000):
            await rig.start(f"trouble-{number}", {"a": (), "b": ()}, task="trouble")
            failing, *_ = await rig.lease(task="trouble", lease_duration=1, wait=LONG)
            await rig.fail(failing)
            for lost in await rig.lease(task="trouble", wait=LONG):
                await rig.fail(lost)

    going_on = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going_on.cancel()
        await asyncio.gather(going_on, return_exceptions=True)


@needs_prometheus
async def test_alerts_fire_and_each_query_of_the_dashboard_is_answered(
    rig: Rig, shared_system: System, prometheus: Prometheus, zart_postgres: str
) -> None:
    await _have_what_alerts_tell_of(rig)
    async with trouble(rig):
        fired: set[str] = set()

        def have_fired() -> bool:
            fired.update(prometheus.firing())
            return fired >= HERE

        await until(have_fired)
        assert fired - SLOW == HERE
        empty = set(queries())

        def have_been_answered() -> bool:  # a scrape that takes a second is none
            empty.difference_update([query for query in empty if prometheus.query(query)])
            return not empty

        with contextlib.suppress(TimeoutError):
            await until(have_been_answered)
        assert empty == set()
    name = urlsplit(shared_system.server.database_url).path[1:]
    await _allow_connections(zart_postgres, name, are_allowed=False)
    await until(lambda: "ZartDatabaseDown" in prometheus.firing())
    await _allow_connections(zart_postgres, name, are_allowed=True)
    await until(lambda: "ZartDatabaseDown" not in prometheus.firing())


async def _allow_connections(postgres: str, database: str, *, are_allowed: bool) -> None:
    other = database_url(postgres, "zart")
    for statement in (
        f"ALTER DATABASE {database} ALLOW_CONNECTIONS {are_allowed}",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
    ):
        await asyncio.to_thread(execute, other, statement)


async def _have_what_alerts_tell_of(rig: Rig) -> None:
    """Have steps that have waited for long, a breaker that is open, and a dispatcher that is blocked."""
    await rig.start("waits", {"a": ()}, task="waiting")
    await rig.db.execute(
        "UPDATE zart.queue SET not_before = not_before - interval '20 minutes' WHERE run_key = ("
        "SELECT run_key FROM zart.runs WHERE listed_task = 'waiting')"
    )
    await rig.client.trip_breaker(await breaker(rig.client))
    await rig.client.start("blocks", 20, execution_id="blocks")


@needs_prometheus
def test_each_alert_fires_after_its_time_and_not_before(tmp_path: Path) -> None:
    play(
        tmp_path,
        [
            played
            for rule in alerts_of(RULES.read_text())
            for played in _played(rule, CASES[rule["alert"]])
        ],
    )


def _played(rule: dict[str, Any], case: Case) -> Iterator[dict[str, Any]]:
    told = [{"exp_labels": {**rule["labels"], **case.labels}}]
    silent: list[Any] = []
    for series, then in (
        (case.series, told),
        *((each, told) for each in case.also),
        *((each, silent) for each in case.never),
    ):
        yield {
            "interval": case.interval,
            "input_series": [{"series": s, "values": values} for s, values in series.items()],
            "alert_rule_test": [
                {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": expected}
                for minute, expected in ((case.fires_at - 1, []), (case.fires_at, then))
            ],
        }


def test_each_alert_is_played() -> None:
    names = [rule["alert"] for rule in alerts_of(RULES.read_text())]
    assert len(set(names)) == len(names)
    assert set(names) == CASES.keys()
    assert CASES.keys() >= HERE


def test_alerts_and_dashboard_ask_for_what_there_is() -> None:
    there = {
        name + end
        for process in ("server", "credentials", "processes", "gateway", "dispatcher")
        for name, (kind, _) in written(process).items()
        for end in ENDS[kind]
    } | {"up"}
    text = " ".join([*queries(), *(rule["expr"] for rule in alerts_of(RULES.read_text()))])
    assert set(re.findall(r"\b(?:zart_|process_|up\b)\w*", text)) <= there


@pytest.mark.parametrize("rule", alerts_of(RULES.read_text()), ids=lambda rule: rule["alert"])
def test_commands_that_alerts_name_are_there(rule: dict[str, Any]) -> None:
    told = re.sub(r"\{\{[^}]*\}\}", "x", rule["annotations"]["description"])
    for command in re.findall(r"`zart ([^`]*)`", told):
        check_command(command.split())
    for page in re.findall(r"docs/[\w-]+\.md", told):
        assert (ROOT / page).is_file()


def test_no_command_has_a_label() -> None:
    """Callers choose the names of tasks: what is pasted into a shell would do what they hold."""
    annotations = [rule["annotations"] for rule in alerts_of(RULES.read_text())]
    texts = [*(text for each in annotations for text in each.values()), json.dumps(DASHBOARD)]
    for text in texts:
        for command in re.findall(r"`[^`]*`|\bzart \S[^.;:]*", text):
            assert "{{" not in command
            assert "$" not in command
