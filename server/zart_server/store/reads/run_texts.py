"""Reads the payloads and results of runs for a page of them, as many as one message has room for.

They are measured before they are read, and before that by what they take where they are stored: a
page of long ones costs what it shows, however many others there are.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from zart_server.store.connection import Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.handler_inputs import RESULTS, read_large
from zart_server.store.heavy_rows import PAGE_BYTES
from zart_server.store.reads.results import RESULT_BYTES, result_of
from zart_server.store.statement import Statement
from zart_server.store.stored_graph import Definition

_LOOKED_AT = 20_000  # results of steps
_STEP_BYTES = 200  # about, of a step whose result is looked at
_MEASURED = """
    SELECT r.run_key, true AS is_payload, {payload} AS bytes
    FROM unnest(:run_keys::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT run_key, CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS made_in
        FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
    CROSS JOIN LATERAL (
        SELECT payload FROM zart.runs WHERE run_key = r.made_in OFFSET 0) p
    UNION ALL
    SELECT s.run_key, false, sum({result}) FROM {results} GROUP BY s.run_key
"""
# How long a text is, and how long it is at least: where it is stored it may be compressed, and has
# a head of at most four bytes.
_LENGTHS = {"at least": "pg_column_size({}) - 4", "exactly": "octet_length({}::text)"}
_SIZES = {
    name: Statement(
        _MEASURED.format(
            payload=length.format("p.payload"),
            result=length.format("o.result"),
            results=RESULTS.format(keys="unnest(:steps_of::bigint[], :step_nos::integer[])"),
        )
    )
    for name, length in _LENGTHS.items()
}


class RunToShow(NamedTuple):
    """A run whose texts are wanted; ``size`` is how many bytes all else of it has."""

    run_key: int
    definition_key: int
    is_completed: bool
    size: int


class RunTexts(NamedTuple):
    """What a run was given and what it came to; None where there is none, or too much to send."""

    payload_json: str | None
    result_json: str | None


async def read_run_texts(tx: Tx, runs: Sequence[RunToShow]) -> list[RunTexts]:
    """Read the payloads and results of the first of some runs, at least one: as many as 8 MiB hold.

    A result is that of ``run_result``. ``tx`` is to be a snapshot.
    """
    definitions = await find_definitions(
        tx, {run.definition_key for run in runs if run.is_completed}
    )
    sinks: dict[int, Sequence[int]] = {
        run.run_key: definitions[run.definition_key].graph.sinks if run.is_completed else ()
        for run in runs
    }
    shown = _first(runs, [len(sinks[run.run_key]) for run in runs], _LOOKED_AT)
    for length in _LENGTHS:
        sizes = await _sizes(tx, length, shown, sinks)
        for run in shown:
            if sizes.get((run.run_key, False), 0) > RESULT_BYTES:
                sinks[run.run_key] = ()
                del sizes[run.run_key, False]
        totals = [
            run.size + sum(sizes.get((run.run_key, is_payload), 0) for is_payload in (True, False))
            for run in shown
        ]
        shown = _first(shown, totals, PAGE_BYTES)
    wanted = [(run.run_key, number) for run in shown for number in sinks[run.run_key]]
    texts = await read_large(tx, [run.run_key for run in shown], wanted)
    return await tx.aside(
        _STEP_BYTES * len(wanted) + sum(len(text or "") for text in texts.values()),
        lambda: [
            RunTexts(
                texts.get((run.run_key, -1)),
                _result(run.run_key, definitions.get(run.definition_key), sinks, texts),
            )
            for run in shown
        ],
    )


def _first(runs: Sequence[RunToShow], sizes: Sequence[int], most: int) -> Sequence[RunToShow]:
    """Return the first runs, at least one, whose sizes come to no more than ``most``."""
    fitting = sum(total <= most for total in itertools.accumulate(sizes))
    return runs[: max(fitting, 1)]


async def _sizes(
    connection: Connection,
    length: str,
    runs: Sequence[RunToShow],
    sinks: Mapping[int, Sequence[int]],
) -> dict[tuple[int, bool], int]:
    """Measure the payload (True) and the result (False) of runs, by run key, in bytes."""
    steps = [(run.run_key, number) for run in runs for number in sinks[run.run_key]]
    statement = _SIZES[length]
    rows = await connection.fetch(
        statement.text,
        *statement.arguments(
            run_keys=[run.run_key for run in runs],
            steps_of=[run_key for run_key, _ in steps],
            step_nos=[number for _, number in steps],
        ),
    )
    return {(row["run_key"], row["is_payload"]): row["bytes"] or 0 for row in rows}


def _result(
    run_key: int,
    definition: Definition | None,
    sinks: Mapping[int, Sequence[int]],
    texts: Mapping[tuple[int, int], str],
) -> str | None:
    if definition is None or not sinks[run_key]:
        return None
    found: list[tuple[str, str]] = []
    for number in sinks[run_key]:
        text = texts.get((run_key, number))
        if text is None:
            return None
        found.append((definition.graph.steps[number].step_name, text))
    return result_of(found)
