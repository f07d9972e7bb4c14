"""The OpenAPI document: it tells the table, and a tester that believes it finds no 5xx."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from gateway.sending import Http
from gateway.test_table import TABLE
from rig import Rig

BIN = Path(sys.executable).parent
# The tester's "coverage" of each value at each place takes minutes: `make fuzz` adds it.
PHASES = os.environ.get("ZART_TEST_PHASES", "fuzzing")
# Left out is positive_data_acceptance: most of what can be wrong no schema can tell.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
)


def test_it_is_served_and_tells_the_table(http_: Http) -> None:
    served = http_.get("/openapi.json")

    assert served.headers["Content-Type"] == "application/json"
    found = {
        (
            method.upper(),
            path,
            re.sub(r"^[A-Z][A-Za-z]+Service_|By.*$", "", operation["operationId"]),
        )
        for path, item in served.json["paths"].items()
        for method, operation in item.items()
    }
    assert found == set(TABLE)


def test_operations_are_named_once_and_summed_up(http_: Http) -> None:
    document = http_.get("/openapi.json").json
    operations = [op for item in document["paths"].values() for op in item.values()]
    names = [operation["operationId"] for operation in operations]

    assert len(set(names)) == len(names)
    assert {"AdminService_Pause", "AdminService_Resume", "AdminService_ResumeByRuleId"} <= {*names}
    # Generators name types after both.
    assert not {*names} & {*document["components"]["schemas"]}
    for operation in operations:
        assert operation["summary"], operation["operationId"]
        assert operation["summary"] in operation["description"]


def test_what_makes_a_repeat_safe_is_offered_wherever_it_is_taken(http_: Http) -> None:
    paths = http_.get("/openapi.json").json["paths"]
    offered = {
        (method.upper(), path)
        for path, item in paths.items()
        for method, operation in item.items()
        if "Idempotency-Key" in [each["name"] for each in operation.get("parameters", ())]
    }

    assert offered == {(method, path) for method, path, _ in TABLE if method != "GET"}


def test_schemas_have_nothing_that_generators_drop(http_: Http) -> None:
    for name, schema in http_.get("/openapi.json").json["components"]["schemas"].items():
        assert not {"allOf", "oneOf", "not", "if"} & schema.keys(), name


def test_nothing_is_said_to_take_null(http_: Http) -> None:
    """Each null is refused, and none is in an answer, but in a field of any JSON value."""
    served = http_.get("/openapi.json").text

    assert not re.search(r'"null"|"nullable"', served)


def test_every_element_is_described(http_: Http) -> None:
    schemas = http_.get("/openapi.json").json["components"]["schemas"]

    for name, schema in schemas.items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            assert described["description"], f"{name}.{field}"


def drive(http_: Http, method: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the tester on the operations of one method."""
    return subprocess.run(
        [
            str(BIN / "schemathesis"), "run", f"http://{http_.address}/openapi.json",
            "--checks", ",".join(CHECKS), "--phases", PHASES,
            "--max-examples", "5", "--seed", "1", "--include-method", method,
            "--request-timeout", "10", "--no-color",
            "--exclude-path", "/api/v1/executions:run",  # nobody works on what it would start
        ],
        cwd=folder, capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
async def test_schemathesis_finds_nothing(
    rig: Rig, http_: Http, tmp_path: Path, method: str
) -> None:
    for name in ("0", "00"):  # the ids that it likes; finished, so that a watch ends
        await rig.dead(name, step="b")

    done = await asyncio.to_thread(drive, http_, method, tmp_path)

    assert done.returncode == 0, done.stdout
    assert re.search(r"([1-9]\d*) generated, \1 passed", done.stdout), done.stdout


async def test_what_is_served_is_what_is_checked_in(http_: Http) -> None:
    checked_in = Path(__file__).parents[2] / "client/zart/gateway/openapi.json"

    assert http_.get("/openapi.json").json == json.loads(checked_in.read_text())
