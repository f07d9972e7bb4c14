-- store/reads/listed_by_steps.py: _runs_of_few_tasks
-- Return the runs in which steps of these states can be; None: of too many tasks.
-- Locks: nothing.
WITH tasks AS MATERIALIZED (
    (SELECT run_key FROM zart.leases WHERE run_key < 9223372036854775807 AND ($1::boolean)
        ORDER BY run_key DESC LIMIT $4::bigint)
    UNION ALL
    (SELECT run_key FROM zart.queue WHERE run_key < 9223372036854775807 AND ($2::boolean OR $3::boolean AND EXISTS (SELECT FROM zart.pause_work WHERE work = 'settle'))
        ORDER BY run_key DESC LIMIT $4::bigint)
    UNION ALL
    (SELECT run_key FROM zart.held WHERE run_key < 9223372036854775807 AND ($3 OR $2 AND EXISTS (SELECT FROM zart.pause_work WHERE work = 'release'))
        ORDER BY run_key DESC LIMIT $4::bigint)
)
SELECT run_key, count(*) FROM tasks GROUP BY run_key;
