"""Exports an execution whole, as one line of JSON: its runs, their steps, attempts, and operations.

A script of calls, that a client of either kind plays: each call is answered, and after the last one
there is the line. The parts are as the API answers them, in proto JSON. Of a run that was read only
its text is kept: an execution may have many, each as large as memory is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from zart.calls.audit import list_operations
from zart.calls.call import moment
from zart.calls.execution import get_execution, get_step
from zart.decoding import lacks_result
from zart.former import FormerOperations, check_same, removed_meanwhile
from zart.run_results import joined, last_steps
from zart.scripts import Script
from zart.v1.audit_service_pb2 import OPERATION_KIND_START, Operation
from zart.v1.execution_pb2 import Step
from zart.v1.execution_service_pb2 import GetExecutionResponse

_PAGE = 1000
# What a line has where GetStep cuts errors, too: past 4 MiB of one step. No text in it has that:
# its quotes are escaped.
ERRORS_OMITTED = '"errorsOmitted":true'


def exporting(execution_id: str, created_at: datetime | None = None) -> Script[str]:
    """Yield the calls that an export of one execution takes; return its line.

    ``created_at`` says which one of those that had the id; None: the one that has it now.

    That is one for each run, the current one first, whose number is the last; and one for the
    operations. Steps of which an answer left something out, being large, are read one by one. Then,
    or where another one had the id before, the execution is read once more.

    Raises ExecutionNotFound where its id is another one's meanwhile.
    """
    began = moment(created_at, "created_at")
    current = yield get_execution(execution_id)
    execution, last = current.execution, current.run.run_number
    if began is not None and execution.created_at != began:
        raise removed_meanwhile(execution_id)
    is_apart = any(map(_is_cut, current.steps))
    runs = [(yield from _run(current))]
    del current
    for number in range(last):
        state = yield get_execution(execution_id, run_number=number)
        check_same(execution, state.execution)
        is_apart = is_apart or any(map(_is_cut, state.steps))
        runs.insert(number, (yield from _run(state)))
    operations, is_used_again = yield from _operations(execution_id)
    # Answers about steps, and operations, do not say of which execution with the id.
    if is_apart or is_used_again:
        check_same(execution, (yield get_execution(execution_id)).execution)
    whole = [_text(execution)[:-1], ',"runs":[', *_joined(runs), '],"operations":[']
    whole += [*_joined([_text(each)] for each in operations), "]}"]
    return "".join(whole)


def _is_cut(step: Step) -> bool:
    # No step is without a handler, unless its answer had no room for it.
    omitted = step.result_omitted or step.input_omitted or step.errors_omitted
    return omitted or not step.handler


def _run(state: GetExecutionResponse) -> Script[list[str]]:
    """Return the text of a run with its steps, in pieces."""
    run = state.run
    steps = []
    for step in state.steps:
        found = step
        if _is_cut(step):
            answer = yield get_step(run.execution_id, step.step_name, run_number=run.run_number)
            found = answer.step
            # What a COMPLETED run has stays as it is: this is a step of another one.
            if lacks_result(run) and found.completed_at != step.completed_at:
                raise removed_meanwhile(run.execution_id)
        steps.append(found)
    if lacks_result(run):
        run.result_json = joined(run, last_steps(steps))
    return [_text(run)[:-1], ',"steps":[', *_joined([_text(step)] for step in steps), "]}"]


def _operations(execution_id: str) -> Script[tuple[list[Operation], bool]]:
    """Return what was done to the one that has the id, and whether there was another before it.

    What was done to neither, since it was before the first start, is also in it: a pause rule may
    exempt, or name, what is still to come.
    """
    found: list[Operation] = []
    since_start = 0
    former = FormerOperations()
    call = list_operations(execution_id=execution_id, page_size=_PAGE)
    while True:
        page = yield call
        for operation in page.operations:
            is_start = operation.kind == OPERATION_KIND_START
            if former.reached(is_start=is_start, is_of_run=operation.HasField("run_number")):
                return found[:since_start], True
            found.append(operation)
            if is_start:
                since_start = len(found)
        if not page.next_page_token:
            return found, False
        call = call.after(page.next_page_token)


def _text(message: Message) -> str:
    parts = MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":"))


def _joined(texts: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the pieces of texts, with a comma between two texts."""
    for number, pieces in enumerate(texts):
        if number:
            yield ","
        yield from pieces
