"""The mutations that end a step by hand, each with what the engine does for it."""

from __future__ import annotations

from typing import TypeVar

from zart.v1 import admin_service_pb2 as pb
from zart_server.api import decode_by_hand as decode
from zart_server.api import encode, encode_step
from zart_server.api.checks import with_caller
from zart_server.api.mutations.mutation import Mutation
from zart_server.domain.by_hand import EndedStep, EndStep
from zart_server.engine.operations.complete_step import complete_steps
from zart_server.engine.operations.fail_step import fail_steps

Response = TypeVar("Response", pb.CompleteStepResponse, pb.FailStepResponse)


def _execution_id(command: EndStep) -> str:
    return command.execution_id


def _ended(response: type[Response], done: EndedStep) -> Response:
    step = encode_step.step(done.step)
    step.ClearField("input_json")
    return response(
        run_id=done.run_id,
        step=step,
        fenced_steps=map(encode.fenced_step, done.fenced_steps),
        run_status=encode.RUN_STATUS[done.run_status],
        plan_token=done.plan_token,
        planned=bool(done.plan_token),
    )


def _completed(done: EndedStep) -> pb.CompleteStepResponse:
    return _ended(pb.CompleteStepResponse, done)


def _failed(done: EndedStep) -> pb.FailStepResponse:
    return _ended(pb.FailStepResponse, done)


COMPLETE_STEP = Mutation(
    response_type=pb.CompleteStepResponse,
    decode=with_caller(decode.complete_step),
    operate=complete_steps,
    encode=_completed,
    target=_execution_id,
)
FAIL_STEP = Mutation(
    response_type=pb.FailStepResponse,
    decode=with_caller(decode.fail_step),
    operate=fail_steps,
    encode=_failed,
    target=_execution_id,
)
