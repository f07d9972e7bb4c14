"""Exports an execution whole, as one line of JSON: its runs, their steps, attempts, and operations.

A script of calls, that a client of either kind plays: each call is answered, and after the last one
there is the line. The parts are as the API answers them, in proto JSON.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, TypeAlias

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from zart.calls.audit import list_operations
from zart.calls.call import Call, ListCall
from zart.calls.changes import list_runs
from zart.calls.execution import get_execution, get_step

_PAGE = 1000
Script: TypeAlias = Generator[Call[Any], Any, str]


def exporting(execution_id: str) -> Script:
    """Yield the calls that an export of one execution takes; return its line.

    Results and inputs that an answer left out, since they are large, are read one by one.
    """
    runs: list[dict[str, Any]] = []
    execution: Message | None = None
    for run in (yield from _items(list_runs(execution_id, page_size=_PAGE), "runs")):
        number = run.run_number
        state = yield get_execution(execution_id, run_number=number)
        execution = state.execution
        steps = []
        for step in state.steps:
            found = step
            if step.result_omitted or step.input_omitted:
                answer = yield get_step(execution_id, step.step_name, run_number=number)
                found = answer.step
            steps.append(_parts(found))
        runs.append({**_parts(state.run), "steps": steps})
    operations = yield from _items(
        list_operations(execution_id=execution_id, page_size=_PAGE), "operations"
    )
    whole = {} if execution is None else _parts(execution)
    line = {**whole, "runs": runs, "operations": [_parts(each) for each in operations]}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))


def _items(call: ListCall[Any], field: str) -> Generator[Call[Any], Any, list[Any]]:
    """Return the items of all pages of a list."""
    found: list[Any] = []
    while True:
        page = yield call
        found += getattr(page, field)
        if not page.next_page_token:
            return found
        call = call.after(page.next_page_token)


def _parts(message: Message) -> dict[str, Any]:
    return MessageToDict(message, always_print_fields_with_no_presence=True)
