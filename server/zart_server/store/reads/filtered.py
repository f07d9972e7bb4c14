"""Finds the current runs that a filter matches, newest execution first, and their steps.

Each way to them is an index that has the order of the list: of the runs, or of dead steps by the
group of their error. What is little is read as a whole. Whatever else a filter asks is looked up
for so many runs in their order, and the page ends there, short or empty.
"""

from __future__ import annotations

from collections.abc import Sequence

from zart_server.domain.errors import FilterTooBroad
from zart_server.domain.filters import ExecutionFilter
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.store.connection import Connection
from zart_server.store.reads.dead_groups import (
    Group,
    TooMany,
    count_dead,
    count_died_between,
    expect_group,
    find_groups,
    runs_that_died_between,
)
from zart_server.store.reads.few_runs import (
    FEW,
    batch_key_of,
    count_of_batch,
    count_of_prefix,
    keys_of_batch,
    keys_of_prefix,
    keys_of_rule,
    rule_key_of,
)
from zart_server.store.reads.fitting import fitting_arguments
from zart_server.store.reads.listed_by_steps import (
    UNFINISHED,
    FoundRuns,
    find_unfinished,
    merged,
)
from zart_server.store.reads.listed_runs import (
    Range,
    count_unfinished,
    find_runs,
    range_of,
)
from zart_server.store.reads.looking import MOST_RUNS, look_at
from zart_server.store.reads.of_batches import OF_BATCH, OF_KEYS_BY_KEY, OfBatch

_GROUPS = 400  # that are told apart
_OF_GROUPS = 10_000  # dead steps that are read of all groups together, for a page
_UNFINISHED = 10_000  # executions in which steps are looked for without a task's name
_SEARCHED = 10_000  # dead steps whose errors are searched without their group


async def find_filtered(
    connection: Connection, wanted: ExecutionFilter, after_key: int | None, limit: int
) -> FoundRuns:
    """Return the first runs that a filter matches, after an execution (None: from the newest).

    Raises FilterTooBroad, PauseRuleNotFound, ErrorGroupNotFound or BatchNotFound.
    """
    created = wanted.created_after, wanted.created_before
    part = await range_of(connection, wanted.task_name, wanted.statuses, created, after_key)
    batch_key = await batch_key_of(connection, wanted.batch_id) if wanted.batch_id else 0
    if part is None:
        return FoundRuns([])
    search = _Search(connection, wanted, part, limit, batch_key, after_key)
    return await search.find()


class _Search:
    """One page of what a filter matches."""

    def __init__(
        self,
        connection: Connection,
        wanted: ExecutionFilter,
        part: Range,
        limit: int,
        batch_key: int,
        after_key: int | None,
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._part = part
        self._limit = limit
        self._batch_key = batch_key
        self._after_key = after_key
        # Whatever way is taken: the next page may take another, and goes on in the same order.
        self._is_by_key = bool(batch_key)
        self._is_by_batch = False

    async def find(self) -> FoundRuns:
        wanted, states = self._wanted, self._wanted.states
        keys = None
        if wanted.execution_id_prefix:
            keys = await keys_of_prefix(self._connection, wanted)
        if self._batch_key and keys is None:
            keys = await keys_of_batch(self._connection, self._batch_key)
        self._is_by_batch = self._is_by_key and keys is None
        if wanted.rule_id:
            return await self._withheld(keys)
        if not states:
            return await self._plain(keys)
        found = []
        if StepStatus.DEAD in states:
            found.append(await self._dead(keys))
        if others := states - {StepStatus.DEAD}:
            await self._refuse_many_unfinished()
            part, batch = self._part, None
            if self._is_by_key:
                part = part.by_key(self._after_key, wanted.created_before)
                batch = OfBatch(self._batch_key, keys)
            found.append(
                await find_unfinished(self._connection, part, others, self._limit, wanted, batch)
            )
        return merged(found, self._limit) if len(found) > 1 else found[0]

    async def _by_key(self, keys: Sequence[int] | None, sought: dict[str, object]) -> FoundRuns:
        """Look at executions of a batch in the order of their keys: few runs, or its items."""
        self._part = self._part.by_key(self._after_key, self._wanted.created_before)
        if keys is not None:
            return await self._looked(OF_KEYS_BY_KEY, sought | {"run_keys": keys})
        sought |= {"batch_key": self._batch_key, "batch_id": ""}  # it need not be looked up
        return await self._looked(OF_BATCH, sought)

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
        found = await find_groups(self._connection, wanted, _GROUPS)
        groups = None if isinstance(found, TooMany) else found
        if not groups and groups is not None:
            if wanted.error_group_id:
                await expect_group(self._connection, wanted.error_group_id)
            return FoundRuns([])
        is_by_time = wanted.dead_after or wanted.dead_before
        if keys is None and groups and (is_by_time or self._is_by_batch):
            keys = await runs_that_died_between(self._connection, groups, wanted, FEW)
        if keys is None:
            await self._refuse_many_dead(groups)
        is_by_groups = keys is None and not self._is_by_batch
        if is_by_groups and groups and len(groups) * 2 * self._limit <= _OF_GROUPS:
            return await self._of_groups(groups)
        return await self._look("with dead steps", keys, "dead")

    async def _withheld(self, keys: Sequence[int] | None) -> FoundRuns:
        rule_key = await rule_key_of(self._connection, self._wanted.rule_id)
        if not rule_key:
            return FoundRuns([])
        if keys is None:
            keys = await keys_of_rule(self._connection, rule_key)
        self._part = self._part._replace(statuses=_unfinished(self._part))
        return await self._look("current", keys, "withheld", rule_key)

    async def _of_groups(self, groups: Sequence[Group]) -> FoundRuns:
        wanted = self._wanted
        asks_more = wanted.error_contains or wanted.dead_after or wanted.dead_before
        sought = fitting_arguments(wanted, "dead" if asks_more else "")
        sought["group_keys"] = [group.key for group in groups]
        most = MOST_RUNS if sought["steps"] or wanted.has_other_conditions else _OF_GROUPS
        return await self._looked("of groups", sought, most // len(groups))

    async def _look(
        self, which: str, keys: Sequence[int] | None, steps: str = "", rule_key: int = 0
    ) -> FoundRuns:
        """Look at runs, or at those of keys, if there are few."""
        sought = fitting_arguments(self._wanted, steps, rule_key)
        if keys is not None and not keys:
            return FoundRuns([])
        if self._is_by_key:
            return await self._by_key(keys, sought)
        if keys is None:
            of = "of a task" if self._part.task_name else "of all tasks"
            return await self._looked(f"{which} {of}", sought)
        sought["run_keys"] = keys
        return await self._looked("of keys", sought)

    async def _looked(
        self, source: str, sought: dict[str, object], most: int = MOST_RUNS
    ) -> FoundRuns:
        return await look_at(self._connection, self._part, self._limit, source, sought, most)

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
        """Refuse to search the errors of many dead steps."""
        if self._wanted.error_group_id or not self._wanted.error_contains:
            return
        if not await self._are_few(groups):
            raise FilterTooBroad(
                "filter.error_group_id",
                f"is needed beside error_contains: the rest may match more than {_SEARCHED:,}",
            )

    async def _are_few(self, groups: Sequence[Group] | None) -> bool:
        """Return whether any of the other conditions alone says that few errors are searched."""
        connection, wanted, most = self._connection, self._wanted, _SEARCHED + 1
        if wanted.execution_id_prefix and await count_of_prefix(connection, wanted, most) < most:
            return True
        if self._batch_key and await count_of_batch(connection, self._batch_key, most) < most:
            return True
        if groups is not None:
            is_timed = wanted.dead_after or wanted.dead_before
            if is_timed and await count_died_between(connection, groups, wanted, most) < most:
                return True
            if await count_dead(connection, groups, self._part, most) < most:
                return True
            if not wanted.statuses:
                return False
        return len(await find_runs(connection, self._part, most, is_dead=True)) < most


def _unfinished(part: Range) -> list[RunStatus]:
    return [status for status in part.statuses if status in UNFINISHED]
