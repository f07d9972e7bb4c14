"""Reads two runs of an execution side by side, in as many statements for a large graph as a small.

Results are compared where they stand, as text, the shorter ones first, and no more of them than a
moment allows; only those that are written differently are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.compared import ComparedRuns, ComparedStep, side_of
from zart_server.domain.errors import ExecutionNotFound, InvalidField, RunNotFound
from zart_server.domain.model import Step, StepStatus
from zart_server.domain.same_json import are_same
from zart_server.store.connection import Connection, Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.handler_inputs import read_large
from zart_server.store.reads.step_rows import STEPS
from zart_server.store.reads.steps import RunIdentity, steps_of
from zart_server.store.runs import RUN_COLUMNS, RunRow
from zart_server.store.statement import Statement
from zart_server.store.stored_graph import Definition

_COMPARED_BYTES = 256 * 1024 * 1024  # of results, as text: a second or so
_READ_BYTES = 32 * 1024 * 1024  # of results that are written differently
_PIECE = 4 * 1024 * 1024
_RUNS = Statement(f"""
    SELECT e.task_name, c.run_number AS newest, r.* FROM zart.executions e
    CROSS JOIN LATERAL (
        SELECT run_number FROM zart.runs WHERE runs.execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) c
    LEFT JOIN LATERAL (
        SELECT {RUN_COLUMNS},
            CASE WHEN payload IS NULL THEN payload_run_key ELSE run_key END AS payload_key
        FROM zart.runs WHERE runs.execution_key = e.execution_key AND runs.run_number = ANY(ARRAY[
            COALESCE(:run_number, c.run_number),
            COALESCE(:base, COALESCE(:run_number, c.run_number) - 1)]::integer[])
        OFFSET 0) r ON true
    WHERE e.execution_id = :execution_id
""")
_WANTED = """
    SELECT u.*, NULL::integer AS only_step FROM unnest(:run_keys::bigint[],
        :execution_ids::text[], :task_names::text[]) u(run_key, execution_id, task_name)
"""
_STEPS = Statement(
    f"WITH {STEPS.format(run=_WANTED, columns='')} SELECT * FROM steps ORDER BY steps_of, step_no"
)
# Where the results of steps stand, those of preserved ones in an earlier run.
_ORIGINS = """
    FROM {pairs} u(b, b_no, c, c_no)
    CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
        WHERE run_key = u.b AND step_no = u.b_no OFFSET 0) b
    CROSS JOIN LATERAL (SELECT COALESCE(source_run_key, run_key) AS run_key FROM zart.steps
        WHERE run_key = u.c AND step_no = u.c_no OFFSET 0) c
    CROSS JOIN LATERAL (SELECT {result} FROM zart.steps
        WHERE run_key = b.run_key AND step_no = u.b_no OFFSET 0) base
    CROSS JOIN LATERAL (SELECT {result} FROM zart.steps
        WHERE run_key = c.run_key AND step_no = u.c_no OFFSET 0) compared
"""
_TEXT = "result::text AS text"
_PAIRS = "unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[])"
_ARE_ONE = "b.run_key = c.run_key AND u.b_no = u.c_no"
_NEXT_PAIR = """done d CROSS JOIN LATERAL (
        SELECT (:base_keys::bigint[])[d.n + 1], (:base_nos::integer[])[d.n + 1],
            (:compared_keys::bigint[])[d.n + 1], (:compared_nos::integer[])[d.n + 1])"""
_AS_TEXT = Statement(f"""
    WITH RECURSIVE done AS (
        SELECT 0 AS n, 0::bigint AS total, false AS are_equal, 0 AS bytes
        UNION ALL
        SELECT d.n + 1, d.total + t.bytes, t.are_equal, t.bytes
        {_ORIGINS.format(pairs=_NEXT_PAIR, result=_TEXT)}
        CROSS JOIN LATERAL (
            SELECT COALESCE(base.text = compared.text, false) AS are_equal,
                COALESCE(octet_length(base.text) + octet_length(compared.text), 0) AS bytes
            OFFSET 0) t
        WHERE d.total <= :most AND d.n < cardinality(:base_keys)
    )
    SELECT are_equal, bytes FROM done WHERE n > 0 ORDER BY n
""")


class _Pair(NamedTuple):
    """A step by its run and number in both runs."""

    base_key: int
    base_no: int
    compared_key: int
    compared_no: int


class _Side(NamedTuple):
    """A run that is compared, and its steps by name."""

    run: RunRow
    definition: Definition
    payload_key: int | None
    steps: Mapping[str, Step]


async def compare_runs(
    tx: Tx, execution_id: str, base_run_number: int | None, run_number: int | None
) -> ComparedRuns:
    """Compare a run (None: the current one) with another (None: the one before it).

    ``tx`` is to be a snapshot. Raises ExecutionNotFound, RunNotFound, or InvalidField for the run
    before the first.
    """
    base, compared = await _sides(tx, execution_id, base_run_number, run_number)
    return ComparedRuns(
        base.run.to_run(execution_id, base.definition.version),
        compared.run.to_run(execution_id, compared.definition.version),
        await _are_payloads_equal(tx, base, compared),
        tuple(_steps(base, compared, await _equal_results(tx, base, compared))),
    )


async def _sides(
    connection: Connection, execution_id: str, base: int | None, number: int | None
) -> tuple[_Side, _Side]:
    """Read both runs with their steps: the base, and the one that is compared with it."""
    rows = await connection.fetch(
        _RUNS.text, *_RUNS.arguments(execution_id=execution_id, base=base, run_number=number)
    )
    if not rows:
        raise ExecutionNotFound(execution_id)
    number = rows[0]["newest"] if number is None else number
    if base is None:
        base = number - 1
    found = {row["run_number"]: row for row in rows}
    if number not in found:
        raise RunNotFound(execution_id, number)
    if base < 0:
        raise InvalidField("base_run_number", "is not set, and run 0 has no run before it")
    if base not in found:
        raise RunNotFound(execution_id, base)
    runs = {key: RunRow.from_values(list(row)[2:-1]) for key, row in found.items()}
    definitions = await find_definitions(connection, {r.definition_key for r in runs.values()})
    keys = [run.run_key for run in runs.values()]
    rows_of = await connection.fetch(
        _STEPS.text,
        *_STEPS.arguments(
            run_keys=keys,
            execution_ids=[execution_id] * len(keys),
            task_names=[rows[0]["task_name"]] * len(keys),
            result_bytes=0,
        ),
    )
    sides = {}
    for key, run in runs.items():
        definition = definitions[run.definition_key]
        identity = RunIdentity(run.run_key, execution_id, rows[0]["task_name"], definition)
        own = [row for row in rows_of if row["steps_of"] == run.run_key]
        steps = await connection.aside(200 * len(own), steps_of, own, identity, None)
        by_name = {step.step_name: step for step in steps}
        sides[key] = _Side(run, definition, found[key]["payload_key"], by_name)
    return sides[base], sides[number]


async def _are_payloads_equal(connection: Connection, base: _Side, compared: _Side) -> bool:
    if base.payload_key == compared.payload_key:
        return True
    keys = [base.run.run_key, compared.run.run_key]
    texts = await read_large(connection, keys, [])
    one, other = (texts[key, -1] for key in keys)
    return await connection.aside(len(one or "") + len(other or ""), are_same, one, other)


async def _equal_results(
    connection: Connection, base: _Side, compared: _Side
) -> dict[str, bool | None]:
    """Return, of steps that are completed in both runs, whether their results are equal."""
    names = [
        name
        for name, step in compared.steps.items()
        if step.status is StepStatus.COMPLETED
        and name in base.steps
        and base.steps[name].status is StepStatus.COMPLETED
    ]
    pairs = [
        _Pair(
            base.run.run_key,
            base.definition.graph.index[name],
            compared.run.run_key,
            compared.definition.graph.index[name],
        )
        for name in names
    ]
    if not pairs:
        return {}
    stored = await _stored_bytes(connection, pairs)
    found: dict[str, bool | None] = {}
    apart: list[tuple[int, str, _Pair]] = []
    for name, pair in zip(names, pairs, strict=True):
        size = stored[pair.compared_no]
        found[name] = True if size is None else None
        if size is not None:
            apart.append((size, name, pair))
    apart.sort()
    texts = await _compared_as_text(connection, [pair for _, _, pair in apart])
    differing: list[tuple[int, str, _Pair]] = []
    for (_, name, pair), (are_equal, size) in zip(apart, texts, strict=False):
        found[name] = True if are_equal else None
        if not are_equal:
            differing.append((size, name, pair))
    for piece in _pieces(sorted(differing)):
        found |= await _compared_as_json(connection, piece)
    return found


async def _stored_bytes(connection: Connection, pairs: Sequence[_Pair]) -> dict[int, int | None]:
    """Return what two results take where they are stored, by the compared step; None: it is one."""
    rows = await connection.fetch(
        f"""
        SELECT u.c_no, CASE WHEN NOT ({_ARE_ONE})
            THEN COALESCE(pg_column_size(base.result) + pg_column_size(compared.result), 0) END
        {_ORIGINS.format(pairs=_PAIRS, result="result")}
        """,
        *zip(*pairs, strict=True),
    )
    return {row[0]: row[1] for row in rows}


async def _compared_as_text(
    connection: Connection, pairs: Sequence[_Pair]
) -> list[tuple[bool, int]]:
    """Return whether two results are the same text, and their size: of the first pairs.

    Of as many as have 256 MiB together: how long they are as text is only known once they are it.
    """
    if not pairs:
        return []
    columns = zip(_Pair._fields, zip(*pairs, strict=True), strict=True)
    values = {f"{name}s": list(column) for name, column in columns}
    rows = await connection.fetch(
        _AS_TEXT.text, *_AS_TEXT.arguments(**values, most=_COMPARED_BYTES)
    )
    return [(row[0], row[1]) for row in rows]


def _pieces(
    differing: Sequence[tuple[int, str, _Pair]],
) -> Iterator[list[tuple[int, str, _Pair]]]:
    """Yield what is read together: the shortest results first, as many as may be read."""
    total, room, piece = 0, _PIECE, list[tuple[int, str, _Pair]]()
    for item in differing:
        total += item[0]
        if total > _READ_BYTES:
            break
        piece.append(item)
        room -= item[0]
        if room <= 0:
            yield piece
            room, piece = _PIECE, []
    if piece:
        yield piece


async def _compared_as_json(
    connection: Connection, piece: Sequence[tuple[int, str, _Pair]]
) -> dict[str, bool]:
    """Read the results of steps, and return by name which say the same."""
    names = {pair.compared_no: name for _, name, pair in piece}
    rows = await connection.fetch(
        f"SELECT u.c_no, base.text, compared.text {_ORIGINS.format(pairs=_PAIRS, result=_TEXT)}",
        *zip(*(pair for _, _, pair in piece), strict=True),
    )
    size = sum(size for size, _, _ in piece)
    return await connection.aside(
        size, lambda: {names[number]: are_same(one, other) for number, one, other in rows}
    )


def _steps(
    base: _Side, compared: _Side, equal: Mapping[str, bool | None]
) -> Iterator[ComparedStep]:
    for name in [*compared.steps, *(name for name in base.steps if name not in compared.steps)]:
        before, after = base.steps.get(name), compared.steps.get(name)
        yield ComparedStep(
            name,
            None if before is None else side_of(before),
            None if after is None else side_of(after),
            equal.get(name),
            after is not None and after.preserved_from_run_number is not None,
        )
