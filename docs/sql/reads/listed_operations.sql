-- store/reads/listed_operations.py: read_part (lists operations by execution_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: kinds=$1, execution_id=$2, before=$3, since=$4, looked=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, principal=$11, created_after=$12,
--   created_before=$13, with_items=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT o.* FROM unnest($1::text[]) k(kind) CROSS JOIN LATERAL (
        SELECT * FROM zart.operations
        WHERE (execution_id, kind, operation_key) < ($2::text, k.kind, $3::bigint)
            AND (execution_id, kind, operation_key) >= ($2::text, k.kind, $4::bigint)
        ORDER BY execution_id DESC, kind DESC, operation_key DESC LIMIT $5::bigint
    ) o ORDER BY operation_key DESC LIMIT $5
), found AS (
    SELECT * FROM looked
    WHERE ($2::text = '' OR execution_id = $2)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($11::text = '' OR principal = $11)
        AND ($12::timestamptz IS NULL OR created_at >= $12)
        AND ($13::timestamptz IS NULL OR created_at < $13)
        AND ($14::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($1::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $5 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by batch_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: batch_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, breaker_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE batch_id <> '' AND kind <> 'start' AND (batch_id, operation_key) < ($1::text, $2::bigint)
        AND (batch_id, operation_key) >= ($1, $3::bigint)
    ORDER BY batch_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($1::text = '' OR batch_id = $1)
        AND ($6::text = '' OR breaker_id = $6)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by breaker_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: breaker_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE breaker_id <> ''
        AND kind <> 'start'
        AND (breaker_id, operation_key) < ($1::text, $2::bigint)
        AND (breaker_id, operation_key) >= ($1, $3::bigint)
    ORDER BY breaker_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($1::text = '' OR breaker_id = $1)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by rule_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: rule_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE rule_id <> '' AND kind <> 'start' AND (rule_id, operation_key) < ($1::text, $2::bigint)
        AND (rule_id, operation_key) >= ($1, $3::bigint)
    ORDER BY rule_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($1::text = '' OR rule_id = $1)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by incident)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: incident=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, triggered_by=$9, principal=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE incident <> '' AND kind <> 'start' AND (incident, operation_key) < ($1::text, $2::bigint)
        AND (incident, operation_key) >= ($1, $3::bigint)
    ORDER BY incident DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($1::text = '' OR incident = $1)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by triggered_by)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: triggered_by=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE triggered_by <> ''
        AND kind <> 'start'
        AND (triggered_by, operation_key) < ($1::text, $2::bigint)
        AND (triggered_by, operation_key) >= ($1, $3::bigint)
    ORDER BY triggered_by DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($1::text = '' OR triggered_by = $1)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by principal)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: principal=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE principal <> ''
        AND kind <> 'start'
        AND (principal, operation_key) < ($1::text, $2::bigint)
        AND (principal, operation_key) >= ($1, $3::bigint)
    ORDER BY principal DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($1::text = '' OR principal = $1)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by kind)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: kinds=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, principal=$11, created_after=$12,
--   created_before=$13, with_items=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT o.* FROM unnest($1::text[]) k(kind) CROSS JOIN LATERAL (
        SELECT * FROM zart.operations
        WHERE kind <> 'start' AND (kind, operation_key) < (k.kind, $2::bigint)
            AND (kind, operation_key) >= (k.kind, $3::bigint)
        ORDER BY kind DESC, operation_key DESC LIMIT $4::bigint
    ) o ORDER BY operation_key DESC LIMIT $4
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($11::text = '' OR principal = $11)
        AND ($12::timestamptz IS NULL OR created_at >= $12)
        AND ($13::timestamptz IS NULL OR created_at < $13)
        AND ($14::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($1::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operations by key)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: before=$1, since=$2, looked=$3, execution_id=$4, batch_id=$5, breaker_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operations
    WHERE operation_key < $1::bigint AND operation_key >= $2::bigint
    ORDER BY operation_key DESC LIMIT $3::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($4::text = '' OR execution_id = $4)
        AND ($5::text = '' OR batch_id = $5)
        AND ($6::text = '' OR breaker_id = $6)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND 'done' = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $3 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(replaced::text), 0) + COALESCE(octet_length(made::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by execution_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: kinds=$1, execution_id=$2, before=$3, since=$4, looked=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, principal=$11, created_after=$12,
--   created_before=$13, with_items=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT o.* FROM unnest($1::text[]) k(kind) CROSS JOIN LATERAL (
        SELECT * FROM zart.operation_attempts
        WHERE (execution_id, kind, operation_key) < ($2::text, k.kind, $3::bigint)
            AND (execution_id, kind, operation_key) >= ($2::text, k.kind, $4::bigint)
        ORDER BY execution_id DESC, kind DESC, operation_key DESC LIMIT $5::bigint
    ) o ORDER BY operation_key DESC LIMIT $5
), found AS (
    SELECT * FROM looked
    WHERE ($2::text = '' OR execution_id = $2)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($11::text = '' OR principal = $11)
        AND ($12::timestamptz IS NULL OR created_at >= $12)
        AND ($13::timestamptz IS NULL OR created_at < $13)
        AND ($14::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($1::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $5 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by batch_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: batch_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, breaker_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE batch_id <> '' AND (batch_id, operation_key) < ($1::text, $2::bigint)
        AND (batch_id, operation_key) >= ($1, $3::bigint)
    ORDER BY batch_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($1::text = '' OR batch_id = $1)
        AND ($6::text = '' OR breaker_id = $6)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by breaker_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: breaker_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE breaker_id <> '' AND (breaker_id, operation_key) < ($1::text, $2::bigint)
        AND (breaker_id, operation_key) >= ($1, $3::bigint)
    ORDER BY breaker_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($1::text = '' OR breaker_id = $1)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by rule_id)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: rule_id=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE rule_id <> '' AND (rule_id, operation_key) < ($1::text, $2::bigint)
        AND (rule_id, operation_key) >= ($1, $3::bigint)
    ORDER BY rule_id DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($1::text = '' OR rule_id = $1)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by incident)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: incident=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, triggered_by=$9, principal=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE incident <> '' AND (incident, operation_key) < ($1::text, $2::bigint)
        AND (incident, operation_key) >= ($1, $3::bigint)
    ORDER BY incident DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($1::text = '' OR incident = $1)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by triggered_by)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: triggered_by=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE triggered_by <> '' AND (triggered_by, operation_key) < ($1::text, $2::bigint)
        AND (triggered_by, operation_key) >= ($1, $3::bigint)
    ORDER BY triggered_by DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($1::text = '' OR triggered_by = $1)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by principal)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: principal=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, created_after=$11,
--   created_before=$12, with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE principal <> '' AND (principal, operation_key) < ($1::text, $2::bigint)
        AND (principal, operation_key) >= ($1, $3::bigint)
    ORDER BY principal DESC, operation_key DESC LIMIT $4::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($1::text = '' OR principal = $1)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by kind)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: kinds=$1, before=$2, since=$3, looked=$4, execution_id=$5, batch_id=$6,
--   breaker_id=$7, rule_id=$8, incident=$9, triggered_by=$10, principal=$11, created_after=$12,
--   created_before=$13, with_items=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT o.* FROM unnest($1::text[]) k(kind) CROSS JOIN LATERAL (
        SELECT * FROM zart.operation_attempts
        WHERE (kind, operation_key) < (k.kind, $2::bigint)
            AND (kind, operation_key) >= (k.kind, $3::bigint)
        ORDER BY kind DESC, operation_key DESC LIMIT $4::bigint
    ) o ORDER BY operation_key DESC LIMIT $4
), found AS (
    SELECT * FROM looked
    WHERE ($5::text = '' OR execution_id = $5)
        AND ($6::text = '' OR batch_id = $6)
        AND ($7::text = '' OR breaker_id = $7)
        AND ($8::text = '' OR rule_id = $8)
        AND ($9::text = '' OR incident = $9)
        AND ($10::text = '' OR triggered_by = $10)
        AND ($11::text = '' OR principal = $11)
        AND ($12::timestamptz IS NULL OR created_at >= $12)
        AND ($13::timestamptz IS NULL OR created_at < $13)
        AND ($14::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($1::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $4 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: read_part (lists operation_attempts by key)
-- Return the operations of one table before a key, newest first.
-- Locks: nothing.
-- Parameters: before=$1, since=$2, looked=$3, execution_id=$4, batch_id=$5, breaker_id=$6,
--   rule_id=$7, incident=$8, triggered_by=$9, principal=$10, created_after=$11, created_before=$12,
--   with_items=$13, kinds=$14, statuses=$15, limit=$16, page_bytes=$17.
WITH looked AS MATERIALIZED (
    SELECT * FROM zart.operation_attempts
    WHERE operation_key < $1::bigint AND operation_key >= $2::bigint
    ORDER BY operation_key DESC LIMIT $3::bigint
), found AS (
    SELECT * FROM looked
    WHERE ($4::text = '' OR execution_id = $4)
        AND ($5::text = '' OR batch_id = $5)
        AND ($6::text = '' OR breaker_id = $6)
        AND ($7::text = '' OR rule_id = $7)
        AND ($8::text = '' OR incident = $8)
        AND ($9::text = '' OR triggered_by = $9)
        AND ($10::text = '' OR principal = $10)
        AND ($11::timestamptz IS NULL OR created_at >= $11)
        AND ($12::timestamptz IS NULL OR created_at < $12)
        AND ($13::boolean OR batch_id = '' OR kind LIKE '%\_batch')
        AND kind = ANY($14::text[]) AND status = ANY($15::text[])
    ORDER BY operation_key DESC LIMIT $16::bigint
)
-- One row at least. `until`: the last that was looked at, if others may follow.
SELECT f.*, until FROM (
    SELECT CASE WHEN count(*) = $3 THEN min(operation_key) END AS until FROM looked
) l LEFT JOIN (
    SELECT * FROM (
        SELECT *, count(*) OVER () AS n_rows, sum(COALESCE(octet_length(refusal::text), 0)) OVER (
            ORDER BY operation_key DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before
        FROM found) sized
    WHERE COALESCE(bytes_before, 0) <= $17::bigint
) f ON true
ORDER BY operation_key DESC;

-- store/reads/listed_operations.py: first_since (first since operations)
-- Return the key that operations since a time begin with; None if there are none at all.
-- Locks: nothing.
-- Parameters: time=$1, margin=$2.
WITH RECURSIVE narrowed(low, high) AS (
    SELECT (SELECT operation_key FROM zart.operations WHERE operation_key >= 0
        ORDER BY operation_key LIMIT 1),
    (SELECT operation_key + 1 FROM zart.operations WHERE operation_key < 9223372036854775807
        ORDER BY operation_key DESC LIMIT 1)
    UNION ALL
    SELECT CASE WHEN is_earlier THEN o.operation_key + 1 ELSE low END,
        CASE WHEN is_earlier THEN high ELSE middle END
    FROM narrowed
    CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS middle OFFSET 0) m
    CROSS JOIN LATERAL (
        SELECT operation_key,
            created_at < $1::timestamptz + $2::interval AS is_earlier
        FROM zart.operations
        WHERE operation_key >= m.middle ORDER BY operation_key LIMIT 1) o
    WHERE low < high
)
SELECT max(low) FROM narrowed;

-- store/reads/listed_operations.py: first_since (first since operation_attempts)
-- Return the key that operations since a time begin with; None if there are none at all.
-- Locks: nothing.
-- Parameters: time=$1, margin=$2.
WITH RECURSIVE narrowed(low, high) AS (
    SELECT (SELECT operation_key FROM zart.operation_attempts WHERE operation_key >= 0
        ORDER BY operation_key LIMIT 1),
    (SELECT operation_key + 1 FROM zart.operation_attempts WHERE operation_key < 9223372036854775807
        ORDER BY operation_key DESC LIMIT 1)
    UNION ALL
    SELECT CASE WHEN is_earlier THEN o.operation_key + 1 ELSE low END,
        CASE WHEN is_earlier THEN high ELSE middle END
    FROM narrowed
    CROSS JOIN LATERAL (SELECT low + (high - low) / 2 AS middle OFFSET 0) m
    CROSS JOIN LATERAL (
        SELECT operation_key,
            created_at < $1::timestamptz + $2::interval AS is_earlier
        FROM zart.operation_attempts
        WHERE operation_key >= m.middle ORDER BY operation_key LIMIT 1) o
    WHERE low < high
)
SELECT max(low) FROM narrowed;
