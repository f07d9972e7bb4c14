-- Whether a rule withholds a ready step, whatever rule that is attributed to: it stands, matches it,
-- does not exempt the execution, and has not let the attempt go.
CREATE FUNCTION zart.rule_withholds(of_rule bigint, of_execution text, of_task text, of_step text,
    of_run bigint, of_step_no integer, of_attempt integer) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM zart.pause_rules p
        WHERE p.rule_key = of_rule AND p.deleted_at IS NULL
          AND (p.execution_id IS NULL OR p.execution_id = of_execution)
          AND (p.task_name IS NULL OR p.task_name = of_task)
          AND (p.step_regex IS NULL OR of_step ~ p.step_regex)
          AND NOT EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = p.rule_key AND x.execution_id = of_execution
              AND x.token_until IS NULL
            OFFSET 0)
          AND NOT EXISTS (
            SELECT FROM zart.released_steps s
            WHERE s.run_key = of_run AND s.step_no = of_step_no AND s.attempt = of_attempt
              AND s.rule_key = p.rule_key AND s.token_until IS NULL
            OFFSET 0))
$$;
