"""The law: each scan of a large table looks rows up by an index, and no node works for more."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from hot.explained import Plan

# These grow with what there is, or with what there ever was.
LARGE = frozenset(
    (
        "definitions",
        "executions",
        "runs",
        "steps",
        "attempts",
        "dead_steps",
        "queue",
        "leases",
        "held",
        "operations",
        "operation_attempts",
        "requests",
        "released_steps",
        "batch_items",
    )
)
_SLACK = 20


def faults(
    plan: Plan, batch: int, leading: Mapping[str, str], whole: AbstractSet[str] = frozenset()
) -> list[str]:
    """Say what is wrong with a plan for a batch; ``leading`` has the first column of each index.

    The tables ``whole`` it may read from end to end, as long as that is no more.
    """
    large = LARGE - whole
    most = 5 * batch + _SLACK
    found = [
        f"{table}: {read} rows or entries read"
        for table, read in plan.read.items()
        if read > most and table in LARGE
    ]
    rows, busiest = plan.most_at_a_node
    if rows > most:
        found.append(f"{busiest}: {rows} rows")
    for node in plan.nodes:
        kind, table = node["Node Type"], node.get("Relation Name")
        index = node.get("Index Name", "")
        if kind == "Seq Scan" and table in large:
            found.append(f"{table}: read from end to end")
        # A condition on later columns only does not keep it from reading the whole index.
        if index.startswith(tuple(large)) and leading[index] not in node.get("Index Cond", ""):
            found.append(f"{index}: read from end to end")
    return [f"{plan.function}: {what}\n{plan.sql}" for what in found]
