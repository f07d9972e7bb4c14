-- store/reads/watched.py: run_digests
-- Return, by run key, a digest that is another one once the run has changed.
-- Locks: nothing.
SELECT r.run_key, concat_ws('/', r.status, r.is_current,
    (SELECT sum(hashtextextended(status, step_no)) FROM zart.steps s
        WHERE s.run_key = r.run_key),
    (SELECT sum(hashtextextended(concat(attempt, '/', lease_token), step_no))
        FROM zart.leases q WHERE q.run_key = r.run_key),
    (SELECT sum(hashtextextended(attempt::text, step_no))
        FROM zart.queue q WHERE q.run_key = r.run_key),
    (SELECT sum(hashtextextended(rule_key::text, step_no)) FROM zart.held h
        WHERE h.run_key = r.run_key)) AS digest
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r;
