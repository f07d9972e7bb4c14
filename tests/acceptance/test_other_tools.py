"""Other tools and languages: grpcurl, buf curl, Node, and the protos written for them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from rig import CHAIN, specs

import zart
from zart.testing.server import ServerUnderTest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def grpcurl(server: ServerUnderTest, *arguments: str) -> str:
    """Call the real grpcurl."""
    done = subprocess.run(
        [str(BIN / "grpcurl"), "-plaintext", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def call(server: ServerUnderTest, method: str, **request: Any) -> Any:
    """Call a method with grpcurl."""
    return json.loads(grpcurl(server, "-d", json.dumps(request), server.address, method))


ADMIN = "zart.v1.AdminService"


def test_grpcurl_lists_describes_and_makes_the_seven_admin_calls(
    zart_server: ServerUnderTest,
) -> None:
    services = grpcurl(zart_server, zart_server.address, "list").split()
    assert f"{ADMIN}" in services
    described = grpcurl(zart_server, zart_server.address, "describe", f"{ADMIN}.RetryStep")
    assert "rpc RetryStep" in described
    with zart.connect_sync(zart_server.address) as client:
        client.start("order", execution_id="exec-001", steps=specs(CHAIN))
        (task,) = client.lease_tasks("d", ["order"])
        ending = zart.Failed(zart.models.StepError("E", "declined", ""), retryable=False)
        client.report_tasks("d", [zart.Outcome(task.task_id, task.lease_token, ending)])

    paused = call(
        zart_server, f"{ADMIN}/Pause", taskName="order", stepPattern="a*", triggeredBy="ops"
    )
    rule = paused["rule"]
    assert rule["createdBy"] == "ops"
    retried = call(zart_server, f"{ADMIN}/RetryStep", executionId="exec-001", stepName="a")
    assert retried["step"]["status"] == "STEP_STATUS_PAUSED"
    listed = call(zart_server, f"{ADMIN}/ListPauseRules", taskName="order")
    assert len(listed["rules"]) == 1
    resumed = call(zart_server, f"{ADMIN}/Resume", ruleId=rule["ruleId"])
    assert resumed["rulesDeleted"] == 1
    restarted = call(zart_server, f"{ADMIN}/Restart", executionId="exec-001", payload={"n": 1})
    assert restarted["newRunId"] == "exec-001:run:1"
    plan = call(zart_server, f"{ADMIN}/Rerun", executionId="exec-001", validateOnly=True)
    assert plan["effectiveRerun"] == ["a", "b", "c"]
    runs = call(zart_server, f"{ADMIN}/ListRuns", executionId="exec-001")
    assert len(runs["runs"]) == 2


def test_buf_curl_speaks_to_it_too(zart_server: ServerUnderTest) -> None:
    done = subprocess.run(
        [str(BIN / "buf"), "curl", "--protocol", "grpc", "--http2-prior-knowledge",
         "-d", '{"everything": true}', f"http://{zart_server.address}/{ADMIN}/Pause"],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rule"]["everything"] is True


def test_zart_protos_writes_what_tools_without_reflection_need(
    tmp_path: Path, zart_server: ServerUnderTest
) -> None:
    written = subprocess.run(
        [sys.executable, "-m", "zart.cli", "protos", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "zart/v1/admin_service.proto" in written.stdout
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "zart.binpb").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)
    assert len(pool.FindServiceByName(ADMIN).methods) == 7
    compiled = subprocess.run(
        [str(BIN / "buf"), "build", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert compiled.returncode == 0, compiled.stderr
    listed = grpcurl(
        zart_server, "-protoset", str(tmp_path / "zart.binpb"), "-d", '{"everything": true}',
        zart_server.address, f"{ADMIN}/Pause",
    )  # fmt: skip
    assert "pr-" in listed


@pytest.mark.skipif(shutil.which("npm") is None, reason="node is not here")
def test_a_dispatcher_in_node_needs_only_the_protos(
    tmp_path: Path, zart_server: ServerUnderTest
) -> None:
    subprocess.run(
        [sys.executable, "-m", "zart.cli", "protos", str(tmp_path / "protos")], check=True
    )
    for name in ("package.json", "dispatcher.js"):
        shutil.copy(HERE / "node" / name, tmp_path / name)
    installed = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=180,
    )  # fmt: skip
    assert installed.returncode == 0, installed.stderr
    done = subprocess.run(
        ["node", "dispatcher.js", zart_server.address],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"doubled": 42}
    with zart.connect_sync(zart_server.address) as client:
        state = client.get_execution("from-node")
    assert (state.run.status, state.run.result) == ("COMPLETED", {"doubled": 42})
    assert state.step("double").attempts[0].dispatcher_id == "node"
