"""Inputs that operators corrected: read for leases and for comparison, kept by reruns."""

from __future__ import annotations

from hot.explained import Explained
from hot.scenario import BATCH, scenario
from hot.states import MANY
from zart_server.store.step_inputs import (
    InputKey,
    NewInput,
    input_of_step,
    insert_first_inputs,
    read_inputs,
)


@scenario()
async def reading_corrected_inputs(tx: Explained) -> None:
    keys = [InputKey(MANY + n, 1, 2) for n in range(1, BATCH + 1)]
    assert await read_inputs(tx.tx, keys, 8192) == dict.fromkeys(keys, ("1", 1))


@scenario(1)
async def finding_a_correction(tx: Explained) -> None:
    assert await input_of_step(tx.tx, MANY + 1, 1) is None


@scenario()
async def keeping_corrected_inputs(tx: Explained) -> None:
    new = 10**9  # a run that nobody has
    await insert_first_inputs(
        tx.tx,
        [NewInput(new + n, 1, None, InputKey(MANY + n, 1, 2)) for n in range(1, BATCH)]
        + [NewInput(new, 1, "2")],
    )
    count = await tx.sql.fetchval("SELECT count(*) FROM zart.step_inputs WHERE run_key >= $1", new)
    assert count == BATCH
