"""Steps, as they are changed by a transaction that has locked their run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from zart_server.domain.model import FencedStep
from zart_server.store.connection import Connection, Tx
from zart_server.store.doubt.inserting import doubted
from zart_server.store.lookups import only
from zart_server.store.statement import Statement
from zart_server.store.step_inputs import InputKey


class Opened(NamedTuple):
    """A step, all its dependencies completed, and what counts of it so far.

    Nothing, and ``max_attempts`` None, unless it was retried after it had failed while PENDING.
    ``correction`` is that of its input, 0: none.
    """

    run_key: int
    step_no: int
    attempt: int = 0
    counted: int = 0
    max_attempts: int | None = None
    correction: int = 0


async def open_dependants(tx: Tx, completed: Mapping[tuple[int, int], int]) -> list[Opened]:
    """Count completed dependencies off steps that wait for some; return those now ready.

    ``completed`` counts them by (run key, step number). The caller has locked the runs.
    """
    rows = await tx.fetch(
        f"""
        UPDATE zart.steps s SET pending_deps = s.pending_deps - u.n
        FROM unnest($1::bigint[], $2::integer[], $3::integer[]) u(run_key, step_no, n)
        WHERE s.run_key = {only("u.run_key")} AND s.step_no = u.step_no AND s.status = 'open'
        RETURNING s.run_key, s.step_no, s.attempt, s.counted, s.max_attempts,
            COALESCE(s.correction, 0), s.pending_deps = 0
        """,
        [run_key for run_key, _ in completed],
        [step_no for _, step_no in completed],
        list(completed.values()),
    )
    return [Opened(*row[:6]) for row in rows if row[6]]


class RerunSteps(NamedTuple):
    """The steps of reruns: preserved ones refer to where their result was made.

    ``preserved`` gives (run key, source run key, step number), ``again`` (run key, step number,
    how many of the dependencies run again too). ``corrected`` are those of ``again``, by run key
    and step number, that begin with a corrected input.
    """

    preserved: list[tuple[int, int, int]]
    again: list[tuple[int, int, int]]
    corrected: Collection[tuple[int, int]] = ()

    def arguments(self) -> dict[str, object]:
        """Return the parameters that ``rerun_steps`` takes."""
        return {
            "preserved_runs": [run_key for run_key, _, _ in self.preserved],
            "preserved_sources": [source for _, source, _ in self.preserved],
            "preserved_steps": [step_no for _, _, step_no in self.preserved],
            "again_runs": [run_key for run_key, _, _ in self.again],
            "again_steps": [step_no for _, step_no, _ in self.again],
            "again_deps": [deps for _, _, deps in self.again],
            "corrected": [step[:2] in self.corrected for step in self.again]
            if self.corrected
            else [],
        }


def rerun_steps(only_if: str) -> str:
    """Return the parts of a WITH that insert steps of reruns."""
    return f"""
        preserved AS (
            INSERT INTO zart.steps (run_key, step_no, status, pending_deps, source_run_key, attempt,
                                    counted, max_attempts, scheduled_at, started_at, completed_at,
                                    correction)
            SELECT u.run_key, s.step_no, 'completed', 0, COALESCE(s.source_run_key, s.run_key),
                   s.attempt, s.counted, s.max_attempts, s.scheduled_at, s.started_at,
                   s.completed_at, s.correction
            FROM unnest(:preserved_runs::bigint[], :preserved_sources::bigint[],
                :preserved_steps::integer[]) u(run_key, source, step_no)
            CROSS JOIN LATERAL (SELECT * FROM zart.steps
                WHERE run_key = u.source AND step_no = u.step_no OFFSET 0) s
            WHERE {only_if}
        ), again AS (
            INSERT INTO zart.steps (run_key, step_no, status, pending_deps, correction)
            SELECT run_key, step_no, 'open', deps, CASE WHEN corrected THEN 1 END
            FROM unnest(:again_runs::bigint[], :again_steps::integer[], :again_deps::integer[],
                :corrected::boolean[]) u(run_key, step_no, deps, corrected)
            WHERE {only_if}
        )
    """


_INSERT_RERUN = Statement(f"WITH {rerun_steps('true')} SELECT")


async def insert_rerun_steps(tx: Tx, steps: RerunSteps) -> None:
    """Insert the steps of reruns."""
    await tx.execute(_INSERT_RERUN.text, *_INSERT_RERUN.arguments(**steps.arguments()))


class StepStates(NamedTuple):
    """The stored status of each step of a run, which steps have a corrected input, and where.

    ``made_in`` has the run keys of the older runs that preserved results were made in. All are by
    step number.
    """

    statuses: list[str]
    inputs: dict[int, InputKey]
    made_in: dict[int, int]


async def read_states(connection: Connection, run_keys: Sequence[int]) -> dict[int, StepStates]:
    """Return what a rerun goes by of all steps of runs, by run key."""
    rows = await connection.fetch(
        "SELECT run_key, status, step_no, correction, source_run_key"
        " FROM zart.steps WHERE run_key = ANY($1::bigint[]) ORDER BY run_key, step_no",
        run_keys,
    )
    found = {key: StepStates([], {}, {}) for key in run_keys}
    for run_key, status, step_no, correction, source_run_key in rows:
        states = found[run_key]
        states.statuses.append(status)
        if correction is not None:
            states.inputs[step_no] = InputKey.of(run_key, step_no, correction, source_run_key)
        if source_run_key is not None:
            states.made_in[step_no] = source_run_key
    return found


async def step_statuses(
    connection: Connection, steps: Sequence[tuple[int, int]]
) -> list[tuple[int, int, str]]:
    """Return (run key, step number, stored status) of steps by their keys."""
    rows = await connection.fetch(
        "SELECT s.* FROM unnest($1::bigint[], $2::integer[]) u(run_key, step_no)"
        " CROSS JOIN LATERAL (SELECT run_key, step_no, status FROM zart.steps"
        " WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s",
        [run_key for run_key, _ in steps],
        [step_no for _, step_no in steps],
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _fence(more: str = "") -> str:
    return f"""
        WITH held AS (
            DELETE FROM zart.held WHERE run_key = ANY(:run_keys::bigint[])
            RETURNING run_key, step_no, attempt
        ), queued AS (
            DELETE FROM zart.queue WHERE run_key = ANY(:run_keys::bigint[])
            RETURNING run_key, step_no, attempt
        ), leased AS (
            DELETE FROM zart.leases WHERE run_key = ANY(:run_keys::bigint[]) RETURNING *
        ), abandoned AS (
            INSERT INTO zart.attempts (run_key, step_no, attempt, status, swept, dispatcher_id,
                                       principal, lease_token, started_at, completed_at)
            SELECT run_key, step_no, attempt, 'abandoned', true, dispatcher_id, principal,
                   lease_token, started_at, statement_timestamp()
            FROM leased
        ), tried AS MATERIALIZED (
            SELECT run_key, step_no, attempt - 1 AS attempt FROM queued
            UNION ALL SELECT run_key, step_no, attempt - 1 FROM held
            UNION ALL SELECT run_key, step_no, attempt FROM leased
        ), tried_steps AS (
            UPDATE zart.steps s SET status = 'cancelled', completed_at = statement_timestamp(),
                attempt = GREATEST(s.attempt, t.attempt)
            FROM tried t
            WHERE s.run_key = {only("t.run_key")} AND s.step_no = t.step_no AND s.status = 'open'
        ), other_steps AS (
            UPDATE zart.steps SET status = 'cancelled', completed_at = statement_timestamp()
            WHERE run_key = ANY(:run_keys::bigint[]) AND status = 'open'
              AND ((run_key, step_no) IN (SELECT run_key, step_no FROM tried)) IS NOT TRUE
        ) {more}
        SELECT run_key, step_name, attempt, dispatcher_id FROM leased ORDER BY run_key, step_no
    """


_LOCKS = ("steps, of runs that the caller has locked", "queue", "held", "leases")
_FENCE = Statement(_fence(), locks=_LOCKS)
_ABANDONED = doubted("""
    SELECT *, 'abandoned' AS ended_as, true AS swept FROM leased
    WHERE ((run_key, step_no) IN (
        SELECT * FROM unnest(:stop_runs::bigint[], :stop_steps::integer[]))) IS TRUE
""")
# The same for runs with steps of which an attempt is in doubt when it is abandoned.
_FENCE_IN_DOUBT = Statement(_fence(f", in_doubt AS ({_ABANDONED})"), locks=_LOCKS)


async def fence_steps(
    tx: Tx, run_keys: Sequence[int], stops: Sequence[tuple[int, int]] = ()
) -> dict[int, list[FencedStep]]:
    """End all unfinished steps of runs as cancelled, in-flight attempts as abandoned.

    Those of ``stops``, by run key and step number, are in doubt then. The caller has locked the
    runs and their queue rows, so that tasks which a claim or a sweep moved meanwhile are seen here.
    Return the steps that were in flight, by run key.
    """
    if stops:
        rows = await tx.fetch(
            _FENCE_IN_DOUBT.text,
            *_FENCE_IN_DOUBT.arguments(
                run_keys=run_keys,
                stop_runs=[run_key for run_key, _ in stops],
                stop_steps=[step_no for _, step_no in stops],
            ),
        )
    else:
        rows = await tx.fetch(_FENCE.text, *_FENCE.arguments(run_keys=run_keys))
    found: dict[int, list[FencedStep]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(FencedStep(*row[1:]))
    return found
