"""``zart dispatch``: how many handlers, which lease, grace and results, by options and by variables."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from dispatching import dispatcher_process, registered
from rig import Rig
from terminal import zart_command
from waiting import eventually, until

import zart.cli.dispatching
from zart.testing.server import ServerUnderTest

VARIABLES = ("ZART_CONCURRENCY", "ZART_LEASE", "ZART_GRACE", "ZART_RESULTS_MIB")
TASKS = """
import asyncio
from pathlib import Path

import zart

order = zart.Task("order")


@order.step(retry=zart.Retry(max_attempts=1))
async def endless(ctx):
    Path("begun").touch()
    await asyncio.Event().wait()
"""


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(TASKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a dispatcher is run with, in place of running it."""
    found: dict[str, Any] = {}

    async def dispatch(_tasks: Any, **options: Any) -> None:
        found.update(options)

    monkeypatch.setattr(zart.cli.dispatching, "dispatch_until_stopped", dispatch)
    return found


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        ((), "", (16, 30.0, 10.0, 256)),
        (("64", "120", "0", "1024"), "", (64, 120.0, 0.0, 1024)),
        (
            ("64", "120", "60", "64"),
            "--concurrency 1 --lease 1 --grace 0.5 --results-mib 4",
            (1, 1.0, 0.5, 4),
        ),
        (("", "", "", ""), "", (16, 30.0, 10.0, 256)),
        (("1", "3600", "2147483647", "4"), "", (1, 3600.0, 2147483647.0, 4)),
    ],
    ids=["neither", "variables", "options", "empty variables", "bounds"],
)
def test_an_option_goes_before_its_variable(
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, Any],
    values: tuple[str, ...],
    options: str,
    expected: tuple[int, float, float, int],
) -> None:
    for name, value in zip(VARIABLES, values, strict=False):
        monkeypatch.setenv(name, value)
    done = zart_command(monkeypatch, ["dispatch", "orders", *options.split()])
    assert (done.code, done.err) == (0, "")
    names = [name.removeprefix("ZART_").lower() for name in VARIABLES]
    assert tuple(given[name] for name in names) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ZART_CONCURRENCY", "many"),
        ("ZART_CONCURRENCY", "0"),
        ("ZART_CONCURRENCY", "1.5"),
        ("ZART_LEASE", "30s"),
        ("ZART_LEASE", "0.9"),
        ("ZART_LEASE", "3601"),
        ("ZART_LEASE", "nan"),
        ("ZART_LEASE", " "),
        ("ZART_GRACE", "-1"),
        ("ZART_GRACE", "inf"),
        ("ZART_RESULTS_MIB", "3"),
        ("ZART_RESULTS_MIB", "64.5"),
    ],
)
def test_a_bad_value_is_misuse_and_names_option_and_variable(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], name: str, value: str
) -> None:
    option = f"--{name.removeprefix('ZART_').lower().replace('_', '-')}"
    typed = zart_command(monkeypatch, ["dispatch", "orders", option, value])
    monkeypatch.setenv(name, value)
    found = zart_command(monkeypatch, ["dispatch", "orders"])
    assert (typed.code, found.code, given) == (2, 2, {})
    for told in (typed.err, found.err):
        assert f"Invalid value for '{option}' (env var: '{name}')" in told
        assert "Traceback" not in told


async def test_a_process_does_what_its_variables_say(
    rig: Rig, zart_server: ServerUnderTest, tmp_path: Path
) -> None:
    """One step at a time, under a lease of five minutes, which has no time to end."""
    own = dict(zip(VARIABLES, ("1", "300", "0", "4"), strict=True))
    command = (sys.executable, "-m", "zart.cli", "dispatch", "orders")
    own["ZART_ADDRESS"] = zart_server.address
    with dispatcher_process(tmp_path, own, *command) as process:
        await registered(rig, "order")
        for name in ("first", "second"):
            await rig.client.start("order", execution_id=name)

        async def statuses() -> list[str]:
            steps = [await rig.client.get_step(name, "endless") for name in ("first", "second")]
            return sorted(step.status for step in steps)

        async def is_at_work() -> bool:
            return "RUNNING" in await statuses()

        await eventually(is_at_work)
        await until((tmp_path / "begun").exists)  # what is leased and has not begun is given back
        running = [
            step
            for name in ("first", "second")
            if (step := await rig.client.get_step(name, "endless")).lease_expires_at is not None
        ]
        for step in running:
            assert step.lease_expires_at is not None
            assert step.attempts[-1].started_at is not None
            lease = step.lease_expires_at - step.attempts[-1].started_at
            assert timedelta(seconds=299) < lease < timedelta(seconds=301)
        process.terminate()
        await until(lambda: process.poll() is not None)
        assert process.returncode == 0, (tmp_path / "log").read_text()
        # What runs is lost at once; what did not, or had no slot, waits for somebody else.
        assert await statuses() == ["DEAD", "SCHEDULED"]
