"""``zart dev``: everything in one, restarted dispatcher on changes, an end without leftovers."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from acceptance.test_make_run import processes_of
from ports import free_port
from waiting import GIVE_UP, block_until, eventually, until

import zart
from zart.cli.stack import Stack, StackError

MODULE = """
import zart

task = zart.Task("reloaded")


@task.step()
def answer(ctx: zart.StepContext) -> int:
    return {answer}
"""

ENDLESS = """
import asyncio
import zart

task = zart.Task("endless")


@task.step()
async def wait(ctx):
    await asyncio.Event().wait()
"""


def start(
    tmp_path: Path, address: str, *options: str, under: Sequence[str] = (), database: str = ""
) -> subprocess.Popen[str]:
    """Run ``zart dev`` in a folder of its own, ``under`` a program that runs it."""
    http = f"127.0.0.1:{free_port()}"
    options = ("--listen", address, "--http", http, *options)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZART_")}
    if database:
        environment["ZART_DATABASE_URL"] = database
    return subprocess.Popen(
        [*under, sys.executable, "-m", "zart.cli", "dev", "reloaded_tasks", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_reload_restarts_the_dispatcher_with_the_new_code(tmp_path: Path) -> None:
    module = tmp_path / "reloaded_tasks.py"
    module.write_text(MODULE.format(answer=1))
    (tmp_path / "closed").mkdir(mode=0)  # to others than root
    address = f"127.0.0.1:{free_port()}"
    process = start(tmp_path, address, "--reload")
    try:
        with zart.connect_sync(address) as client:

            def registered() -> bool:
                try:
                    return bool(list(client.list_task_definitions()))
                except zart.ZartError:
                    return False

            block_until(registered)
            assert client.start("reloaded", execution_id="a").result(timeout=GIVE_UP) == 1
            module.write_text("def broken(:\n")
            assert process.stdout is not None
            seen = []
            for line in process.stdout:
                seen.append(line)
                if "no dispatcher runs" in line:
                    break
            (why,) = [line for line in seen if "SyntaxError" in line]
            assert why.startswith("zart: ")
            assert "reloaded_tasks.py:1: SyntaxError" in why
            assert "Traceback" not in "".join(seen)
            module.write_text(MODULE.format(answer=22))

            def answered() -> bool:
                handle = client.start("reloaded")
                return bool(handle.result(timeout=GIVE_UP) == 22)

            block_until(answered)
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, output
    (told,) = [line for line in seen if "no dispatcher runs" in line]
    assert json.loads(told)["logger"] == "zart.dev"  # no terminal reads it
    assert "the dispatcher starts anew" in "".join(seen) + output
    block_until(lambda: not processes_of(str(tmp_path), address))


def serves_and_ends(process: subprocess.Popen[str]) -> None:
    """Wait until it serves, and stop it."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "zart serves on" in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=GIVE_UP)
    assert "zart serves on" in lines[-1], lines


def test_killing_it_leaves_nothing_running(tmp_path: Path) -> None:
    (tmp_path / "reloaded_tasks.py").write_text(MODULE.format(answer=1))
    address = f"127.0.0.1:{free_port()}"
    process = start(tmp_path, address)
    assert process.stdout is not None
    for line in process.stdout:
        if "zart serves on" in line:
            break
    process.kill()
    process.communicate()
    block_until(lambda: not processes_of(str(tmp_path), address))

    # And what was there is there again.
    again = start(tmp_path, address)
    serves_and_ends(again)


def test_what_the_environment_says_of_other_databases_is_not_about_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("PGSSLMODE", "verify-full"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGTARGETSESSIONATTRS", "standby"),
    ):
        monkeypatch.setenv(name, value)
    (tmp_path / "reloaded_tasks.py").write_text(MODULE.format(answer=1))
    address = f"127.0.0.1:{free_port()}"
    process = start(tmp_path, address)
    serves_and_ends(process)
    block_until(lambda: not processes_of(str(tmp_path), address))


async def test_a_reload_that_cannot_be_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the system watches no more files; here, a Python that was replaced."""
    module = tmp_path / "reloaded_tasks.py"
    module.write_text(MODULE.format(answer=1))
    monkeypatch.chdir(tmp_path)
    stack = Stack(["reloaded_tasks"], listen=f"127.0.0.1:{free_port()}", reload=True, quiet=True)
    async with stack:
        waiting = asyncio.create_task(stack.wait(asyncio.Event()))
        monkeypatch.setattr(sys, "executable", "/none/python")

        def is_noticed() -> bool:
            module.write_text(MODULE.format(answer=2))
            return waiting.done()

        await until(is_noticed)
        with pytest.raises(StackError, match=r"files are watched no longer: .*/none/python"):
            await waiting


async def test_its_dispatcher_heeds_variables_but_stops_as_soon_as_all_the_rest_is_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zart_database: str
) -> None:
    (tmp_path / "endless_tasks.py").write_text(ENDLESS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZART_DATABASE_URL", zart_database)
    monkeypatch.setenv("ZART_LEASE", "300")
    monkeypatch.setenv("ZART_GRACE", "60")
    address = f"127.0.0.1:{free_port()}"
    async with (
        Stack(["endless_tasks"], listen=address, quiet=True),
        zart.connect(address) as client,
    ):

        async def is_registered() -> bool:
            return bool(await client.list_task_definitions())

        async def is_at_work() -> bool:
            return (await client.get_step("x", "wait")).status == "RUNNING"

        await eventually(is_registered)
        await client.start("endless", execution_id="x")
        await eventually(is_at_work)
        step = await client.get_step("x", "wait")
        assert step.lease_expires_at is not None
        assert step.attempts[-1].started_at is not None
        lease = step.lease_expires_at - step.attempts[-1].started_at
        assert timedelta(seconds=299) < lease < timedelta(seconds=301)
    database = await asyncpg.connect(zart_database)
    try:
        # It had the time to say so: else it were killed, and the attempt at work on record.
        assert await database.fetchval("SELECT status FROM zart_step_attempts") == "lost"
    finally:
        await database.close()


def test_without_a_module_nothing_is_reloaded() -> None:
    """A file that changes would start a dispatcher of no task, which ends at once."""
    assert Stack(["reloaded_tasks"], reload=True)._reload
    assert not Stack([], reload=True)._reload


def test_under_nohup_it_goes_on_once_its_terminal_is_closed(tmp_path: Path) -> None:
    (tmp_path / "reloaded_tasks.py").write_text(MODULE.format(answer=1))
    address = f"127.0.0.1:{free_port()}"
    process = start(tmp_path, address, under=["nohup"])
    assert process.stdout is not None
    try:
        assert any("zart serves on" in line for line in iter(process.stdout.readline, ""))
        process.send_signal(signal.SIGHUP)
        status = Path(f"/proc/{process.pid}/status").read_text()
        (ignored,) = [line for line in status.splitlines() if line.startswith("SigIgn")]
        assert int(ignored.split()[1], 16) & 1 << (signal.SIGHUP - 1)
        with zart.connect_sync(address, timeout=GIVE_UP) as client:
            assert list(client.list_executions()) == []
    finally:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=GIVE_UP)
    assert process.returncode == 0, output


def test_it_stops_while_it_is_starting(tmp_path: Path) -> None:
    """With a database that does not answer, say: a wrong address."""
    (tmp_path / "reloaded_tasks.py").write_text(MODULE.format(answer=1))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(GIVE_UP)
        database = f"postgresql://zart@127.0.0.1:{silent.getsockname()[1]}/zart"
        process = start(tmp_path, f"127.0.0.1:{free_port()}", database=database)
        try:
            with silent.accept()[0]:
                process.send_signal(signal.SIGINT)
                told, _ = process.communicate(timeout=GIVE_UP)
        finally:
            process.kill()
    assert process.returncode == 0
    assert told.endswith("stopped while it was starting\n")
