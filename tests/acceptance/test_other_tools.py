"""Other tools: grpcurl, buf curl, and the protos written for them and for other languages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from rig import CHAIN, specs
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent


def grpcurl(server: ServerUnderTest, *arguments: str) -> str:
    """Call the real grpcurl."""
    done = subprocess.run(
        [str(BIN / "grpcurl"), "-plaintext", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=GIVE_UP,
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
        capture_output=True, text=True, check=False, timeout=GIVE_UP,
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
    served = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
    assert len(pool.FindServiceByName(ADMIN).methods) == len(served.methods)
    compiled = subprocess.run(
        [str(BIN / "buf"), "build", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert compiled.returncode == 0, compiled.stderr
    listed = grpcurl(
        zart_server, "-protoset", str(tmp_path / "zart.binpb"), "-d", '{"everything": true}',
        zart_server.address, f"{ADMIN}/Pause",
    )  # fmt: skip
    assert "pr-" in listed


def test_protos_say_where_code_in_go_and_java_belongs(tmp_path: Path) -> None:
    """And the set has what the details of a status are, which no proto of ours imports."""
    subprocess.run([sys.executable, "-m", "zart.cli", "protos", str(tmp_path)], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "zart.binpb").read_bytes()).file

    for file in files:
        if file.package == "zart.v1":
            assert file.options.go_package == "zart/v1;zartv1", file.name
            assert file.options.java_package == "zart.v1", file.name
            assert file.options.java_multiple_files, file.name
    (details,) = [file for file in files if file.name == "google/rpc/error_details.proto"]
    assert {"ErrorInfo", "BadRequest", "RetryInfo"} <= {m.name for m in details.message_type}
    assert (tmp_path / details.name).exists()


def test_lint_refuses_protos_that_break_callers(tmp_path: Path) -> None:
    root = HERE.parents[1]
    shutil.copytree(root / "protos", tmp_path / "protos")
    shutil.copy(root / "buf.yaml", tmp_path)
    changed = tmp_path / "protos" / "zart" / "v1" / "admin_service.proto"
    subprocess.run(["make", "-s", "build/protos"], cwd=root, check=True)
    shutil.copytree(root / "build" / "protos", tmp_path / "build" / "protos")
    compare = next(line.strip() for line in (root / "Makefile").read_text().splitlines()
                   if "buf breaking" in line)  # fmt: skip
    command = compare.replace("$(BIN)", str(BIN)).replace("$(PUBLISHED)", "protos/published.binpb")

    assert subprocess.run(command.split(), cwd=tmp_path, check=False).returncode == 0
    changed.write_text(changed.read_text().replace("rules_deleted = 1", "rules_gone = 1"))
    broken = subprocess.run(
        command.split(), cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert broken.returncode != 0
    assert "rules_deleted" in broken.stdout
