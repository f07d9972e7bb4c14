"""Reads: what the API may ask of the store without going through the engine."""

from zart_server.store.reads.compared_runs import compare_runs
from zart_server.store.reads.definitions import get_task_definition, list_task_definitions
from zart_server.store.reads.error_groups import list_error_groups
from zart_server.store.reads.execution_counts import count_executions
from zart_server.store.reads.execution_pages import list_executions
from zart_server.store.reads.executions import get_execution, get_executions, get_step
from zart_server.store.reads.in_doubt import list_in_doubt
from zart_server.store.reads.known_steps import read_known_steps
from zart_server.store.reads.operations import list_operations
from zart_server.store.reads.rule_holds import read_known_holds
from zart_server.store.reads.rules import get_pause_rule, list_pause_rules
from zart_server.store.reads.runs import list_runs

__all__ = [
    "compare_runs",
    "count_executions",
    "get_execution",
    "get_executions",
    "get_pause_rule",
    "get_step",
    "get_task_definition",
    "list_error_groups",
    "list_executions",
    "list_in_doubt",
    "list_operations",
    "list_pause_rules",
    "list_runs",
    "list_task_definitions",
    "read_known_holds",
    "read_known_steps",
]
