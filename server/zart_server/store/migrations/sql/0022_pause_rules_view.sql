-- The view of pause rules has what the API tells of them and is stored: also which breaker made a
-- rule, since when it is drained, and whom it exempts, or did when it ended.
CREATE OR REPLACE VIEW public.zart_pause_rules AS
SELECT p.rule_id, p.execution_id, p.task_name, p.step_pattern, p.everything, p.reason,
       CASE WHEN p.deleted_at IS NULL AND r.rule_key IS NOT NULL THEN 'releasing'
            WHEN p.deleted_at IS NULL THEN 'active'
            WHEN p.expired THEN 'expired' ELSE 'resumed' END AS status,
       p.created_at, p.created_by, p.expires_at, p.deleted_at, p.deleted_by, p.principal,
       p.deleted_by_principal, p.incident, p.expiry_rate AS release_on_expiry,
       r.rate_per_second, r.released_steps, r.started_at AS release_started_at,
       r.started_by AS release_started_by, p.breaker_id,
       (SELECT d.drained_at FROM zart.pause_drains d WHERE d.rule_key = p.rule_key) AS drained_at,
       ARRAY(SELECT x.execution_id FROM zart.pause_exemptions x
             WHERE x.rule_key = p.rule_key AND x.token_until IS NULL
             ORDER BY x.execution_id) AS exempt_execution_ids
FROM zart.pause_rules p LEFT JOIN zart.pause_releases r
    ON r.rule_key = p.rule_key AND (r.ended_at IS NULL OR r.ended_at >= p.deleted_at);
