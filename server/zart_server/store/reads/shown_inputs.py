"""How many inputs of the steps of a run an answer has room for."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from zart_server.domain.json_text import utf8_size
from zart_server.store.stored_graph import Definition


def inputs_end(rows: Sequence[asyncpg.Record], definition: Definition, room: int) -> int:
    """Return the number of the first step whose input has no place in so many bytes any more.

    Corrected inputs count with those of the definition. The rows have as much of them, and no more.
    """
    for row in rows:
        number: int = row["step_no"]
        corrected = row["shown_input"]
        if row["correction"] is None:
            room -= definition.input_bytes[number]
        elif corrected is None:
            return number
        else:
            room -= utf8_size(corrected)
        if room < 0:
            return number
    return len(definition.graph.steps)
