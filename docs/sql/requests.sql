-- store/requests.py: find_requests
-- Return those of the requests that were answered before.
-- Locks: nothing.
SELECT r.*
FROM unnest($1::text[], $2::text[], $3::text[]) u(caller, rpc, request_id)
CROSS JOIN LATERAL (SELECT caller, rpc, request_id, fingerprint, response, is_complete, created_at FROM zart.requests WHERE caller = u.caller AND rpc = u.rpc AND request_id = u.request_id OFFSET 0) r;

-- store/requests.py: insert_requests
-- Insert requests with their responses; False where one of them is there already.
-- Locks: keys of requests, waiting.
-- Parameters: callers=$1, rpcs=$2, request_ids=$3, fingerprints=$4, responses=$5, are_complete=$6.
INSERT INTO zart.requests (caller, rpc, request_id, fingerprint, response, is_complete)
SELECT u.* FROM unnest($1::text[], $2::text[], $3::text[],
        $4::bytea[], $5::bytea[], $6::boolean[]) u
ON CONFLICT DO NOTHING;

-- store/requests.py: complete_response
-- Store the whole response of a request whose response was incomplete.
-- Locks: requests.
UPDATE zart.requests
SET response = $4, is_complete = true
WHERE caller = $1
    AND rpc = $2
    AND request_id = $3;

-- store/requests.py: purge_requests
-- Delete the requests older than 7 days in so many blocks of the table from the ``first`` on.
-- Locks: requests.
WITH gone AS (DELETE FROM zart.requests WHERE ctid = ANY(ARRAY(SELECT ctid FROM zart.requests WHERE ctid >= $1::tid AND ctid < $2::tid AND created_at < LEAST(statement_timestamp(), $4::timestamptz) - interval '7 days' FOR UPDATE SKIP LOCKED))) SELECT pg_relation_size('zart.requests') > current_setting('block_size')::bigint * $3::bigint;
