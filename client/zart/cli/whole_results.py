"""The result of a run that is shown, whatever its size."""

from __future__ import annotations

import time
from typing import Any

from zart.cli.session import Session
from zart.decoding import decode, lacks_result
from zart.models import Run
from zart.run_results import result_in, whole_result
from zart.scripts import play_sync
from zart.v1.execution_service_pb2 import GetExecutionResponse


def with_result(session: Session, message: Any) -> Any:  # noqa: ANN401 - messages known by their run
    """Fill in the result of a COMPLETED run that was too large for an answer; return the answer.

    It takes no longer than one call may, as no call begins after that.
    """
    if lacks_result(message.run):
        has_all_steps = isinstance(message, GetExecutionResponse)
        script = result_in(message) if has_all_steps else whole_result(decode(Run, message.run))
        until = None if session.timeout is None else time.monotonic() + session.timeout
        message.run.result_json = play_sync(session.client.send_raw, script, until)
    return message
