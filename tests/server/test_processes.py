"""Several processes that are one server: they share a port, and one looks after them."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from metrics.scraping import scrape
from metrics.series import ENDS, written
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from rig import CHAIN, specs
from waiting import GIVE_UP, block_until

import zart

COUNT = 2


class Serving:
    """The supervisor, and where it serves."""

    def __init__(self, database: str, log: Path, **settings: str) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.metrics = f"127.0.0.1:{free_port()}"
        self.log = log
        command = [sys.executable, "-m", "zart.cli", "serve", "--listen", self.address]
        with log.open("wb") as output:
            self.popen = subprocess.Popen(
                [*command, "--processes", str(COUNT)],
                env={
                    **os.environ, "ZART_DATABASE_URL": database, "ZART_DRAIN_NOTICE": "0",
                    "ZART_METRICS_LISTEN": self.metrics, **settings,
                },
                stderr=output,
            )  # fmt: skip

    def said(self, text: str, times: int = 1) -> bool:
        """Return whether the log has this so many times."""
        return self.log.read_text().count(text) >= times

    def parts(self) -> list[str]:
        """Return the numbers of the processes that tell their metrics."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=GIVE_UP) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return sorted(
            sample.labels["process"]
            for family in families
            for sample in family.samples
            if sample.name == "process_start_time_seconds"
        )

    def children(self) -> list[int]:
        """Return the ids of the processes that serve."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
                command = (stat.parent / "cmdline").read_bytes()
            except OSError:  # it has just ended
                continue
            if int(fields[1]) == self.popen.pid and b"spawn_main" in command:
                found.append(int(stat.parent.name))
        return found


@pytest.fixture
def serving(zart_database: str, tmp_path: Path) -> Iterator[Serving]:
    """Two processes that serve."""
    server = Serving(zart_database, tmp_path / "log")
    block_until(lambda: server.popen.poll() is not None or server.said("2 processes serve on"))
    yield server
    if server.popen.poll() is None:
        server.popen.kill()
    server.popen.wait()


def test_they_are_one_server_and_one_that_is_killed_is_replaced(serving: Serving) -> None:
    with zart.connect_sync(serving.address) as client:
        client.start("t", {}, execution_id="x", steps=specs(CHAIN))
    assert serving.parts() == ["0", "1"]
    serving.popen.send_signal(signal.SIGHUP)
    block_until(lambda: serving.said("are read anew", COUNT))

    killed, other = serving.children()
    os.kill(killed, signal.SIGKILL)
    block_until(lambda: serving.said("zart serves on", COUNT + 1))
    assert serving.said("and is replaced")
    assert other in serving.children()
    assert len(serving.children()) == COUNT
    with zart.connect_sync(serving.address) as client:
        assert client.get_execution("x").run.status == "SCHEDULED"

    serving.popen.send_signal(signal.SIGTERM)
    assert serving.popen.wait(GIVE_UP) == 0
    assert serving.said("zart stops: no new work", COUNT)


def test_one_that_cannot_be_started_for_a_moment_is_started_later(serving: Serving) -> None:
    """The supervisor ended by it, hung, and left the others to themselves."""
    pid = serving.popen.pid
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, before[1]))  # no more than standard ones
    killed, other = serving.children()
    os.kill(killed, signal.SIGKILL)
    block_until(lambda: serving.said("cannot be started (Too many open files)"))
    assert serving.children() == [other]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)

    block_until(lambda: serving.said("zart serves on", COUNT + 1))
    assert len(serving.children()) == COUNT
    assert other in serving.children()
    block_until(lambda: serving.parts() == ["0", "1"])
    serving.popen.send_signal(signal.SIGTERM)
    assert serving.popen.wait(GIVE_UP) == 0
    assert serving.log.read_text().count("cannot be started") == 1
    assert not serving.said("Traceback")


def test_each_series_says_of_which_process_it_is(serving: Serving) -> None:
    found = scrape(serving.metrics)
    families = {**written("server"), **written("processes")}
    assert found.types.keys() <= families.keys()
    for name, kind in found.types.items():
        _, labels = families[name]
        for end in ENDS[kind]:
            for series, _ in found.of(name + end):
                assert series.keys() - {"le"} == labels | {"process"}
                assert series["process"] in {"0", "1"}
    assert found("zart_process_up", process="0") == found("zart_process_up", process="1") == 1


def test_what_is_out_of_date_is_told_of_each(zart_database: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("")
    server = Serving(zart_database, tmp_path / "log", ZART_AUTH_TOKENS=str(tokens))
    try:
        block_until(lambda: server.popen.poll() is not None or server.said("processes serve on"))
        tokens.write_text("no token\n")

        def told() -> bool:
            found = scrape(server.metrics)
            return all(
                found("zart_credentials_stale", what="tokens", process=process) == 1
                for process in ("0", "1")
            )

        block_until(told)
    finally:
        server.popen.terminate()
        server.popen.wait(GIVE_UP)


def test_a_port_that_somebody_has_is_refused_and_none_outlives_its_supervisor(
    serving: Serving, zart_database: str
) -> None:
    refused = ended(serving.address, zart_database)
    assert refused.returncode == 1
    assert f"cannot listen on {serving.address}" in refused.stderr

    left = serving.children()
    assert len(left) == COUNT
    serving.popen.kill()
    block_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


def test_what_is_wrong_is_said_once(zart_database: str, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("no token\n")
    refused = ended("127.0.0.1:0", zart_database, ZART_AUTH_TOKENS=str(tokens))
    assert refused.returncode == 1
    assert refused.stderr.count("zart: ") == 1
    assert str(tokens) in refused.stderr


def ended(listen: str, database: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a server that cannot start to its end."""
    command = [sys.executable, "-m", "zart.cli", "serve", "--listen", listen, "--processes", "2"]
    env = {**os.environ, "ZART_DATABASE_URL": database, **settings}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)
