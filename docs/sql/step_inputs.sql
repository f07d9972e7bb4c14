-- store/step_inputs.py: read_inputs
-- Read corrected inputs: the text, None where it has over ``at_most`` bytes, and its size.
-- Locks: nothing.
SELECT i.* FROM unnest($1::bigint[], $2::integer[], $3::integer[]) u(r, s, c)
CROSS JOIN LATERAL (
    SELECT run_key, step_no, correction,
        CASE WHEN $4::integer IS NULL OR octet_length(input::text) <= $4 THEN input END,
        octet_length(input::text)
    FROM zart.step_inputs
    WHERE run_key = r AND step_no = s AND correction = c OFFSET 0) i;

-- store/step_inputs.py: input_of_step
-- Return where the input of a step of a run stands, if it was corrected.
-- Locks: nothing.
SELECT correction, source_run_key FROM zart.steps WHERE run_key = $1 AND step_no = $2;

-- store/step_inputs.py: insert_first_inputs
-- Insert the corrected inputs that steps of new runs begin with, as their first corrections.
-- Locks: nothing.
-- Parameters: run_keys=$1, step_nos=$2, texts=$3, kept_runs=$4, kept_steps=$5, kept_corrections=$6.
INSERT INTO zart.step_inputs (run_key, step_no, correction, input)
SELECT u.run_key, u.step_no, 1, COALESCE(u.text::json, kept.input)
FROM unnest($1::bigint[], $2::integer[], $3::text[], $4::bigint[],
        $5::integer[], $6::integer[]) u(run_key, step_no, text, r, s, c)
LEFT JOIN LATERAL (
    SELECT input FROM zart.step_inputs
    WHERE run_key = u.r AND step_no = u.s AND correction = u.c OFFSET 0) kept ON true;
