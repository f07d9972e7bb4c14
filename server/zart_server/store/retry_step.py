"""Revives dead steps, enqueues them and records it, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from zart_server.domain.operations import OperationKind
from zart_server.domain.rule_set import Judgement
from zart_server.store.connection import Tx
from zart_server.store.enqueue import NO_LESSEES, enqueued
from zart_server.store.lookups import UNINDEXED_STATUS, only
from zart_server.store.operations import RECORD, NewOperation, record_of, recorded, to_text
from zart_server.store.patience import UNDER_THE_PAUSE_LOCK, at_most_from_here
from zart_server.store.pausing.rules import SHARED_EPOCH
from zart_server.store.reads.step_rows import JUST_QUEUED, StepRow
from zart_server.store.statement import Statement
from zart_server.store.stored_graph import QueuedAs


class StepToRevive(NamedTuple):
    """A step to be retried ``budget`` times. ``operation`` lacks its error and its next task.

    ``input_json`` corrects its input; None: it stays. With an ``attempt``: only if that was its
    last one. ``pending_deps``: how many of its dependencies are not completed, so that it is
    PENDING; only of a step that was failed by hand.
    """

    run_key: int
    step_no: int
    budget: int
    queued: QueuedAs
    operation: NewOperation
    input_json: str | None = None
    pending_deps: int = 0
    attempt: int | None = None


# It waits for the pause lock, and whoever plans a batch meanwhile sees the step dead: so it is on
# record as of what comes after that.
_AT = "(SELECT at FROM now)"
_REVIVE = Statement(
    f"""
    WITH now AS MATERIALIZED (
        SELECT epoch, clock_timestamp() AS at, {at_most_from_here(UNDER_THE_PAUSE_LOCK)}
        FROM (SELECT {SHARED_EPOCH} AS epoch OFFSET 0) shared
    ), dead AS MATERIALIZED (
        SELECT u.*, s.error, (:inputs::text[])[n + 1]::json AS input
        FROM json_to_recordset(:steps::text::json) u(n integer, run_key bigint, step_no integer,
            budget integer, pending_deps integer, rule_key bigint, lane integer,
            timeout_seconds float8, expected integer, {RECORD})
        CROSS JOIN LATERAL (SELECT status, attempt, error FROM zart.steps
            WHERE run_key = u.run_key AND step_no = u.step_no OFFSET 0) s
        WHERE s.status = 'dead' AND s.attempt = COALESCE(u.expected, s.attempt)
          AND :epoch = (SELECT epoch FROM now)
    ), revived AS (
        UPDATE zart.steps s SET status = 'open', error = NULL, completed_at = NULL,
            retryable = false, pending_deps = d.pending_deps,
            max_attempts = s.counted + d.budget,
            correction = CASE WHEN d.input IS NULL THEN s.correction
                ELSE COALESCE(s.correction, 0) + 1 END
        FROM dead d WHERE s.run_key = {only("d.run_key")} AND s.step_no = d.step_no
        RETURNING d.*, s.attempt + 1 AS attempt, s.counted, s.max_attempts, s.started_at,
            COALESCE(s.correction, 0) AS correction,
            d.rule_key = 0 AND d.pending_deps = 0 AND s.correction IS NULL AS is_queued
    ), inputs AS (
        INSERT INTO zart.step_inputs (run_key, step_no, correction, input)
        SELECT run_key, step_no, correction, input FROM revived WHERE input IS NOT NULL
    ), no_longer AS (
        DELETE FROM zart.dead_steps x USING revived v
        WHERE x.run_key = {only("v.run_key")} AND x.step_no = v.step_no
    ), runs AS (
        UPDATE zart.runs r SET dead_steps = dead_steps - 1, dead_listed = dead_listed - 1,
            status = 'running', error = '',
            completed_at = NULL,
            started_at = COALESCE(r.started_at, statement_timestamp())
        FROM revived v WHERE r.run_key = {only("v.run_key")}
          AND r.{UNINDEXED_STATUS} IN ('scheduled', 'running', 'failed')
    ), ready AS MATERIALIZED (
        SELECT *, counted AS backoff_base, 0 AS delay, 0 AS lessee
        FROM revived WHERE pending_deps = 0
    ), {enqueued(*NO_LESSEES, now=_AT)}, done AS (
        SELECT execution_id, run_number, step_name, rule_id, task_name, triggered_by,
            principal, reason, request_id, incident, batch_id,
            CASE WHEN error IS NULL THEN replaced ELSE (replaced::jsonb
                || jsonb_build_object('step_error', error))::json END AS replaced,
            json_strip_nulls(json_build_object(
                'task_id', CASE WHEN pending_deps = 0
                    THEN zart.task_id(run_key, step_no, attempt) END,
                'max_attempts', max_attempts, 'corrected_input_steps',
                    CASE WHEN input IS NOT NULL THEN json_build_array(step_name) END)) AS made
        FROM revived
    ), operations AS ({recorded("done", ":kind", after_locks=True)})
    SELECT epoch, is_queued, {JUST_QUEUED.format(of="revived", at="now.at")}
    FROM now LEFT JOIN revived ON true
    """,
    locks=(
        "pause lock, shared",
        "steps, whose runs the caller has locked",
        "dead_steps, likewise",
        "runs, likewise",
    ),
)


async def revive_steps(
    tx: Tx, steps: Sequence[StepToRevive], judgement: Judgement
) -> dict[int, StepRow | None] | None:
    """Make dead steps ready and their runs RUNNING, and record it; return the keys of the runs.

    Each with the row of its step as ``JUST_QUEUED`` makes it; None: it became something else.

    One step of each run; steps that are not dead, or by another attempt, are left out. Each is
    queued, or paused as it was judged, with its corrected input, if it has one; or it is PENDING.
    Return None, having done nothing, if the rules have changed since. The caller has locked the
    runs. Takes the pause lock, shared, before it reads the epoch. Raises StoreConflict where
    somebody else has locked a step of them for half a second: a Pause would wait, too.
    """
    values = [
        {
            "n": n,
            "run_key": item.run_key,
            "step_no": item.step_no,
            "budget": item.budget,
            "pending_deps": item.pending_deps,
            "rule_key": rule or 0,
            "lane": item.queued.lane,
            "timeout_seconds": item.queued.timeout_seconds,
            **({} if item.attempt is None else {"expected": item.attempt}),
        }
        | record_of(item.operation)
        for n, (item, rule) in enumerate(judgement.beside(steps))
    ]
    rows = await tx.fetch(
        _REVIVE.text,
        *_REVIVE.arguments(
            steps=to_text(values),
            inputs=[item.input_json for item in steps],
            kind=OperationKind.RETRY_STEP.value,
            epoch=judgement.epoch,
        ),
    )
    if rows[0][0] != judgement.epoch:
        return None
    return {
        row["steps_of"]: row if row["is_queued"] else None
        for row in rows
        if row["steps_of"] is not None
    }
