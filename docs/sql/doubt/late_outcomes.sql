-- store/doubt/late_outcomes.py: keep_late_outcomes
-- Keep outcomes with the attempts in doubt that they are of; return the indexes of these.
-- Locks: in_doubt.
-- Parameters: run_keys=$1, step_nos=$2, tokens=$3, of_principals=$4, statuses=$5, omitted=$6,
--   results=$7, errors=$8, principals=$9.
WITH found AS MATERIALIZED (
    SELECT d.run_key, d.step_no, d.attempt, u.n, u.status, u.omitted::boolean AS omitted,
        u.result, u.error
    FROM unnest($1::text::bigint[], $2::text::integer[], $3::text::bigint[],
            $4::text::integer[],
            $5::text[], $6::text[], $7::text[], $8::text[])
    WITH ORDINALITY
        u(run_key, step_no, token, of_principal, status, omitted, result, error, n)
    CROSS JOIN LATERAL (
        SELECT * FROM zart.in_doubt
        WHERE in_doubt.run_key = u.run_key AND in_doubt.step_no = u.step_no OFFSET 0) d
    WHERE d.lease_token = u.token AND d.principal = ($9::text[])[of_principal]
        AND (d.swept OR d.ended_as <> u.status)
), kept AS (
    UPDATE zart.in_doubt d SET late_status = f.status, late_result = f.result::json,
        late_omitted = f.omitted, late_error = f.error::json,
        late_received_at = statement_timestamp()
    FROM found f
    WHERE d.run_key = ANY(ARRAY[f.run_key]) AND d.step_no = f.step_no AND d.attempt = f.attempt
        AND (d.late_status IS NULL
                OR d.late_status IN ('timed_out', 'lost') AND f.status NOT IN ('timed_out', 'lost'))
)
SELECT n FROM found;
