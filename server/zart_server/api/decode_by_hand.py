"""CompleteStep and FailStep, checked and decoded."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart.v1.batch_pb2 import BatchCompleteStep
from zart_server.api.checks import Checks
from zart_server.api.fields import json_of, lines_of, name_of, optional_number
from zart_server.api.plans import planning_of
from zart_server.domain.by_hand import SKIPPED, CompleteStep, FailStep
from zart_server.domain.errors import InvalidField


def complete_step(request: pb.CompleteStepRequest) -> CompleteStep:
    """Decode CompleteStep: a result, or a skip."""
    with Checks() as check:
        return CompleteStep(
            execution_id=check(name_of, request.execution_id, "execution_id"),
            step_name=check(name_of, request.step_name, "step_name"),
            result_json=check(result_of, request),
            is_skip=request.skip,
            fence=request.fence,
            expected_attempt=check(optional_number, request, "expected_attempt", 0),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
            planning=check(planning_of, request),
        )


def result_of(request: pb.CompleteStepRequest | BatchCompleteStep, path: str = "") -> str:
    """Decode what a step is completed with, which stands at ``path`` in its request."""
    kind = request.WhichOneof("result_kind")
    if kind is None:
        raise InvalidField(f"{path}result", "is missing: set one of result, result_json and skip")
    if kind == "skip":
        if not request.skip:
            raise InvalidField(f"{path}skip", "is false: leave it out, and give a result")
        return SKIPPED
    text = json_of(request, "result_kind", "result", path)
    return SKIPPED if text is None else text


def fail_step(request: pb.FailStepRequest) -> FailStep:
    """Decode FailStep."""
    with Checks() as check:
        if not request.message or request.message.isspace():
            check.fail("message", "is empty: say why the step is failed")
        return FailStep(
            execution_id=check(name_of, request.execution_id, "execution_id"),
            step_name=check(name_of, request.step_name, "step_name"),
            message=check(lines_of, request.message, "message"),
            fence=request.fence,
            expected_attempt=check(optional_number, request, "expected_attempt", 0),
            expected_run_number=check(optional_number, request, "expected_run_number", 0),
            planning=check(planning_of, request),
        )
