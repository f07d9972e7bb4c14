"""Finds the current runs that a filter matches, newest execution first, and their steps.

Each way to them is an index that has the order of the list: of the runs, or of dead steps by the
group of their error. What is little is read as a whole. Whatever else a filter asks is looked up
for so many runs in their order, and the page ends there, short or empty.
"""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.errors import (
    BatchNotFound,
    ErrorGroupNotFound,
    FilterTooBroad,
    PauseRuleNotFound,
)
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import StepStatus
from zart_server.store.connection import Connection
from zart_server.store.reads.dead_groups import (
    OF_GROUPS,
    Group,
    count_dead,
    find_groups,
    is_known_group,
    runs_that_died_between,
)
from zart_server.store.reads.fitting import FITS, WORK, fitting_arguments
from zart_server.store.reads.listed_by_steps import (
    OF_KEYS,
    UNFINISHED,
    FoundRuns,
    find_unfinished,
    merged,
)
from zart_server.store.reads.listed_runs import (
    CURRENT,
    DEAD,
    Listed,
    ListPosition,
    Range,
    by_status,
    count_unfinished,
    find_runs,
    range_of,
)
from zart_server.store.statement import Statement

_FEW = 1_000  # runs that are read as a whole
_RUNS = 1_000  # that are looked at for a page
_GROUPS = 400  # that are told apart
_OF_GROUPS = 10_000  # dead steps that are read of all groups together, for a page
_UNFINISHED = 10_000  # executions in which steps are looked for without a task's name
_SEARCHED = 10_000  # dead steps whose errors are searched without their group
_BEYOND = "\U0010ffff" * 64  # an id has at most 255 bytes


def _looking(source: str, condition: str = FITS) -> Statement:
    """Return the query for the first runs of a source, and whether each fits."""
    return Statement(f"""
        WITH candidates AS MATERIALIZED ({source}), settling AS MATERIALIZED (
            SELECT {WORK.format("settle")} AS yes
        )
        SELECT listed_at, execution_key, run_key, {condition}
        FROM candidates c ORDER BY listed_at DESC, execution_key DESC
    """)


_LOOK = {
    f"{which} {of}": _looking(by_status(where, of_task=of == "of a task"))
    for which, where in (("current", CURRENT), ("with dead steps", DEAD))
    for of in ("of all tasks", "of a task")
} | {
    "of keys": _looking(OF_KEYS),
    "of groups": _looking(OF_GROUPS, f"is_wanted AND {FITS}"),
}
_OF_PREFIX = Statement("""
    SELECT r.run_key FROM (
        SELECT execution_key FROM zart.executions
        WHERE execution_id >= :prefix::text AND execution_id < :beyond::text
        ORDER BY execution_id LIMIT :most::bigint) e
    CROSS JOIN LATERAL (
        SELECT run_key FROM zart.runs WHERE execution_key = e.execution_key
        ORDER BY run_number DESC LIMIT 1) r
""")
_OF_RULE = Statement(f"""
    (SELECT run_key, false FROM zart.held
    WHERE (rule_key, not_before) >= (:rule_key::bigint, '-infinity')
      AND (rule_key, not_before) <= (:rule_key, 'infinity')
    ORDER BY rule_key, not_before LIMIT :most::bigint)
    UNION ALL SELECT NULL, true WHERE {WORK.format("settle")}
""")


async def rule_key_of(connection: Connection, rule_id: str) -> int:
    """Return the key of a rule that stands, 0: of one that has ended. Raises PauseRuleNotFound."""
    row = await connection.fetchrow(
        "SELECT rule_key, deleted_at IS NULL FROM zart.pause_rules WHERE rule_id = $1", rule_id
    )
    if row is None:
        raise PauseRuleNotFound(rule_id)
    return row[0] if row[1] else 0


async def expect_batch(connection: Connection, batch_id: str) -> None:
    """Raise BatchNotFound unless there is such a batch."""
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM zart.batches WHERE batch_id = $1)", batch_id
    ):
        raise BatchNotFound(batch_id)


async def find_filtered(
    connection: Connection, wanted: ExecutionFilter, after_key: int | None, limit: int
) -> FoundRuns:
    """Return the first runs that a filter matches, after an execution (None: from the newest).

    Raises FilterTooBroad, PauseRuleNotFound, ErrorGroupNotFound or BatchNotFound.
    """
    created = wanted.created_after, wanted.created_before
    part = await range_of(connection, wanted.task_name, wanted.statuses, created, after_key)
    if wanted.batch_id:
        await expect_batch(connection, wanted.batch_id)
    if part is None:
        return FoundRuns([])
    search = _Search(connection, wanted, part, limit)
    return await search.find()


class _Search:
    """One page of what a filter matches."""

    def __init__(
        self, connection: Connection, wanted: ExecutionFilter, part: Range, limit: int
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._part = part
        self._limit = limit

    async def find(self) -> FoundRuns:
        wanted, states = self._wanted, self._wanted.states
        keys = None
        if wanted.execution_id_prefix:
            keys = await _keys_of_prefix(self._connection, wanted)
        if wanted.rule_id:
            return await self._withheld(keys)
        if not states:
            return await self._plain(keys)
        found = []
        if StepStatus.DEAD in states:
            found.append(await self._dead(keys))
        if others := states - {StepStatus.DEAD}:
            await self._refuse_many_unfinished()
            found.append(
                await find_unfinished(self._connection, self._part, others, self._limit, wanted)
            )
        return merged(found, self._limit)

    async def _plain(self, keys: Sequence[int] | None) -> FoundRuns:
        if self._wanted.has_other_conditions:
            return await self._look("current", keys)
        return FoundRuns(await find_runs(self._connection, self._part, self._limit))

    async def _dead(self, keys: Sequence[int] | None) -> FoundRuns:
        wanted = self._wanted
        if not (wanted.step_pattern or wanted.has_error_conditions):
            if wanted.has_other_conditions:
                return await self._look("with dead steps", keys, "dead")
            return FoundRuns(
                await find_runs(self._connection, self._part, self._limit, is_dead=True)
            )
        groups = await find_groups(self._connection, wanted, _GROUPS)
        if not groups and groups is not None:
            group_id = wanted.error_group_id
            if group_id and not await is_known_group(self._connection, group_id):
                raise ErrorGroupNotFound(group_id)
            return FoundRuns([])
        if keys is None and groups and (wanted.dead_after or wanted.dead_before):
            keys = await runs_that_died_between(self._connection, groups, wanted, _FEW)
        if wanted.error_contains and not wanted.error_group_id and keys is None:
            await self._refuse_many_dead(groups)
        if keys is None and groups and len(groups) * 2 * self._limit <= _OF_GROUPS:
            return await self._of_groups(groups)
        return await self._look("with dead steps", keys, "dead")

    async def _withheld(self, keys: Sequence[int] | None) -> FoundRuns:
        rule_key = await rule_key_of(self._connection, self._wanted.rule_id)
        if not rule_key:
            return FoundRuns([])
        if keys is None:
            keys = await _keys_of_rule(self._connection, rule_key)
        statuses = [status for status in self._part.statuses if status in UNFINISHED]
        self._part = self._part._replace(statuses=statuses)
        return await self._look("current", keys, "withheld", rule_key)

    async def _of_groups(self, groups: Sequence[Group]) -> FoundRuns:
        wanted = self._wanted
        asks_more = wanted.error_contains or wanted.dead_after or wanted.dead_before
        sought = fitting_arguments(wanted, "dead" if asks_more else "")
        sought["group_keys"] = [group.key for group in groups]
        most = _RUNS if sought["steps"] or wanted.has_other_conditions else _OF_GROUPS
        return await self._looked("of groups", sought, most // len(groups))

    async def _look(
        self, which: str, keys: Sequence[int] | None, steps: str = "", rule_key: int = 0
    ) -> FoundRuns:
        """Look at runs, or at those of keys, if there are few."""
        sought = fitting_arguments(self._wanted, steps, rule_key)
        if keys is None:
            of = "of a task" if self._part.task_name else "of all tasks"
            return await self._looked(f"{which} {of}", sought)
        if not keys:
            return FoundRuns([])
        sought["run_keys"] = keys
        return await self._looked("of keys", sought)

    async def _looked(self, source: str, sought: dict[str, object], most: int = _RUNS) -> FoundRuns:
        return await _looked(self._connection, self._part, self._limit, source, sought, most)

    async def _refuse_many_unfinished(self) -> None:
        if self._wanted.task_name:
            return
        if await count_unfinished(self._connection, _UNFINISHED + 1) > _UNFINISHED:
            raise FilterTooBroad(
                "filter.task_name",
                f"is needed beside step_statuses other than DEAD: more than {_UNFINISHED:,}"
                " executions are unfinished",
            )

    async def _refuse_many_dead(self, groups: Sequence[Group] | None) -> None:
        if groups is None:
            runs = await find_runs(self._connection, self._part, _SEARCHED + 1, is_dead=True)
            found = len(runs)
        else:
            found = await count_dead(self._connection, groups, self._part, _SEARCHED + 1)
        if found > _SEARCHED:
            raise FilterTooBroad(
                "filter.error_group_id",
                f"is needed beside error_contains: the rest matches more than {_SEARCHED:,}",
            )


async def _looked(
    connection: Connection,
    part: Range,
    limit: int,
    source: str,
    sought: dict[str, object],
    most: int,
) -> FoundRuns:
    """Look at the runs of a range until there are enough, at few ones first."""
    statement = _LOOK[source]
    runs: dict[int, Listed] = {}
    until: ListPosition | None = None
    for count in (2 * limit, max(most, 2 * limit)):
        rest = part if until is None else part._replace(before=until)
        values = rest.arguments(count) | sought
        rows = await connection.fetch(statement.text, *statement.arguments(**values))
        runs |= {row[2]: Listed(ListPosition(row[0], row[1]), row[2]) for row in rows if row[3]}
        if len(rows) < count:
            return FoundRuns(list(runs.values())[:limit])
        until = ListPosition(rows[-1][0], rows[-1][1])
        if len(runs) >= limit:
            break
    return FoundRuns(list(runs.values())[:limit], until)


async def _keys_of_prefix(connection: Connection, wanted: ExecutionFilter) -> list[int] | None:
    """Return the runs of executions whose id begins as is wanted; None: of too many."""
    prefix = wanted.execution_id_prefix
    values = _OF_PREFIX.arguments(prefix=prefix, beyond=prefix + _BEYOND, most=_FEW + 1)
    rows = await connection.fetch(_OF_PREFIX.text, *values)
    return None if len(rows) > _FEW else [row[0] for row in rows]


async def _keys_of_rule(connection: Connection, rule_key: int) -> list[int] | None:
    """Return the runs of steps that are attributed to a rule; None: of too many, or others too."""
    values = _OF_RULE.arguments(rule_key=rule_key, most=_FEW + 1)
    rows = await connection.fetch(_OF_RULE.text, *values)
    is_known = len(rows) <= _FEW and not any(row[1] for row in rows)
    return list({row[0] for row in rows if row[0] is not None}) if is_known else None
