"""``make run`` as a newcomer has it: the story it prints is pasted line by line."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ports import free_port
from waiting import GIVE_UP, block_until

ROOT = Path(__file__).parents[2]


def processes_of(*marks: str) -> list[str]:
    """Return the command lines of running processes that have one of the marks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if any(mark in line for mark in marks):
                found.append(line)
    return found


@dataclass
class Running:
    """A checkout in which ``make run`` runs."""

    folder: Path
    address: str
    http: str
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """What make run is told: where to listen."""
        return {**os.environ, "ZART_ADDRESS": self.address, "ZART_GATEWAY_LISTEN": self.http}

    def start(self, **more: str) -> None:
        """Run make until it has printed everything; ``more`` of the environment."""
        self.lines = []
        self.process = subprocess.Popen(
            ["make", "run"],
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1", **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if "Ctrl-C stops" in line:
                return
        raise AssertionError("\n".join(self.lines))

    def stop(self, number: int, *, whole_group: bool) -> None:
        """Send a signal and wait until nothing of it is left."""
        assert self.process is not None
        if whole_group:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.communicate(timeout=GIVE_UP)
        block_until(lambda: not processes_of(str(self.folder), self.address, self.http))

    def paste(self, line: str) -> str:
        """Run a line in a shell, as somebody pastes it."""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env={**os.environ, "ZART_ADDRESS": self.address, "ZART_TRIGGERED_BY": "newcomer"},
            capture_output=True,
            text=True,
            check=False,
            timeout=GIVE_UP,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def story(self, word: str) -> str:
        """Find the printed line that has a word."""
        (line,) = [text.strip() for text in self.lines if text.startswith("  ") and word in text]
        return line


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Running]:
    """What make needs, beside the environment that was built already."""
    folder = tmp_path / "zart"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, folder / name)
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    running = Running(folder, f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}")
    yield running
    if running.process is not None:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
        if running.process.stdout is not None:
            running.process.stdout.close()
        running.process.wait()


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="make was not used to get here")
def test_the_story(checkout: Running) -> None:
    checkout.start()
    # Everything on screen can be pasted.
    failed = checkout.paste(checkout.story("list --status failed"))
    assert [line.split()[0] for line in failed.splitlines()[1:] if line.startswith("exec-")] == [
        f"exec-{n:03}" for n in range(12, 0, -1)
    ]
    assert failed.count("charge-card: ") == 12
    status = checkout.paste(checkout.story("status exec-001"))
    assert "DEAD" in status
    assert "the card service is down" in status
    assert "(order.py:" in status
    paused = checkout.paste(checkout.story("pause --task-name"))
    rule_id = paused.split()[0]
    assert rule_id.startswith("pr-")
    retried = checkout.paste(checkout.story("retry-step"))
    assert f"is PAUSED: pause rule {rule_id}" in retried
    checkout.paste(checkout.story("rm "))
    assert not (checkout.folder / ".zart/card-down").exists()
    resumed = checkout.paste(checkout.story("zart resume"))
    assert "released  1 step" in resumed
    watched = checkout.paste(checkout.story("zart watch"))
    assert "exec-001:run:0 is COMPLETED" in watched
    plan = checkout.paste(checkout.story("rerun exec-001"))
    assert "reruns    enrich-data" in plan
    assert "send-email: it may rest on enrich-data" in plan
    assert "COMPLETED" in checkout.paste(checkout.story("runs exec-001"))
    history = checkout.paste(checkout.story("history exec-001"))
    assert "RETRY_STEP" in history
    assert "newcomer" in history
    listed = json.loads(checkout.paste(checkout.story("grpcurl")))
    assert [r.get("runId", r.get("run_id")) for r in listed["runs"]] == ["exec-001:run:0"]

    state = json.loads(checkout.paste(checkout.story("curl http")))
    assert state["run"]["status"] == "RUN_STATUS_COMPLETED"
    seed(checkout)

    checkout.stop(signal.SIGINT, whole_group=True)

    # A second time: yesterday's data, and nothing more of the orders.
    before = checkout.folder / ".zart/postgres/data/PG_VERSION"
    made_at = before.stat().st_mtime_ns
    checkout.start()
    assert "the card service is up" in "\n".join(checkout.lines)
    zart = f"ZART_ADDRESS={checkout.address} .venv/bin/zart"
    listed = json.loads(checkout.paste(f"{zart} list --task-name order -o json --limit 0"))
    assert len(listed["executions"]) == 12
    assert "COMPLETED" in checkout.paste(f"{zart} status exec-001")
    history = json.loads(checkout.paste(f"{zart} history exec-001 -o json"))
    assert [o["kind"] for o in history["operations"]] == [
        "OPERATION_KIND_RETRY_STEP",
        "OPERATION_KIND_START",
    ]
    assert before.stat().st_mtime_ns == made_at

    # A second one beside it says in one line what is wrong.
    other = subprocess.run(
        ["make", "run"], cwd=checkout.folder, capture_output=True, text=True, check=False,
        env={
            **os.environ,
            "ZART_ADDRESS": f"127.0.0.1:{free_port()}",
            "ZART_GATEWAY_LISTEN": f"127.0.0.1:{free_port()}",
        },
        timeout=GIVE_UP,
    )  # fmt: skip
    assert other.returncode != 0
    assert "is in use by another zart" in other.stderr
    assert "Traceback" not in other.stderr

    checkout.stop(signal.SIGTERM, whole_group=False)


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="make was not used to get here")
def test_the_first_five_minutes_of_the_readme(checkout: Running) -> None:
    checkout.start()
    _, _, chapter = (ROOT / "README.md").read_text().partition("## The first five minutes")
    block = re.findall("^```$(.*?)^```$", chapter, re.MULTILINE | re.DOTALL)[0]
    said, rule_id = {}, ""
    for line in block.strip().splitlines():
        said[line] = checkout.paste(line.replace("pr-…", rule_id))
        if " pause " in line:
            rule_id = said[line].split()[0]
            assert "drained" in said[line]

    def of(words: str) -> str:
        (found,) = [text for line, text in said.items() if words in line]
        return found

    assert f"is PAUSED: pause rule {rule_id}" in of("retry-step exec-001")
    assert "PAUSE_RULE" in of("why exec-001")
    assert "exec-001:run:0 is COMPLETED" in of("watch exec-001")
    assert f"is PAUSED: pause rule {rule_id}" in of("retry-step exec-002")
    assert "releases  1 step at 1/s" in of("resume")
    assert "exec-002:run:0 is COMPLETED" in of("watch exec-002")
    assert "exec-001" not in of("runs exec-003")
    checkout.stop(signal.SIGTERM, whole_group=False)


SEED = """
curl -X POST http://localhost:8080/admin/v1/executions/exec-001/retry-step -H "Content-Type: application/json" -d '{"stepName": "charge-card", "triggeredBy": "ops-team"}'
curl -X POST http://localhost:8080/admin/v1/pause -H "Content-Type: application/json" -d '{"taskName": "brewery-finder", "stepPattern": "find-breweries"}'
"""


def seed(checkout: Running) -> None:
    """The lines of the first day, as they stand but for the port and the order that is dead."""
    retry, pause = (
        line.replace("localhost:8080", checkout.http) for line in SEED.strip().splitlines()
    )
    refused = json.loads(checkout.paste(retry))
    assert refused["details"][0]["reason"] == "STEP_NOT_DEAD"
    retried = json.loads(checkout.paste(retry.replace("exec-001", "exec-002")))
    assert retried["runId"] == "exec-002:run:0"
    paused = json.loads(checkout.paste(pause))
    assert paused["rule"]["stepPattern"] == "find-breweries"


def run_once(checkout: Running, **environment: str) -> str:
    """Run make where it cannot work; gives what it said, without a traceback."""
    done = subprocess.run(
        ["make", "run"],
        cwd=checkout.folder,
        env={**checkout.environment, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    block_until(lambda: not processes_of(str(checkout.folder), checkout.address, checkout.http))
    return "\n".join(line for line in done.stderr.splitlines() if line.startswith("zart: "))


def test_what_stands_in_the_way_is_said_in_one_line(checkout: Running) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = run_once(checkout, ZART_ADDRESS=f"127.0.0.1:{port}")
        assert f"cannot listen on 127.0.0.1:{port}" in said
        said = run_once(checkout, ZART_GATEWAY_LISTEN=f"127.0.0.1:{port}")
        assert f"cannot listen on 127.0.0.1:{port} for HTTP/JSON" in said
    said = run_once(checkout, ZART_DATABASE_URL="postgresql://nobody@127.0.0.1:9/none")
    assert "check --database-url or ZART_DATABASE_URL" in said
    (checkout.folder / ".zart/postgres/data/global/pg_control").write_bytes(b"damaged")
    said = run_once(checkout)
    assert "cannot use" in said
    assert "to begin anew" in said
    assert len(said.splitlines()) == 1


def test_making_the_environment_is_not_silent(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, tmp_path / name)
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "run", f"PYTHON={python}"],
        # Not as a part of the make that runs the tests, which says where it enters.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("making .venv, once")
    assert "packages" in done.stdout


@pytest.mark.skipif(not (ROOT / ".venv").exists(), reason="make was not used to get here")
def test_a_terminal_that_has_not_every_character_is_told_all_the_same(checkout: Running) -> None:
    checkout.start(PYTHONIOENCODING="latin-1")
    assert any("exec-001 \\u2026 exec-012" in line for line in checkout.lines)
    checkout.stop(signal.SIGTERM, whole_group=False)
