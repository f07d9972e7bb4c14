"""Leaves out of an answer what would make it larger than a message may be.

Of a run, results, inputs and errors have bounds of their own (``store.reads``); the run's result
and payload, names and attempts come on top of them, and all of them together may be more than
callers take. Names have a bound where a graph comes in (``domain.graph``), by which an answer
without what is left out here fits.
"""

from __future__ import annotations

from typing import TypeAlias

from zart.v1 import execution_pb2, task_definition_pb2
from zart.v1 import execution_service_pb2 as pb

_MOST = 15 * 1024 * 1024  # bytes, of the 16 MiB that callers take: it may be part of a message
_TYPE, _MESSAGE = 100, 200  # characters that are left of an error
_State: TypeAlias = pb.GetExecutionResponse | pb.WatchExecutionResponse


def leave_out_too_much(state: _State, most: int = _MOST) -> None:
    """Have an answer take no more than so many bytes, if it can: GetStep has what is left out.

    First goes the run's result, which the steps have, too; then inputs, errors and results, of the
    last steps first, as many as have to; then what they wait for, attempts, and what is left of
    errors, and last the handlers of graphs that are stored from before there was a bound. Measuring
    takes a hundredth of what encoding a few steps does, and five of what encoding a thousand does.
    """
    over = state.ByteSize() - most
    if over <= 0:
        return
    over -= len(state.run.result_json.encode())
    state.run.ClearField("result_json")
    for leave_out in _STAGES:
        for step in reversed(state.steps):
            if over <= 0:
                return
            before = step.ByteSize()
            leave_out(step)
            over -= before - step.ByteSize()


def without_steps_if_too_large(
    definition: task_definition_pb2.TaskDefinition,
) -> task_definition_pb2.TaskDefinition:
    """Take the steps out of a definition which no list could be sent with; it is changed."""
    if definition.ByteSize() > _MOST:
        definition.ClearField("steps")
    return definition


def _without_waiting_on(step: execution_pb2.Step) -> None:
    step.ClearField("waiting_on")


def _without_input(step: execution_pb2.Step) -> None:
    step.input_omitted = step.input_omitted or step.HasField("input_json")
    step.ClearField("input_json")


def _without_result(step: execution_pb2.Step) -> None:
    step.result_omitted = step.result_omitted or step.HasField("result_json")
    step.ClearField("result_json")


def _without_errors(step: execution_pb2.Step) -> None:
    """Cut errors as those are of which a run has too many."""
    for error in (step.last_error, *(one.error for one in step.attempts)):
        if error.details or len(error.type) > _TYPE or len(error.message) > _MESSAGE:
            error.ClearField("details")
            error.type, error.message = error.type[:_TYPE], error.message[:_MESSAGE]
            step.errors_omitted = True


def _without_earlier_attempts(step: execution_pb2.Step) -> None:
    if len(step.attempts) > 1:
        del step.attempts[:-1]
        step.errors_omitted = True


def _without_attempts(step: execution_pb2.Step) -> None:
    if step.attempts:
        step.ClearField("attempts")
        step.errors_omitted = True


def _without_last_error(step: execution_pb2.Step) -> None:
    if step.HasField("last_error"):
        step.ClearField("last_error")
        step.errors_omitted = True


def _without_handler(step: execution_pb2.Step) -> None:
    step.ClearField("handler")


_STAGES = (
    _without_input,
    _without_errors,
    _without_result,
    _without_waiting_on,
    _without_earlier_attempts,
    _without_attempts,
    _without_last_error,
    _without_handler,
)
