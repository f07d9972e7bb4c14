-- store/run_facts.py: _read
-- Read what is known of runs for good, and short payloads.
-- Locks: nothing.
SELECT r.run_key, r.execution_key, e.execution_id, r.run_number, r.definition_key,
    r.source_run_number IS NOT NULL, COALESCE(octet_length(
            COALESCE(r.payload, p.payload)::text), 0),
    CASE WHEN octet_length(r.payload::text) <= $2 THEN r.payload END, r.traceparent
FROM unnest($1::bigint[]) u(run_key) CROSS JOIN LATERAL (
    SELECT * FROM zart.runs WHERE run_key = u.run_key OFFSET 0) r
CROSS JOIN LATERAL (SELECT execution_id FROM zart.executions
    WHERE execution_key = r.execution_key OFFSET 0) e
LEFT JOIN LATERAL (
    SELECT payload FROM zart.runs WHERE run_key = r.payload_run_key OFFSET 0) p ON true;
