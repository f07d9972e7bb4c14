"""Task definitions: graphs stored once by content, and the lanes that their steps queue in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.graph import Graph, WrittenGraph, from_json
from zart_server.store.connection import Connection, Tx
from zart_server.store.statement import Statement
from zart_server.store.stored_graph import Definition

_STEP_BYTES = 150  # about, of a step that is looked at
_LANES = 5_000  # in a statement: to write and to read them holds the event loop for a moment


async def lock_task_name(tx: Tx, task_name: str) -> int | None:
    """Lock a task's row, inserted if missing, and return the key of its current definition."""
    await tx.execute(
        "INSERT INTO zart.task_names (task_name) VALUES ($1) ON CONFLICT DO NOTHING", task_name
    )
    key: int | None = await tx.fetchval(
        "SELECT definition_key FROM zart.task_names WHERE task_name = $1 FOR NO KEY UPDATE",
        task_name,
    )
    return key


async def set_current(tx: Tx, task_name: str, definition_key: int) -> None:
    """Make a definition the current one of its task, whose row the caller has locked."""
    await tx.execute(
        "UPDATE zart.task_names SET definition_key = $2 WHERE task_name = $1",
        task_name,
        definition_key,
    )


async def next_version(tx: Tx, task_name: str) -> int:
    """Return the version that new content gets; the caller has locked the task's row.

    Of inline graphs, which have none, a task may have millions: the index of versions has none.
    """
    version: int = await tx.fetchval(
        "SELECT COALESCE(max(version), 0) + 1 FROM zart.definitions"
        " WHERE task_name = $1 AND version > 0",
        task_name,
    )
    return version


class _Lanes(NamedTuple):
    """Lanes that are wanted, in the order in which they are locked.

    ``step_names``: of what has but one step, the name of that.
    """

    task_names: Sequence[str]
    handlers: Sequence[str]
    step_names: Sequence[str | None]


async def ensure_lanes(tx: Tx, graphs: Sequence[tuple[str, Graph]]) -> dict[tuple[str, str], int]:
    """Return the lane of each handler of tasks' graphs by task and handler; made where missing.

    A lane knows its step as long as it has but one. Locks new rows in order.
    """
    steps = sum(len(graph.steps) for _, graph in graphs)
    lanes: dict[tuple[str, str], int] = {}
    several: list[int] = []
    for wanted in await tx.aside(_STEP_BYTES * steps, _wanted_lanes, graphs):
        arrays = wanted.task_names, wanted.handlers
        found = await _find_lanes(tx, *arrays)
        if len(found) < len(wanted.handlers):
            await tx.execute(
                "INSERT INTO zart.lanes (task_name, handler, step_name)"
                " SELECT t, h, s FROM unnest($1::text[], $2::text[], $3::text[])"
                " WITH ORDINALITY u(t, h, s, n)"
                " WHERE NOT EXISTS (SELECT FROM zart.lanes WHERE task_name = t AND handler = h)"
                " ORDER BY n ON CONFLICT DO NOTHING",
                *wanted,
            )
            found = await _find_lanes(tx, *arrays)
        for task, handler, step_name in zip(*wanted, strict=True):
            lane, name = found[task, handler]
            lanes[task, handler] = lane
            if name is not None and name != step_name:
                several.append(lane)
    if several:
        await tx.execute(
            "UPDATE zart.lanes SET step_name = NULL WHERE lane = ANY(ARRAY(SELECT lane"
            " FROM zart.lanes WHERE lane = ANY($1::integer[]) ORDER BY lane FOR NO KEY UPDATE))",
            several,
        )
    return lanes


def _wanted_lanes(graphs: Iterable[tuple[str, Graph]]) -> list[_Lanes]:
    """Return the lanes that graphs need, in pieces that one statement is about."""
    names: dict[tuple[str, str], str | None] = {}
    for task, graph in graphs:
        for step in graph.steps:
            known = names.setdefault((task, step.handler), step.step_name)
            if known != step.step_name:
                names[task, step.handler] = None
    pairs = sorted(names)
    pieces = (pairs[start : start + _LANES] for start in range(0, len(pairs), _LANES))
    return [
        _Lanes(
            [task for task, _ in piece],
            [handler for _, handler in piece],
            [names[pair] for pair in piece],
        )
        for piece in pieces
    ]


async def _find_lanes(
    tx: Tx, tasks: Sequence[str], handlers: Sequence[str]
) -> dict[tuple[str, str], tuple[int, str | None]]:
    """Return the lanes that there are, each with its only step if it has but one."""
    rows = await tx.fetch(
        "SELECT task_name, handler, lane, step_name FROM zart.lanes"
        " JOIN unnest($1::text[], $2::text[]) u(t, h) ON task_name = t AND handler = h",
        tasks,
        handlers,
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


class _Row(NamedTuple):
    """The columns of a definition but its key."""

    task_name: str
    version: int
    content_hash: bytes
    steps: str
    step_names: list[str]
    dep_counts: list[int]
    max_attempts: list[int]
    lanes: list[int]
    timeout_seconds: list[float]


_INSERT = Statement(
    """
    INSERT INTO zart.definitions (task_name, version, content_hash, steps, step_names, dep_counts,
        max_attempts, lanes, timeout_seconds)
    VALUES (:task_name, :version, :content_hash, :steps, :step_names, :dep_counts,
        :max_attempts, :lanes, :timeout_seconds)
    ON CONFLICT DO NOTHING
    """
)


async def insert_definitions(
    tx: Tx, new: Sequence[tuple[str, int, WrittenGraph]]
) -> list[Definition]:
    """Store graphs as (task, version, graph) where their content is not there yet; give all."""
    lanes = await ensure_lanes(tx, [(task, written.graph) for task, _, written in new])
    rows = await tx.aside(
        sum(len(written.text) for _, _, written in new),
        lambda: [_row(task, version, written, lanes) for task, version, written in new],
    )
    # Rows of one level in key order, so that two batches cannot wait for each other.
    await tx.executemany(
        _INSERT.text,
        [
            _INSERT.arguments(**row._asdict())
            for row in sorted(rows, key=lambda row: (row.task_name, row.content_hash))
        ],
    )
    found = await tx.fetch(
        "SELECT definition_key, d.task_name, version, d.content_hash, lanes FROM zart.definitions d"
        " JOIN unnest($1::text[], $2::bytea[], $3::boolean[]) u(t, h, inline)"
        " ON d.task_name = t AND d.content_hash = h AND (d.version = 0) = inline",
        [row.task_name for row in rows],
        [row.content_hash for row in rows],
        [row.version == 0 for row in rows],
    )
    by_content = {(row["task_name"], row["content_hash"]): row for row in found}
    return [
        Definition(
            stored["definition_key"],
            row.task_name,
            stored["version"],
            written.graph,
            tuple(stored["lanes"]),
        )
        for row, (_, _, written) in zip(rows, new, strict=True)
        for stored in [by_content[row.task_name, row.content_hash]]
    ]


def _row(
    task: str, version: int, written: WrittenGraph, lanes: Mapping[tuple[str, str], int]
) -> _Row:
    graph = written.graph
    return _Row(
        task,
        version,
        written.content_hash,
        written.text,
        [step.step_name for step in graph.steps],
        [len(deps) for deps in graph.depends_on],
        [step.retry_policy.max_attempts for step in graph.steps],
        [lanes[task, step.handler] for step in graph.steps],
        [step.timeout.total_seconds() for step in graph.steps],
    )


async def find_registered(
    connection: Connection, task_name: str, written: WrittenGraph
) -> Definition | None:
    """Return the registered definition with this content, None where there is none."""
    row = await connection.fetchrow(
        "SELECT definition_key, version, lanes FROM zart.definitions"
        " WHERE task_name = $1 AND content_hash = $2 AND version > 0",
        task_name,
        written.content_hash,
    )
    if row is None:
        return None
    return Definition(
        row["definition_key"], task_name, row["version"], written.graph, tuple(row["lanes"])
    )


async def current_keys(connection: Connection, task_names: Iterable[str]) -> dict[str, int]:
    """Return the keys of the tasks' current definitions; tasks without one are missing."""
    rows = await connection.fetch(
        "SELECT task_name, definition_key FROM zart.task_names"
        " WHERE task_name = ANY($1::text[]) AND definition_key IS NOT NULL",
        sorted(set(task_names)),
    )
    return {row["task_name"]: row["definition_key"] for row in rows}


async def find_definitions(connection: Connection, keys: Iterable[int]) -> dict[int, Definition]:
    """Return stored graphs by key, reading those that are not at hand in one statement."""
    wanted = set(keys)
    found = connection.definitions.at_hand(wanted)
    if missing := wanted - found.keys():
        read = await read_definitions(connection, missing)
        connection.definitions.add_all(read)
        found.update((definition.definition_key, definition) for definition in read)
    return found


async def read_definitions(connection: Connection, keys: Iterable[int]) -> list[Definition]:
    """Read stored graphs; they never change."""
    rows = await connection.fetch(
        "SELECT definition_key, task_name, version, steps, lanes FROM zart.definitions"
        " WHERE definition_key = ANY($1::bigint[])",
        sorted(keys),
    )
    # All at once: a thousand that are small take seconds.
    return await connection.aside(
        sum(len(row["steps"]) for row in rows),
        lambda: [
            Definition(
                row["definition_key"],
                row["task_name"],
                row["version"],
                Graph.of(from_json(row["steps"])),
                tuple(row["lanes"]),
            )
            for row in rows
        ],
    )


async def touch_asked(connection: Connection, task_names: Iterable[str], fresh_for: float) -> None:
    """Note that dispatchers asked for these tasks now. Skips locked rows.

    A task of which it was noted within so many seconds, as by another server, is left as it is. By
    a time to come, as the clock went back, nothing was noted.
    """
    names = sorted(set(task_names))
    await connection.execute(
        "INSERT INTO zart.task_names (task_name) SELECT t FROM unnest($1::text[]) t"
        " WHERE NOT EXISTS (SELECT FROM zart.task_names WHERE task_name = t)"
        " ON CONFLICT DO NOTHING",
        names,
    )
    await connection.execute(
        "UPDATE zart.task_names SET last_asked_at = statement_timestamp() WHERE task_name = ANY("
        "ARRAY(SELECT task_name FROM zart.task_names WHERE task_name = ANY($1::text[])"
        " AND (last_asked_at BETWEEN statement_timestamp() - $2::float8 * interval '1 second'"
        " AND statement_timestamp()) IS NOT TRUE"
        " ORDER BY task_name FOR NO KEY UPDATE SKIP LOCKED))",
        names,
        fresh_for,
    )
