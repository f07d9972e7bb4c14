"""Encodes the operations that batches do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zart.calls.choices import number_of
from zart.calls.payload import json_text
from zart.calls.several import several
from zart.models.batch_operations import (
    SAME,
    BatchOperation,
    CancelExecution,
    CompleteStep,
    FailStep,
    Rerun,
    Restart,
    RetryStep,
)
from zart.v1 import admin_service_pb2, batch_pb2


def operation_of(operation: BatchOperation) -> batch_pb2.BatchOperation:
    """Encode what is done to each item. Raises TypeError for what no batch does."""
    encode = _ENCODERS.get(type(operation))
    if encode is None:
        raise TypeError(f"{operation!r} is no operation of batches")
    return encode(operation)


def _retry_step(operation: RetryStep) -> batch_pb2.BatchOperation:
    retry = batch_pb2.BatchRetryStep(
        max_attempts=operation.max_attempts, accept_in_doubt=operation.accept_in_doubt
    )
    if operation.input is not SAME:
        retry.input_json = json_text(operation.input)
    return batch_pb2.BatchOperation(retry_step=retry)


def _restart(operation: Restart) -> batch_pb2.BatchOperation:
    restart = batch_pb2.BatchRestart(
        if_running=number_of(admin_service_pb2.IfRunning, operation.if_running, "if_running"),
        accept_in_doubt=operation.accept_in_doubt,
    )
    if operation.payload is not SAME:
        restart.payload_json = json_text(operation.payload)
    return batch_pb2.BatchOperation(restart=restart)


def _rerun(operation: Rerun) -> batch_pb2.BatchOperation:
    rerun = batch_pb2.BatchRerun(
        force_rerun=several(operation.force_rerun),
        preserve=several(operation.preserve),
        include_downstream=operation.include_downstream,
        if_running=number_of(admin_service_pb2.IfRunning, operation.if_running, "if_running"),
        accept_in_doubt=operation.accept_in_doubt,
    )
    return batch_pb2.BatchOperation(rerun=rerun)


def _cancel(_operation: CancelExecution) -> batch_pb2.BatchOperation:
    return batch_pb2.BatchOperation(cancel_execution=batch_pb2.BatchCancelExecution())


def _complete_step(operation: CompleteStep) -> batch_pb2.BatchOperation:
    complete = batch_pb2.BatchCompleteStep(fence=operation.fence)
    if operation.skip:
        complete.skip = True
    elif operation.result is not SAME:
        complete.result_json = json_text(operation.result)
    return batch_pb2.BatchOperation(complete_step=complete)


def _fail_step(operation: FailStep) -> batch_pb2.BatchOperation:
    fail = batch_pb2.BatchFailStep(message=operation.message, fence=operation.fence)
    return batch_pb2.BatchOperation(fail_step=fail)


_ENCODERS: Mapping[type[BatchOperation], Callable[[Any], batch_pb2.BatchOperation]] = {
    RetryStep: _retry_step,
    Restart: _restart,
    Rerun: _rerun,
    CancelExecution: _cancel,
    CompleteStep: _complete_step,
    FailStep: _fail_step,
}
