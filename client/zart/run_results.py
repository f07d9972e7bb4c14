"""The result of a run, whatever its size.

That of a COMPLETED run which is too large for an answer, with more than 4 MiB, is left out of it.
It is put together here as the server does it: of the results of the steps on which none depends,
which GetStep has one by one.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC
from typing import Any

from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from zart.calls.call import Call
from zart.calls.execution import get_execution, get_step
from zart.decoding import lacks_result
from zart.errors import Refused, RunFailed
from zart.former import removed_meanwhile
from zart.json_values import value_of
from zart.models import Json, Run, RunStatus
from zart.scripts import Script, play, play_sync
from zart.v1 import execution_pb2 as states
from zart.v1.execution_service_pb2 import GetExecutionResponse


async def result_of(send: Callable[[Call[Any]], Awaitable[Message]], run: Run) -> Json:
    """Return the result of a finished run. Raises RunFailed, and as ``whole_result``."""
    _check_completed(run)
    return value_of(await play(send, whole_result(run))) if run.result_omitted else run.result


def result_of_sync(
    send: Callable[[Call[Any]], Message], run: Run, until: float | None = None
) -> Json:
    """Return the result of a finished run, as ``result_of``; raises TimeoutError ``until`` then."""
    _check_completed(run)
    if not run.result_omitted:
        return run.result
    return value_of(play_sync(send, whole_result(run), until))


def whole_result(run: Run) -> Script[str]:
    """Yield the calls that the result of a COMPLETED run takes; return its exact JSON text.

    Raises ExecutionNotFound where the run was removed, and its number is another one's by now.
    """
    state = yield get_execution(run.execution_id, run_number=run.run_number)
    now = state.run
    created = now.created_at.ToDatetime(tzinfo=UTC) if now.HasField("created_at") else None
    if created != run.created_at:
        raise removed_meanwhile(run.execution_id)
    return (yield from result_in(state))


def result_in(state: GetExecutionResponse) -> Script[str]:
    """Yield the calls for what an answer has left out of its run's result; return that, as JSON.

    Raises as ``whole_result``.
    """
    run = state.run
    if not lacks_result(run):
        return run.result_json
    found = []
    for step in last_steps(state.steps):
        whole = step
        if not step.HasField("result_json"):
            answer = yield get_step(run.execution_id, step.step_name, run_number=run.run_number)
            whole = answer.step
            if whole.completed_at != step.completed_at:  # the answer does not say of which run
                raise removed_meanwhile(run.execution_id)
        found.append(whole)
    return joined(run, found)


def last_steps(steps: Sequence[states.Step]) -> list[states.Step]:
    """Return the steps on which none depends, of all those of a run."""
    needed = {name for step in steps for name in step.depends_on}
    return [step for step in steps if step.step_name not in needed]


def joined(run: states.Run, steps: Sequence[states.Step]) -> str:
    """Make a run's result of those of its last steps. Raises Refused where one has none."""
    for step in steps:
        if not step.HasField("result_json"):
            message = f"the server has no result of {step.step_name!r}, a step of {run.run_id}"
            raise Refused(status_pb2.Status(code=code_pb2.INTERNAL, message=message))
    if len(steps) == 1:
        return steps[0].result_json
    members = (
        f"{json.dumps(step.step_name, ensure_ascii=False)}:{step.result_json}" for step in steps
    )
    return "{" + ",".join(members) + "}"


def _check_completed(run: Run) -> None:
    if run.status is not RunStatus.COMPLETED:
        raise RunFailed(run)
