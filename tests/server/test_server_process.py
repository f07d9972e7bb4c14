"""The server as a process of its own: its log, signals, and its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest
from ports import free_port
from rig import CHAIN, specs
from waiting import GIVE_UP

import zart
from zart import errors
from zart.testing.server import serving
from zart.version import installed_version


@pytest.fixture
def process(zart_database: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, logging JSON lines."""
    address = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "zart.cli", "serve", "--listen", address]
    env = {**os.environ, "ZART_DATABASE_URL": zart_database}
    server = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    with zart.connect_sync(address) as client:
        grpc.channel_ready_future(client.channel).result(timeout=GIVE_UP)
    yield server, address
    if server.poll() is None:
        server.kill()
    server.communicate()


def test_one_line_is_logged_for_each_call_and_sigterm_ends_with_0(
    process: tuple[subprocess.Popen[str], str],
) -> None:
    server, address = process
    with zart.connect_sync(address, triggered_by="ops") as client:
        client.start("t", {"secret": "hunter2"}, execution_id="x", steps=specs(CHAIN))
        with pytest.raises(errors.ExecutionNotFound):
            client.restart("nobody", request_id="r7")
    server.send_signal(signal.SIGTERM)
    _, text = server.communicate(timeout=GIVE_UP)

    assert server.returncode == 0
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[0]["version"] == installed_version()
    calls = [line for line in lines if line["event"] == "call" and "Service/" in line["method"]]
    assert [c["method"].rsplit("/")[-1] for c in calls] == ["StartExecution", "Restart"]
    start, restart = calls
    assert (start["code"], start["execution_id"], start["triggered_by"]) == ("OK", "x", "ops")
    assert start["ms"] > 0
    assert (restart["code"], restart["reason"]) == ("NOT_FOUND", "EXECUTION_NOT_FOUND")
    assert restart["request_id"] == "r7"
    assert "hunter2" not in text
    assert "postgresql://" not in text


def test_a_frozen_server_is_noticed_within_ten_seconds(
    process: tuple[subprocess.Popen[str], str],
) -> None:
    import time

    server, address = process
    with zart.connect_sync(address, timeout=60) as client:
        client.start("t", execution_id="x", steps=specs(CHAIN))
        server.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(zart.Unreachable):
            client.lease_tasks("d", ["t"], wait=0)
        took = time.monotonic() - begun
        server.send_signal(signal.SIGCONT)
    assert took < 50  # it takes six, and a minute where nobody notices


def test_a_killed_server_loses_no_acknowledged_work(
    process: tuple[subprocess.Popen[str], str], zart_database: str
) -> None:
    server, address = process
    with zart.connect_sync(address) as client:
        client.start("t", execution_id="x", steps=specs(CHAIN))
        (task,) = client.lease_tasks("d", ["t"])
        done = zart.Outcome(task.task_id, task.lease_token, zart.Completed("a"))
        assert client.report_tasks("d", [done])[0].status == "RECORDED"
        server.kill()
        server.wait()
    with (
        zart.connect_sync(address, timeout=2) as client,
        pytest.raises(zart.Unreachable),
    ):
        client.get_execution("x")
    with serving(zart_database) as again, zart.connect_sync(again.address) as client:
        assert client.get_step("x", "a").result == "a"
        assert client.report_tasks("d", [done])[0].status == "ALREADY_RECORDED"
        assert [t.step_name for t in client.lease_tasks("d", ["t"])] == ["b"]
