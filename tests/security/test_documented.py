"""docs/security.md: its tables are true, and its five minutes work, line by line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ports import free_port
from rig import eventually
from waiting import GIVE_UP

from zart_server.api.policy import POLICY
from zart_server.domain.identity import Role
from zart_server.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
README = (ROOT / "README.md").read_text()


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_roles_are_those_of_the_policy() -> None:
    told: dict[str, set[str]] = {
        row[1]: set(row[2].split(", "))
        for role in Role
        if (row := re.search(rf"^\| ({role}) \| (.*) \|$", DOCUMENT, re.MULTILINE))
    }
    true = {
        role.value: {
            path.rpartition("/")[2]
            for path, need in POLICY.items()
            if role in (need if isinstance(need, tuple) else (need,))
        }
        for role in Role
        if role is not Role.ADMIN
    }

    assert told == true | {"admin": {"everything"}}


def test_every_setting_is_told() -> None:
    for name in Settings.model_fields:
        if name.startswith(("tls_", "auth_", "max_")) or name == "insecure":
            assert f"`ZART_{name.upper()}`" in DOCUMENT


@contextmanager
def _running(script: str, folder: Path, environment: dict[str, str]) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["bash", "-c", f"exec env {script}"], cwd=folder, env=environment,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(GIVE_UP)


async def test_the_five_minutes(zart_database: str, tmp_path: Path) -> None:
    ports = {"50051": f"{free_port()}", "8080": f"{free_port()}"}
    # At once: 18080 may be the first, and is not to become another for the second.
    document = re.sub("50051|8080", lambda found: ports[found[0]], DOCUMENT)
    made, server, dispatcher, calls = _blocks(document, "bash")
    gateway, request = (block.strip() for block in _blocks(document, "sh"))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("ZART_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ZART_DATABASE_URL": zart_database,
    }

    async def run(script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "bash", "-euc", script, cwd=tmp_path, env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    (tmp_path / "tasks.py").write_text(_blocks(README, "python")[0])
    assert '"name": "worker"' in await run(made)
    credentials = calls.splitlines()[0]

    async def is_registered() -> bool:
        return "order" in await run(f"{credentials}\nzart tasks || true")

    with _running(server, tmp_path, environment), _running(dispatcher, tmp_path, environment):
        await eventually(is_registered)
        told = await run(calls)
        with _running(gateway, tmp_path, environment):
            over_http = await run(f"{credentials}\n{request} -s --retry 20 --retry-connrefused")

    assert '"charged user-7@example.com, once: order-7:run:0/charge-card"' in told
    assert re.search(r"RESTART\s+1\s+\S+\s+alice\s+new prices", told)
    assert '"principal": "alice"' in told
    assert [run["principal"] for run in json.loads(over_http)["runs"]] == ["alice", "alice"]
