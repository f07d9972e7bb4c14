"""The result of a run that is shown, whatever its size."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from zart.cli.session import Session
from zart.decoding import decode, lacks_result
from zart.errors import Refused, Unreachable
from zart.models import Run
from zart.run_results import result_in, whole_result
from zart.scripts import play_sync
from zart.v1.execution_service_pb2 import GetExecutionResponse

NOT_READ = "not read: "  # no JSON text begins so


@contextlib.contextmanager
def result_after(session: Session, message: Any) -> Iterator[str]:  # noqa: ANN401 - known by its run
    """Give the result of an answer's run, which it is filled in where it was too large for that.

    Where it cannot be read, why is given in its place, behind ``NOT_READ``, and raised afterwards:
    what the answer has is shown all the same. It takes no longer than one call may, as no call
    begins after that.
    """
    failure: Exception | None = None
    if lacks_result(message.run):
        try:
            message.run.result_json = _whole_of(session, message)
        except (Refused, Unreachable, TimeoutError) as error:
            failure = error
    yield message.run.result_json if failure is None else f"{NOT_READ}{failure}"
    if failure is not None:
        raise failure


def _whole_of(session: Session, message: Any) -> str:  # noqa: ANN401 - as above
    has_all_steps = isinstance(message, GetExecutionResponse)
    script = result_in(message) if has_all_steps else whole_result(decode(Run, message.run))
    until = None if session.timeout is None else time.monotonic() + session.timeout
    return play_sync(session.client.send_raw, script, until)
