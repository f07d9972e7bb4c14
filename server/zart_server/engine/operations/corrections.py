"""Finds what operators correct: inputs and payloads that say something else than the present ones.

What says the same corrects nothing: it has no number of its own, and makes nothing run again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zart_server import aside
from zart_server.domain.rerun import StepInput
from zart_server.domain.same_json import are_same
from zart_server.engine.operations.supersede import CurrentRun
from zart_server.store.connection import Connection
from zart_server.store.handler_inputs import read_large
from zart_server.store.step_inputs import InputKey, input_of_step, read_inputs

_AT_ONCE = 16  # inputs that are read together: each may have 1 MiB


async def find_corrections(
    connection: Connection,
    current: CurrentRun,
    inputs: Sequence[StepInput],
    standing: Mapping[int, InputKey],
) -> dict[int, str]:
    """Return those of the inputs that correct something, by the number of their step.

    The steps are of the run's graph. ``standing`` has the inputs that were corrected before.
    """
    graph = current.definition.graph
    found: dict[int, str] = {}
    for start in range(0, len(inputs), _AT_ONCE):
        part = [
            (graph.index[item.step_name], item.input_json) for item in inputs[start:][:_AT_ONCE]
        ]
        keys = [standing[number] for number, _ in part if number in standing]
        texts = await read_inputs(connection, keys) if keys else {}
        for number, text in part:
            key = standing.get(number)
            present = graph.steps[number].input_json if key is None else texts[key][0]
            if not await _are_same(present, text):
                found[number] = text
    return found


async def find_correction(
    connection: Connection, current: CurrentRun, item: StepInput
) -> str | None:
    """Return the input of one step of the run if it corrects something."""
    run_key, step_no = current.run.run_key, current.definition.graph.index[item.step_name]
    standing = await input_of_step(connection, run_key, step_no)
    keys = {} if standing is None else {step_no: standing}
    return (await find_corrections(connection, current, [item], keys)).get(step_no)


async def is_other_payload(connection: Connection, current: CurrentRun, payload_json: str) -> bool:
    """Return whether a payload says something else than that of the current run."""
    run_key = current.run.run_key
    present = (await read_large(connection, [run_key], []))[run_key, -1]
    return not await _are_same(present, payload_json)


async def _are_same(present: str | None, text: str) -> bool:
    return await aside.done(len(present or "") + len(text), are_same, present, text)
