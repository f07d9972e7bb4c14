"""Finds what operators correct: inputs and payloads that say something else than the present ones.

What says the same corrects nothing: it has no number of its own, and makes nothing run again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from zart_server.domain.rerun import StepInput
from zart_server.domain.same_json import are_same
from zart_server.engine.operations.supersede import CurrentRun
from zart_server.store.connection import Connection
from zart_server.store.handler_inputs import read_large
from zart_server.store.step_inputs import InputKey, input_of_step, read_inputs

_AT_ONCE = 16  # inputs, or payloads, that are read together: each may have 1 MiB


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
    asked = {graph.index[item.step_name]: item.input_json for item in inputs}
    first = {n: graph.steps[n].input_json for n in asked if n not in standing}
    differing = await _differing(connection, first, asked)
    again = [number for number in asked if number in standing]
    for start in range(0, len(again), _AT_ONCE):
        part = again[start:][:_AT_ONCE]
        texts = await read_inputs(connection, [standing[number] for number in part])
        present = {number: texts[standing[number]][0] for number in part}
        differing |= await _differing(connection, present, asked)
    return {number: text for number, text in asked.items() if number in differing}


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
    return bool(await _differing(connection, {-1: present}, {-1: payload_json}))


async def made_with_others(
    connection: Connection, current: CurrentRun, payload_json: str | None, made_in: Iterable[int]
) -> set[int]:
    """Return those of the runs, by key, whose payloads say something else than the next run's.

    That is ``payload_json``; None: the current run's.
    """
    others, found = sorted(set(made_in)), set[int]()
    if others and payload_json is None:
        run_key = current.run.run_key
        payload_json = (await read_large(connection, [run_key], []))[run_key, -1]
    for start in range(0, len(others), _AT_ONCE):
        part = others[start:][:_AT_ONCE]
        texts = await read_large(connection, part, [])
        present = {key: texts[key, -1] for key in part}
        found |= await _differing(connection, present, dict.fromkeys(part, payload_json))
    return found


async def _differing(
    connection: Connection,
    present: Mapping[int, str | None],
    asked: Mapping[int, str | None],
) -> set[int]:
    """Return the numbers of those that are present for which something else is asked."""
    return await connection.aside(
        sum(len(text or "") + len(asked[number] or "") for number, text in present.items()),
        lambda: {number for number, text in present.items() if not are_same(text, asked[number])},
    )
