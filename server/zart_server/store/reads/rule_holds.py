"""Reads which pause rules held an execution's steps, from when to when; no row is kept of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.commands import ExecutionView
from zart_server.domain.errors import ZartError
from zart_server.domain.model import PauseRule, StepStatus
from zart_server.domain.newest_holds import HeldRun, newest_holds
from zart_server.domain.operations import ListOperations, OperationKind
from zart_server.domain.rule_holds import OnRecord, RuleHold, lacks_attempts
from zart_server.store.connection import Connection
from zart_server.store.pausing.rules import RuleRow, rule_columns
from zart_server.store.reads.executions import get_execution, get_executions
from zart_server.store.reads.operations import list_operations
from zart_server.store.statement import Statement

_RUNS = 10
_MOST = 1_000
_LOOKED_AT = 5_000  # rules, the newest
_BYTES = 200  # about, of a rule or a step that is looked at
_ANY_BYTES = 2**62
# Rules that may have held a step of an execution.
_MATCHES = """(execution_id IS NULL OR execution_id = :execution_id::text)
    AND (task_name IS NULL OR task_name = :task_name::text)"""
_MAY_HOLD = f"{_MATCHES} AND (deleted_at IS NULL OR deleted_at > :since::timestamptz)"
# Of the older ones those that stand, and those that ended lately, are found without the others.
_IS_ANY_OLDER = f"""(EXISTS (
    SELECT FROM zart.pause_rules WHERE (deleted_at IS NULL) = true
        AND rule_key < (SELECT min(rule_key) FROM looked) AND {_MATCHES} OFFSET 0)
    OR EXISTS (
        SELECT FROM zart.pause_rules WHERE deleted_at > :since::timestamptz
            AND rule_key < (SELECT min(rule_key) FROM looked) AND {_MATCHES} OFFSET 0))"""
_RULES = Statement(
    f"""
    WITH looked AS MATERIALIZED (
        SELECT * FROM zart.pause_rules WHERE rule_key >= 0
        ORDER BY rule_key DESC LIMIT {_LOOKED_AT}
    )
    SELECT o.is_any_older, m.* FROM (SELECT {_IS_ANY_OLDER} AS is_any_older) o
    LEFT JOIN LATERAL (
        SELECT {rule_columns("looked", 1)}, EXISTS (
            SELECT FROM zart.pause_exemptions x
            WHERE x.rule_key = looked.rule_key AND x.execution_id = :execution_id::text
              AND x.token_from <= looked.token_from OFFSET 0) AS is_born_exempt
        FROM looked WHERE {_MAY_HOLD}) m ON true
    """
)
_LET_GO = Statement(
    f"""
    SELECT p.rule_id, s.run_key, s.step_no, s.attempt, s.released_at
    FROM unnest(:run_keys::bigint[]) u(run_key)
    CROSS JOIN LATERAL (SELECT * FROM zart.released_steps WHERE run_key = u.run_key
        LIMIT {_LOOKED_AT} + 1) s
    CROSS JOIN LATERAL (SELECT rule_id FROM zart.pause_rules WHERE rule_key = s.rule_key OFFSET 0) p
    """
)
_TAKEN_BACK = Statement(
    f"""
    SELECT o.rule_id, o.created_at FROM unnest(:rule_ids::text[]) u(rule_id) CROSS JOIN LATERAL (
        SELECT rule_id, created_at FROM zart.operations
        WHERE operations.rule_id = u.rule_id AND operations.rule_id <> ''
          AND kind <> 'start' AND kind IN ('stop_release', 'breaker_opened')
        ORDER BY operation_key DESC LIMIT {_LOOKED_AT}) o
    """
)


class RuleHolds(NamedTuple):
    """The holds, newest first.

    ``is_partial``: there may be others, of earlier runs, attempts or rules, or shorter.
    """

    holds: tuple[RuleHold, ...]
    is_partial: bool


@dataclass(frozen=True, slots=True)
class KnownHolds:
    """What tells which rules held the steps of an execution, read at one moment."""

    execution_id: str
    task_name: str
    runs: Sequence[HeldRun]
    rules: Sequence[PauseRule]
    has_earlier_runs: bool
    has_older_rules: bool  # beyond those that are looked at, which may have held it
    lacks_let_go: bool = False  # what rules let go of a run is more than is looked at

    @property
    def size(self) -> int:
        """How many bytes are looked at to find out, about."""
        return _BYTES * (len(self.rules) + sum(len(held.steps) for held in self.runs))

    def found(self) -> RuleHolds:
        """Find out. Not while a transaction is open: this may take long."""
        holds, are_all = newest_holds(
            self.execution_id, self.task_name, self.runs, self.rules, _MOST
        )
        is_partial = self.has_earlier_runs or self.has_older_rules or self.lacks_let_go
        is_partial |= not are_all
        is_partial |= any(lacks_attempts(step) for held in self.runs for step in held.steps)
        return RuleHolds(tuple(holds), is_partial)


async def read_known_holds(connection: Connection, execution_id: str) -> KnownHolds:
    """Read what tells which rules held an execution's newest runs. Raises ExecutionNotFound.

    ``connection`` is to see one moment.
    """
    current = await get_execution(connection, execution_id, None)
    task_name = current.execution.task_name
    found = await connection.fetch(
        _RULES.text,
        *_RULES.arguments(
            execution_id=execution_id,
            task_name=task_name,
            since=current.execution.created_at,
        ),
    )
    is_any_older = found[0]["is_any_older"]
    rows = [row for row in found if row["rule_key"] is not None]
    if not rows:
        return KnownHolds(
            execution_id, task_name, (), (), has_earlier_runs=False, has_older_rules=is_any_older
        )
    rules = await connection.aside(
        _BYTES * len(rows), lambda: [RuleRow.from_row(row).rule for row in rows]
    )
    born_exempt = frozenset(row["rule_id"] for row in rows if row["is_born_exempt"])
    newest = current.run.run_number
    oldest = max(0, newest - _RUNS + 1)
    earlier = [(execution_id, number) for number in range(oldest, newest)]
    views = [current]
    if earlier:
        for view in await get_executions(connection, earlier):
            if isinstance(view, ZartError):
                raise view
            views.append(view)
    records, lacks_let_go = await _records(connection, execution_id, views, born_exempt)
    runs = [HeldRun(view.run, view.steps, records[view.run.run_number]) for view in views]
    return KnownHolds(
        execution_id,
        task_name,
        runs,
        rules,
        has_earlier_runs=oldest > 0,
        has_older_rules=is_any_older,
        lacks_let_go=lacks_let_go,
    )


async def _records(
    connection: Connection,
    execution_id: str,
    views: list[ExecutionView],
    born_exempt: frozenset[str],
) -> tuple[dict[int, OnRecord], bool]:
    """Return what is on record of each run, by its number; and whether more was let go of any."""
    revived = OperationKind.RETRY_STEP, OperationKind.COMPLETE_STEP
    kinds = (*revived, OperationKind.UPDATE_PAUSE_RULE)
    page = await list_operations(
        connection, ListOperations(execution_id, kinds), None, _LOOKED_AT, _ANY_BYTES
    )
    retried: dict[int, dict[str, list[datetime]]] = defaultdict(lambda: defaultdict(list))
    exempted: dict[str, list[tuple[datetime, bool]]] = defaultdict(list)
    for done in page.items:
        if done.kind in revived and done.replaced.step_status is StepStatus.DEAD:
            retried[done.run_number or 0][done.step_name].append(done.created_at)
        elif done.made.is_exempt is not None:
            exempted[done.rule_id].append((done.created_at, done.made.is_exempt))
    by_key = {view.run_key: view for view in views}
    let_go: dict[int, dict[tuple[str, str, int], datetime]] = defaultdict(dict)
    rows = await connection.fetch(_LET_GO.text, *_LET_GO.arguments(run_keys=list(by_key)))
    lacks_let_go = max(Counter(row["run_key"] for row in rows).values(), default=0) > _LOOKED_AT
    for row in rows:
        view = by_key[row["run_key"]]
        name = view.steps[row["step_no"]].step_name
        let_go[view.run.run_number][row["rule_id"], name, row["attempt"]] = row["released_at"]
    letting_go = {rule_id for of_run in let_go.values() for rule_id, _, _ in of_run}
    taken_back: dict[str, list[datetime]] = defaultdict(list)
    if letting_go:
        values = _TAKEN_BACK.arguments(rule_ids=sorted(letting_go))
        for rule_id, at in await connection.fetch(_TAKEN_BACK.text, *values):
            taken_back[rule_id].append(at)
    numbers = [view.run.run_number for view in views]
    records = {
        n: OnRecord(retried[n], exempted, let_go[n], taken_back, born_exempt) for n in numbers
    }
    return records, lacks_let_go
