"""A whole run with everything going wrong: no log and no error text tells what it must not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import grpc
import pytest
from gateway.sending import Http
from issuing import Issuer, TokenFile
from ports import free_port
from rig import eventually
from waiting import GIVE_UP, until

import zart
from zart import errors
from zart.models import StepError
from zart.v1 import dispatch_service_pb2, execution_service_pb2

PAYLOAD = "marker-of-a-payload"
TOKEN = "zart_token-of-"  # noqa: S105 - what every static token here begins with
BAD_TOKEN = "marker-of-a-bad-token"  # noqa: S105 - likewise
SQL = ("SELECT ", "INSERT INTO", "UPDATE zart", "DELETE FROM", "WITH ", "RETURNING")

TASK = f"""
import zart
leaky = zart.Task("leaky")

@leaky.step(retry=zart.Retry(max_attempts=2, initial_backoff=0.0))
def explode(ctx):
    raise RuntimeError(ctx.payload["secret"])

@leaky.step(retry=zart.Retry(max_attempts=1))
async def not_json(ctx):
    return {{"{PAYLOAD}": object()}}

@leaky.step(retry=zart.Retry(max_attempts=1))
async def unstorable(ctx):
    return "{PAYLOAD}\\x00"

@leaky.step(retry=zart.Retry(max_attempts=1))
async def too_large(ctx):
    return "{PAYLOAD}" * 100_000
"""


class Processes:
    """Server and dispatcher as processes of their own, and what they and commands said."""

    def __init__(self, folder: Path, database: str, log_format: str) -> None:
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.http = f"127.0.0.1:{free_port()}"
        self.tokens = TokenFile(folder / "tokens")
        self.tokens.add("admin", "admin")
        issuer = Issuer()
        self.jwt = issuer.sign("marker-of-a-subject", "viewer")
        (folder / "leaky.py").write_text(TASK)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("ZART_")},
            "PYTHONPATH": str(folder),
            "ZART_ADDRESS": self.address,
            "ZART_AUTH_TOKENS": str(self.tokens.path),
            "ZART_DATABASE_URL": database,
            "ZART_LOG_FORMAT": log_format,
            "ZART_LOG_LEVEL": "debug",
            "ZART_TOKEN": f"{TOKEN}admin",
        }
        self.said: list[str] = []  # error texts

    @contextmanager
    def running(self, name: str, *arguments: str) -> Iterator[None]:
        """Run a command until the context is left; what it says goes into a file."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "zart.cli", *arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
            try:
                yield
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(GIVE_UP)

    async def command(self, *arguments: str, code: int, **environment: str) -> None:
        """Run a command to its end and keep what it says on stderr."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "zart.cli", *arguments,
            env={**self.environment, **environment}, cwd=self.folder,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        _, stderr = await process.communicate()
        self.said.append(stderr.decode())
        assert process.returncode == code, stderr.decode()

    async def refused(self, call: Awaitable[Any]) -> None:
        """Make a call that fails, and keep all that the error says."""
        with pytest.raises((errors.ZartError, grpc.aio.AioRpcError)) as caught:
            await call
        self.said.append(repr((caught.value, getattr(caught.value, "status", ""))))

    @asynccontextmanager
    async def client(self, token: str) -> AsyncIterator[zart.Client]:
        """Connect with a token."""
        credentials = zart.Credentials(token=token)
        async with zart.connect(self.address, credentials=credentials) as client:
            yield client

    def logs(self) -> dict[str, str]:
        """What was said, by whom."""
        found = {path.name: path.read_text() for path in self.folder.glob("*.log")}
        return {**found, "error texts": "\n".join(self.said)}


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_no_token_no_dsn_no_sql_and_no_payload(
    zart_database: str, tmp_path: Path, log_format: str
) -> None:
    run = Processes(tmp_path, zart_database, log_format)
    with run.running("server", "serve", "--listen", run.address):
        async with run.client(f"{TOKEN}admin") as admin:

            async def answers() -> bool:
                try:
                    await admin.list_executions()
                except errors.ZartError:
                    return False
                return True

            await eventually(answers)
            with run.running("dispatcher", "dispatch", "leaky"):
                await _steps_go_wrong(run, admin)
            with run.running("gateway", "gateway", "--listen", run.http):
                await _requests_go_wrong(run)
            await _callers_go_wrong(run, admin)
            await _the_database_goes_wrong(run, admin, zart_database)
    await run.command("status", "x", code=3, ZART_TOKEN=f"{TOKEN}gone")

    password = urlsplit(zart_database).password or ""
    assert len(password) > 20
    logs = run.logs()
    assert "defect" in logs["server.log"]  # it did go wrong
    assert "refused" in logs["server.log"]
    assert len(run.said) > 20
    for secret in (PAYLOAD, TOKEN, BAD_TOKEN, run.jwt, password, "postgresql://", *SQL):
        for name, text in logs.items():
            at = text.find(secret)
            assert at < 0, f"{name}: {text[max(0, at - 200) : at + 200]}"


async def _steps_go_wrong(run: Processes, admin: zart.Client) -> None:
    async def registered() -> bool:
        return bool(await admin.list_task_definitions())

    await eventually(registered)
    handle = await admin.start("leaky", {"secret": PAYLOAD}, execution_id="leaky-1")
    finished = await handle.run(timeout=GIVE_UP)
    assert finished.status.value == "FAILED"


async def _callers_go_wrong(run: Processes, admin: zart.Client) -> None:
    for token in (BAD_TOKEN, f"{BAD_TOKEN}.{BAD_TOKEN}.x", run.jwt, f"{TOKEN}stranger"):
        async with run.client(token) as client:
            await run.refused(client.list_executions().pages().__anext__())
    await run.command("list", code=1, ZART_TOKEN=BAD_TOKEN)
    await run.command("start", "t", "--payload", f'{{"{PAYLOAD}": 1e400}}', code=2)
    await run.command("start", "nobody", "--payload", f'"{PAYLOAD}"', code=1)
    await run.command("start", "t", "--payload", f'"{PAYLOAD}', code=2)

    start = execution_service_pb2.StartExecutionRequest
    rpc = admin.channel.unary_unary(
        "/zart.v1.ExecutionService/StartExecution",
        start.SerializeToString,
        execution_service_pb2.StartExecutionResponse.FromString,
    )
    for text in (f'"{PAYLOAD}', f'["{PAYLOAD}", NaN]', f'"{PAYLOAD}\\u0000"', f"[{PAYLOAD}]",
                 f'["{PAYLOAD}", 1e999]', f'"{PAYLOAD}"' * 2, "[" * 65 + PAYLOAD):  # fmt: skip
        await run.refused(rpc(start(task_name="t", payload_json=text)))
    await run.refused(admin.start("t", PAYLOAD * 100_000))
    for method in ("Restart", "Nothing"):
        raw: Any = admin.channel.unary_unary(f"/zart.v1.AdminService/{method}")
        await run.refused(raw(PAYLOAD.encode() + b"\xff"))
    report = admin.channel.unary_unary(
        "/zart.v1.DispatchService/ReportTasks",
        dispatch_service_pb2.ReportTasksRequest.SerializeToString,
        dispatch_service_pb2.ReportTasksResponse.FromString,
    )
    completed = dispatch_service_pb2.TaskCompleted(result_json=f'"{PAYLOAD}')
    outcome = dispatch_service_pb2.TaskOutcome(task_id="1-0-1", lease_token=1, completed=completed)
    request = dispatch_service_pb2.ReportTasksRequest(dispatcher_id="d", outcomes=[outcome])
    run.said.append(str((await report(request)).results[0].error))


async def _requests_go_wrong(run: Processes) -> None:
    http_ = Http(run.http)

    async def answers() -> bool:
        try:
            return (await asyncio.to_thread(http_.get, "/readyz")).status == 200
        except OSError:
            return False

    await eventually(answers)
    start, good = "/api/v1/executions", {"Authorization": f"Bearer {TOKEN}admin"}
    for token in (BAD_TOKEN, run.jwt, f"{TOKEN}stranger"):
        refused = await asyncio.to_thread(http_.get, start, Authorization=f"Bearer {token}")
        run.said.append(refused.text)
        assert refused.status == 401
    for body in (
        f'"{PAYLOAD}', f'{{"taskName": "t", "payload": {PAYLOAD}}}', f'["{PAYLOAD}"]',
        f'{{"taskName": "t", "misspelt": "{PAYLOAD}"}}', f'{{"taskName": ["{PAYLOAD}"]}}',
        f'{{"taskName": "t", "payloadJson": "{PAYLOAD}"}}', f'{{"payload": ["{PAYLOAD}", 1e999]}}',
        f'{{"taskName": "t", "ifExists": 7, "payload": "{PAYLOAD}"}}',
    ):  # fmt: skip
        refused = await asyncio.to_thread(http_.post, start, body, **good)
        run.said.append(refused.text)
        assert refused.status in (400, 404), refused.text


async def _the_database_goes_wrong(run: Processes, admin: zart.Client, url: str) -> None:
    await admin.start("t", PAYLOAD, execution_id="held", steps=[zart.StepSpec("a")])
    [task] = await admin.lease_tasks("d", ["t"])
    for n in range(20):
        await admin.start("t", None, execution_id=f"held-{n}", steps=[zart.StepSpec("a")])
    failed = zart.Failed(StepError("E", PAYLOAD, PAYLOAD), retryable=False)
    outcome = zart.Outcome(task.task_id, task.lease_token, failed)
    db = await asyncpg.connect(url)
    try:
        for broken, repaired in (
            (
                "ALTER TABLE zart.operations RENAME TO gone",
                "ALTER TABLE zart.gone RENAME TO operations",
            ),
            # As a constraint that fails: its text has the row.
            (
                "ALTER TABLE zart.runs ADD CONSTRAINT c CHECK (payload IS NULL) NOT VALID",
                "ALTER TABLE zart.runs DROP CONSTRAINT c",
            ),
        ):
            await db.execute(broken)
            await run.refused(admin.start("t", PAYLOAD, steps=[zart.StepSpec("a", input=PAYLOAD)]))
            await asyncio.gather(
                *(run.refused(admin.restart(f"held-{n}", payload=PAYLOAD)) for n in range(20))
            )
            await db.execute(repaired)
        await db.execute("ALTER TABLE zart.attempts RENAME TO gone")
        await run.refused(admin.report_tasks("d", [outcome]))
        await run.refused(admin.get_execution("held"))
        await db.execute("ALTER TABLE zart.gone RENAME TO attempts")
        await db.execute("ALTER TABLE zart.pause_work RENAME TO gone")
        log = run.folder / "server.log"
        await until(lambda: "maintenance failed" in log.read_text())
        await db.execute("ALTER TABLE zart.gone RENAME TO pause_work")
        await db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await eventually(lambda: _is_back(admin))
    finally:
        await db.close()


async def _is_back(admin: zart.Client) -> bool:
    try:
        await admin.get_execution("held")
    except errors.ZartError:
        return False
    return True
