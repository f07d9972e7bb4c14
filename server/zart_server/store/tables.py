"""The tables as SQLAlchemy Core knows them: only those that composed reads select from."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Table, Text

metadata = MetaData(schema="zart")

_Time = DateTime(timezone=True)

executions = Table(
    "executions",
    metadata,
    Column("execution_key", BigInteger, primary_key=True),
    Column("execution_id", Text),
    Column("task_name", Text),
    Column("created_at", _Time),
)
runs = Table(
    "runs",
    metadata,
    Column("run_key", BigInteger, primary_key=True),
    Column("execution_key", BigInteger),
    Column("run_number", Integer),
    Column("is_current", Boolean),
    Column("definition_key", BigInteger),
    Column("status", Text),
    Column("dead_steps", Integer),
)
steps = Table(
    "steps",
    metadata,
    Column("run_key", BigInteger, primary_key=True),
    Column("step_no", Integer, primary_key=True),
    Column("status", Text),
)
queue = Table(
    "queue",
    metadata,
    Column("run_key", BigInteger, primary_key=True),
    Column("step_no", Integer, primary_key=True),
    Column("step_name", Text),
)
leases = Table(
    "leases",
    metadata,
    Column("run_key", BigInteger, primary_key=True),
    Column("step_no", Integer, primary_key=True),
)
held = Table(
    "held",
    metadata,
    Column("run_key", BigInteger, primary_key=True),
    Column("step_no", Integer, primary_key=True),
    Column("step_name", Text),
)
pause_rules = Table(
    "pause_rules",
    metadata,
    Column("rule_key", BigInteger, primary_key=True),
    Column("rule_id", Text),
    Column("execution_id", Text),
    Column("task_name", Text),
    Column("step_pattern", Text),
    Column("everything", Boolean),
    Column("reason", Text),
    Column("created_at", _Time),
    Column("created_by", Text),
    Column("principal", Text),
    Column("expires_at", _Time),
    Column("deleted_at", _Time),
    Column("deleted_by", Text),
    Column("deleted_by_principal", Text),
    Column("expired", Boolean),
)
operations = Table(
    "operations",
    metadata,
    Column("operation_key", BigInteger, primary_key=True),
    Column("kind", Text),
    Column("execution_id", Text),
    Column("run_number", Integer),
    Column("step_name", Text),
    Column("rule_id", Text),
    Column("task_name", Text),
    Column("triggered_by", Text),
    Column("principal", Text),
    Column("reason", Text),
    Column("request_id", Text),
    Column("created_at", _Time),
    Column("replaced", Text),
    Column("made", Text),
)
