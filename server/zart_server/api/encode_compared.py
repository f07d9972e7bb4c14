"""Two runs side by side, domain to proto."""

from __future__ import annotations

from zart.v1 import admin_service_pb2 as pb
from zart_server.api import encode
from zart_server.api.encode_step import STEP_STATUS
from zart_server.domain.compared import ComparedRuns, ComparedStep, RunSide


def compared_runs(item: ComparedRuns) -> pb.CompareRunsResponse:
    """Encode two runs side by side."""
    return pb.CompareRunsResponse(
        base=encode.run(item.base),
        compared=encode.run(item.compared),
        payload_equal=item.payload_equal,
        steps=map(_step, item.steps),
    )


def _step(item: ComparedStep) -> pb.ComparedStep:
    return pb.ComparedStep(
        step_name=item.step_name,
        base=None if item.base is None else _side(item.base),
        compared=None if item.compared is None else _side(item.compared),
        result_equal=item.result_equal,
        preserved=item.preserved,
    )


def _side(item: RunSide) -> pb.RunSide:
    return pb.RunSide(
        status=STEP_STATUS[item.status],
        attempts=item.attempts,
        duration=None if item.duration is None else encode.duration(item.duration),
        error=encode.step_error(item.error),
    )
