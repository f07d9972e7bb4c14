"""Puts attempts in doubt, as part of the statement that ends them."""

from __future__ import annotations


def doubted(source: str) -> str:
    """Return the statement that inserts attempts which may have had their effect.

    They are those of ``source``: leases with the columns ``ended_as`` and ``swept``.
    """
    return f"""
        INSERT INTO zart.in_doubt (run_key, step_no, attempt, execution_id, task_name, run_number,
            step_name, ended_as, swept, dispatcher_id, principal, lease_token, started_at)
        SELECT e.run_key, e.step_no, e.attempt, x.execution_id, r.listed_task, r.run_number,
            e.step_name, e.ended_as, e.swept, e.dispatcher_id, e.principal, e.lease_token,
            e.started_at
        FROM ({source}) e
        CROSS JOIN LATERAL (SELECT execution_key, run_number, listed_task FROM zart.runs
            WHERE run_key = e.run_key OFFSET 0) r
        CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
            WHERE execution_key = r.execution_key OFFSET 0) x
    """
