"""Operations on executions, steps and rules: one file for each verb."""
