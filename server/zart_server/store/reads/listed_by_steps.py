"""Finds current runs that have a step in one of some states, newest execution first.

No index has the order of a list and the states of steps. So what is little is read as a whole: the
tasks that are leased, queued or paused. Else runs are looked at in the order of the list, up to a
bound: then a page ends early, and the next one goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.connection import Connection
from zart_server.store.reads.fitting import HAS, PLAIN, WORK, plain_arguments
from zart_server.store.reads.listed_runs import (
    CURRENT,
    Listed,
    ListPosition,
    Range,
    by_status,
    find_runs,
)
from zart_server.store.reads.of_batches import (
    BY_KEY,
    HAS_RUN,
    OF_BATCH,
    OF_KEYS_BY_KEY,
    SOURCES,
    OfBatch,
)
from zart_server.store.statement import Statement

_FEW_TASKS = 2_000
_RUNS = 1_000
_STEPS = 10_000  # of the runs that are looked at; the last one of them may have as many once more

# Where all runs of a status have such a step.
_ALL_HAVE = {
    StepStatus.COMPLETED: RunStatus.COMPLETED,
    StepStatus.CANCELLED: RunStatus.CANCELLED,
}
UNFINISHED = (RunStatus.SCHEDULED, RunStatus.RUNNING)
# Where some runs may have one.
_SOME_HAVE = {
    StepStatus.RUNNING: UNFINISHED,
    StepStatus.SCHEDULED: UNFINISHED,
    StepStatus.PAUSED: UNFINISHED,
    StepStatus.PENDING: (*UNFINISHED, RunStatus.FAILED),
    StepStatus.COMPLETED: (*UNFINISHED, RunStatus.FAILED, RunStatus.CANCELLED),
}
_OF_TASKS = (StepStatus.RUNNING, StepStatus.SCHEDULED, StepStatus.PAUSED)
# The states that are looked for in a run, each a parameter of its name.
_LOOKED_FOR = (*_OF_TASKS, StepStatus.PENDING, StepStatus.COMPLETED)


def _some(table: str, condition: str) -> str:
    """Return the runs of some tasks of a table, :limit at most: read from the end of its index."""
    return f"""(SELECT run_key FROM zart.{table} WHERE run_key < {2**63 - 1} AND ({condition})
         ORDER BY run_key DESC LIMIT :limit::bigint)"""


# The runs of the tasks in which steps of the wanted states stand: while a rule settles or is
# released, some stand where they will soon leave.
_TASKS = Statement(f"""
    WITH tasks AS MATERIALIZED (
        {_some("leases", ":running::boolean")}
        UNION ALL
        {_some("queue", f":scheduled::boolean OR :paused::boolean AND {WORK.format('settle')}")}
        UNION ALL
        {_some("held", f":paused OR :scheduled AND {WORK.format('release')}")}
    )
    SELECT run_key, count(*) FROM tasks GROUP BY run_key
""")


def _looked(
    candidates: str, condition: str = HAS, order: str = "listed_at DESC, execution_key DESC"
) -> Statement:
    """Return the query that looks at candidates in their order, at :max_steps of their steps.

    A row for each that it looked at: whether it has such a step, and how many candidates there are.
    """
    text = f"""
        WITH candidates AS MATERIALIZED ({candidates}), settling AS MATERIALIZED (
            SELECT {WORK.format("settle")} AS yes
        ), sized AS (
            SELECT c.*, sum(size) OVER (
                ORDER BY {order}
                ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
            FROM candidates c CROSS JOIN LATERAL (
                SELECT COALESCE((
                    SELECT step_no + 1 FROM zart.steps s WHERE s.run_key = c.run_key
                    ORDER BY step_no DESC LIMIT 1), 1) AS size OFFSET 0) z
        )
        SELECT listed_at, execution_key, run_key, {condition},
            (SELECT count(*) FROM candidates)
        FROM sized c WHERE before IS NULL OR before < :max_steps::bigint
        ORDER BY {order}
    """
    return Statement(text)


OF_KEYS = """
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest(:run_keys::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY(:statuses::text[])
      AND (:task_name::text = '' OR r.listed_task = :task_name)
      AND (r.listed_at, r.execution_key) < (:before::timestamptz, :before_key::bigint)
      AND r.listed_at >= :created_from::timestamptz
    ORDER BY r.listed_at DESC, r.execution_key DESC LIMIT :limit::bigint
"""
_SOURCES = {
    "of keys": OF_KEYS,
    "of all tasks": by_status(CURRENT, of_task=False),
    "of a task": by_status(CURRENT, of_task=True),
}
_LOOK = {name: _looked(source) for name, source in _SOURCES.items()}
_LOOK_FITTING = {
    name: _looked(source, f"{PLAIN} AND {HAS}") for name, source in _SOURCES.items()
} | {
    name: _looked(source, f"{HAS_RUN} AND {PLAIN} AND {HAS}", BY_KEY)
    for name, source in SOURCES.items()
}


class FoundRuns(NamedTuple):
    """The first runs of a range, as far as it was looked at; ``until`` None: to its end."""

    runs: list[Listed]
    until: ListPosition | None = None

    def next_key(self, size: int) -> int | None:
        """Return the execution after which the next page begins if this one has ``size`` runs.

        More than that have to be asked for, to know whether there is one.
        """
        if len(self.runs) > size:
            return self.runs[size - 1].position.execution_key
        return None if self.until is None else self.until.execution_key


async def find_by_steps(
    connection: Connection, wanted: Range, states: Collection[StepStatus], limit: int
) -> FoundRuns:
    """Return the first runs of a range whose steps are in any of some states, ``limit`` at most."""
    found = (
        [FoundRuns(await find_runs(connection, wanted, limit, is_dead=True))]
        if StepStatus.DEAD in states
        else []
    )
    by_run = {_ALL_HAVE[state] for state in states if state in _ALL_HAVE} & set(wanted.statuses)
    if by_run:
        found.append(
            FoundRuns(await find_runs(connection, wanted._replace(statuses=list(by_run)), limit))
        )
    others = {status for state in states for status in _SOME_HAVE.get(state, ())}
    statuses = [status for status in wanted.statuses if status in others]
    if statuses:
        found.append(await _look(connection, wanted._replace(statuses=statuses), states, limit))
    return merged(found, limit)


def merged(found: Sequence[FoundRuns], limit: int) -> FoundRuns:
    """Merge the runs that were found, up to the first position at which a part ended."""
    ends = [part.until for part in found if part.until is not None]
    until = max(ends, default=None)
    runs = {run.position.execution_key: run for part in found for run in part.runs}
    known = [run for run in runs.values() if until is None or run.position >= until]
    return FoundRuns(sorted(known, reverse=True)[:limit], until)


async def find_unfinished(
    connection: Connection,
    wanted: Range,
    states: Collection[StepStatus],
    limit: int,
    fitting: ExecutionFilter,
    of_batch: OfBatch | None,
) -> FoundRuns:
    """Return the first unfinished runs of a range that fit, whose steps are in some states.

    Those of a batch are in the order of their executions' keys, as the range is then.
    """
    statuses = [status for status in wanted.statuses if status in UNFINISHED]
    if not statuses or not set(states).intersection(_LOOKED_FOR):
        return FoundRuns([])
    part = wanted._replace(statuses=statuses)
    return await _look(connection, part, states, limit, fitting, of_batch)


async def _look(
    connection: Connection,
    wanted: Range,
    states: Collection[StepStatus],
    limit: int,
    fitting: ExecutionFilter | None = None,
    of_batch: OfBatch | None = None,
) -> FoundRuns:
    """Look at runs until there are enough, at few ones first."""
    keys: Sequence[int] | None = None
    if set(_OF_TASKS).issuperset(states):
        keys = await _runs_of_few_tasks(connection, states)
    if keys is None and of_batch is not None:
        keys = of_batch.run_keys
    if keys is not None and not keys:
        return FoundRuns([])
    sought: dict[str, object] = {state.value: state in states for state in _LOOKED_FOR}
    sought["max_steps"] = _STEPS
    source, of = _source(wanted, keys, of_batch)
    sought |= of
    statement = (_LOOK if fitting is None else _LOOK_FITTING)[source]
    if fitting is not None:
        sought |= plain_arguments(fitting)
    if source == OF_BATCH:
        sought["batch_id"] = ""  # it need not be looked up
    runs: dict[int, Listed] = {}
    until: ListPosition | None = None
    for count in (2 * limit, _RUNS):
        rest = wanted if until is None else wanted._replace(before=until)
        values = rest.arguments(count) | sought
        rows = await connection.fetch(statement.text, *statement.arguments(**values))
        found = [(wanted.position_of(*row[:2], is_by_key=source in SOURCES), row) for row in rows]
        runs |= {row[2]: Listed(at, row[2]) for at, row in found if row[3]}
        if not rows or len(rows) == rows[0][4] < count:
            return FoundRuns(list(runs.values())[:limit])
        until = found[-1][0]
        if len(runs) >= limit or len(rows) < rows[0][4]:
            break
    return FoundRuns(list(runs.values())[:limit], until)


def _source(
    wanted: Range, keys: Sequence[int] | None, of_batch: OfBatch | None
) -> tuple[str, dict[str, object]]:
    """Return where the runs are from that are looked at, and its parameters."""
    if keys is not None:
        return ("of keys" if of_batch is None else OF_KEYS_BY_KEY), {"run_keys": keys}
    if of_batch is not None:
        return OF_BATCH, {"batch_key": of_batch.batch_key}
    return ("of a task" if wanted.task_name else "of all tasks"), {}


async def _runs_of_few_tasks(
    connection: Connection, states: Iterable[StepStatus]
) -> list[int] | None:
    """Return the runs in which steps of these states can be; None: of too many tasks."""
    sought = {state.value: state in states for state in _OF_TASKS}
    rows = await connection.fetch(_TASKS.text, *_TASKS.arguments(**sought, limit=_FEW_TASKS))
    return None if sum(row[1] for row in rows) >= _FEW_TASKS else [row[0] for row in rows]
