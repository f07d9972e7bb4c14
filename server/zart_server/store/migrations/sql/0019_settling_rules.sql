-- What pauses a queued task is a rule that is settling, for what settled rules match is not queued: so
-- of all rules these few are looked at. What else is paused has been asked for by one rule, mostly;
-- of the others a pattern that cannot match, as it begins otherwise, is not compiled: that takes
-- longer than all else.
CREATE OR REPLACE FUNCTION zart.pausing_rule(of_execution text, of_task text, of_step text,
    of_run bigint, of_step_no integer, of_attempt integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT rule_key FROM zart.pause_rules p
    WHERE deleted_at IS NULL
      AND (execution_id IS NULL OR execution_id = of_execution)
      AND (task_name IS NULL OR task_name = of_task)
      AND CASE WHEN step_regex IS NULL THEN true
               WHEN NOT starts_with(of_step, substring(step_pattern FROM '^[^*?[{\\]*')) THEN false
               ELSE of_step ~ step_regex END
      AND NOT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.execution_id = of_execution AND x.token_until IS NULL
        OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM zart.released_steps s
        WHERE s.run_key = of_run AND s.step_no = of_step_no AND s.attempt = of_attempt
          AND s.rule_key = p.rule_key AND s.token_until IS NULL
        OFFSET 0)
    ORDER BY rule_key LIMIT 1
$$;

-- The oldest settling rule that withholds a queued task, NULL when none does.
CREATE FUNCTION zart.settling_rule(of_execution text, of_task text, of_step text,
    of_run bigint, of_step_no integer, of_attempt integer) RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT min(p.rule_key) FROM zart.pause_work w CROSS JOIN LATERAL (
        SELECT * FROM zart.pause_rules WHERE rule_key = w.rule_key OFFSET 0) p
    WHERE w.work = 'settle' AND p.deleted_at IS NULL
      AND (p.execution_id IS NULL OR p.execution_id = of_execution)
      AND (p.task_name IS NULL OR p.task_name = of_task)
      AND (p.step_regex IS NULL OR of_step ~ p.step_regex)
      AND NOT EXISTS (
        SELECT FROM zart.pause_exemptions x
        WHERE x.rule_key = p.rule_key AND x.execution_id = of_execution AND x.token_until IS NULL
        OFFSET 0)
      AND NOT EXISTS (
        SELECT FROM zart.released_steps s
        WHERE s.run_key = of_run AND s.step_no = of_step_no AND s.attempt = of_attempt
          AND s.rule_key = p.rule_key AND s.token_until IS NULL
        OFFSET 0)
$$;
