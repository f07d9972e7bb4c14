"""Counts dead steps by the groups of their errors, in little time or as lower bounds.

An index counts what is little. Of much, each entry would have its row looked at as long as nobody
has vacuumed; the pages of the table, one after the other, take a fourth of that, and are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zart_server.domain.filters import ExecutionFilter
from zart_server.store.connection import Tx
from zart_server.store.reads.dead_groups import Group, runs_that_died_between
from zart_server.store.reads.few_runs import FEW, keys_of_batch, keys_of_prefix
from zart_server.store.reads.fitting import CONTAINS, PLAIN, dead_arguments, plain_arguments
from zart_server.store.reads.listed_runs import Range
from zart_server.store.statement import Statement

SAMPLES = 5
_FEW = 20_000  # dead steps of all groups together that an index counts first
_MANY = 100_000  # the same, where there are more than so many pages
_PAGES = 3_000
_LOOKED_AT = 5_000  # where each has to be looked at


class GroupCount(NamedTuple):
    """How many dead steps a kind has; ``samples``: keys of executions, None: to be read."""

    group: Group
    dead_steps: int
    is_lower_bound: bool
    samples: Sequence[int] | None


class CountedGroups(NamedTuple):
    """What groups were counted up to: ``most`` dead steps each; 0: none was cut off."""

    counts: Sequence[GroupCount]
    most: int


class GroupTotal(NamedTuple):
    """The kinds of one group of errors, of one step of a task, in the order of their keys."""

    kinds: Sequence[GroupCount]

    @property
    def group(self) -> Group:
        """The group, as any of the kinds has it."""
        return self.kinds[0].group

    @property
    def dead_steps(self) -> int:
        """How many dead steps it has."""
        return sum(kind.dead_steps for kind in self.kinds)

    @property
    def is_lower_bound(self) -> bool:
        """Whether it may have more."""
        return any(kind.is_lower_bound for kind in self.kinds)

    @property
    def place(self) -> tuple[int, int]:
        """Where the group stands in the list."""
        return -self.dead_steps, self.group.key


def by_group(counts: Iterable[GroupCount]) -> list[GroupTotal]:
    """Return counts of kinds by their groups: while errors are regrouped, one may have many."""
    found: dict[tuple[str, str, str], list[GroupCount]] = {}
    for one in sorted(counts, key=lambda one: one.group.key):
        group = one.group
        place = group.error_group_id, group.task_name, group.step_name
        found.setdefault(place, []).append(one)
    return [GroupTotal(kinds) for kinds in found.values()]


# The keys of an index are compared as one row, which no other index can answer.
IN_ORDER = """
    (group_key, listed_at, execution_key)
        < (g.group_key, :before::timestamptz, :before_key::bigint)
    AND (group_key, listed_at, execution_key) >= (g.group_key, :created_from::timestamptz, 0)
"""
DIED = """
    (group_key + 0, died_at) >= (g.group_key, :died_from::timestamptz)
    AND (group_key + 0, died_at) < (g.group_key, :died_before::timestamptz)
"""


def _counting(where: str) -> Statement:
    return Statement(f"""
        SELECT c.n FROM unnest(:group_keys::bigint[]) WITH ORDINALITY g(group_key, n)
        CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
            SELECT FROM zart.dead_steps WHERE {where} LIMIT :most::bigint) d) c
        ORDER BY g.n
    """)


_COUNT_IN_ORDER = _counting(IN_ORDER)
_COUNT_BY_TIME = _counting(DIED)
# Nothing but where they are is asked of the rows, so that no index is ever taken for them.
_COUNT_PAGES = Statement(f"""
    SELECT group_key, count(*) FILTER (WHERE
        (listed_at, execution_key) < (:before::timestamptz, :before_key::bigint)
        AND listed_at >= :created_from::timestamptz
        AND died_at >= :died_from::timestamptz AND died_at < :died_before::timestamptz)
    FROM (
        SELECT group_key, listed_at, execution_key, died_at FROM zart.dead_steps
        WHERE ctid < '({_PAGES},0)'::tid OFFSET 0) d
    GROUP BY group_key
""")
_ARE_FEW_PAGES = f"""
    SELECT pg_relation_size('zart.dead_steps')
        <= {_PAGES} * current_setting('block_size')::bigint
"""


def _looking(source: str, *, first: str = "", then: str = "") -> Statement:
    """Return the query that looks at dead steps d of a source, and counts by groups what fits."""
    return Statement(f"""
        WITH {first} candidates AS MATERIALIZED (
            SELECT d.*, r.listed_task,
                CASE WHEN r.status = ANY(:statuses::text[]) THEN
                    d.died_at >= :died_from::timestamptz AND d.died_at < :died_before::timestamptz
                ELSE false END AS is_wanted
            FROM {source} CROSS JOIN LATERAL (
                SELECT status, listed_task FROM zart.runs WHERE run_key = d.run_key OFFSET 0) r
        ), looked AS MATERIALIZED (
            SELECT c.*, CASE WHEN is_wanted THEN {PLAIN} AND {CONTAINS.format("c")}
                ELSE false END AS fits
            FROM candidates c
        )
        SELECT group_key, count(*), count(*) FILTER (WHERE fits),
            (array_agg(execution_key ORDER BY listed_at DESC, execution_key DESC)
                FILTER (WHERE fits))[1:{SAMPLES}]
        FROM looked GROUP BY group_key {then}
    """)


_COLUMNS = "group_key, listed_at, execution_key, run_key, step_no, died_at"
_LOOK_AT_NEWEST = _looking(f"""
    unnest(:group_keys::bigint[]) g(group_key) CROSS JOIN LATERAL (
        SELECT {_COLUMNS} FROM zart.dead_steps WHERE {IN_ORDER}
        ORDER BY group_key DESC, listed_at DESC, execution_key DESC LIMIT :most::bigint) d
""")
# A last row says how many were looked at, whatever their groups are.
_LOOK_AT_RUNS = _looking(
    f"""(
        SELECT {_COLUMNS} FROM of_runs
        WHERE group_key IS NOT NULL AND listed_at >= :created_from::timestamptz
          AND (listed_at, execution_key) < (:before::timestamptz, :before_key::bigint)) d""",
    first=f"""of_runs AS MATERIALIZED (
        SELECT x.* FROM unnest(:run_keys::bigint[]) u(run_key) CROSS JOIN LATERAL (
            SELECT {_COLUMNS} FROM zart.dead_steps WHERE run_key = u.run_key OFFSET 0) x
        LIMIT :most::bigint
    ),""",
    then="UNION ALL SELECT NULL, count(*), 0, NULL FROM of_runs",
)


async def count_groups(
    tx: Tx,
    groups: Sequence[Group],
    wanted: ExecutionFilter,
    part: Range,
    *,
    batch_key: int,
    most: int,
) -> CountedGroups:
    """Count the dead steps of groups that a filter matches. ``tx`` is a snapshot.

    ``batch_key`` is that of the batch that it names, 0: of none. ``most`` is what the pages before
    counted each group up to, 0: there are none, or no group was cut off.
    """
    if _asks_more(wanted):
        run_keys = await _few_runs(tx, groups, wanted, batch_key)
        if run_keys is None:
            most = _share(_LOOKED_AT, groups, most)
        return CountedGroups(await _looked_at(tx, groups, wanted, part, run_keys, most), most)
    counts = await _counted(tx, groups, wanted, part, _share(_FEW, groups, most))
    if not any(one.is_lower_bound for one in counts):
        return CountedGroups(counts, most)
    if not await tx.fetchval(_ARE_FEW_PAGES):
        most = _share(_MANY, groups, most)
        return CountedGroups(await _counted(tx, groups, wanted, part, most), most)
    values = range_arguments(wanted, part, by_time=True)
    values |= range_arguments(wanted, part, by_time=False)
    rows = await tx.fetch(_COUNT_PAGES.text, *_COUNT_PAGES.arguments(**values))
    found: dict[int | None, int] = {row[0]: row[1] for row in rows}
    exact = [
        GroupCount(group, found.get(group.key, 0), is_lower_bound=False, samples=None)
        for group in groups
    ]
    return CountedGroups(exact, most)


def _share(all_together: int, groups: Sequence[Group], before: int) -> int:
    """Return up to how many dead steps each group is counted: an equal share.

    What the pages ``before`` counted up to is kept, however many groups there are by now: the
    largest are told apart by nothing but their keys, and a page goes on behind the last one. Not
    where there are more than twice as many: that would be more than twice the work.
    """
    share = max(all_together // len(groups), 1)
    return before if 0 < before <= 2 * share else share


def _asks_more(wanted: ExecutionFilter) -> bool:
    """Return whether more is asked of a dead step than an index has."""
    times = wanted.dead_after or wanted.dead_before, wanted.created_after or wanted.created_before
    return bool(
        wanted.statuses or wanted.error_contains or wanted.has_other_conditions or all(times)
    )


def range_arguments(wanted: ExecutionFilter, part: Range, *, by_time: bool) -> dict[str, object]:
    """Return the parameters of ``DIED``, or else those of ``IN_ORDER``."""
    if by_time:
        asked = dead_arguments(wanted)
        return {name: asked[name] for name in ("died_from", "died_before")}
    return {
        "before": part.before.created_at,
        "before_key": part.before.execution_key,
        "created_from": part.created_from,
    }


async def _counted(
    tx: Tx, groups: Sequence[Group], wanted: ExecutionFilter, part: Range, most: int
) -> list[GroupCount]:
    """Count by an index, up to so many of each group."""
    by_time = bool(wanted.dead_after or wanted.dead_before)
    statement = _COUNT_BY_TIME if by_time else _COUNT_IN_ORDER
    arguments = range_arguments(wanted, part, by_time=by_time)
    keys = [group.key for group in groups]
    rows = await tx.fetch(
        statement.text, *statement.arguments(group_keys=keys, most=most + 1, **arguments)
    )
    return [
        GroupCount(group, min(row[0], most), row[0] > most, None)
        for group, row in zip(groups, rows, strict=True)
    ]


async def _few_runs(
    tx: Tx, groups: Sequence[Group], wanted: ExecutionFilter, batch_key: int
) -> list[int] | None:
    """Return the runs that all can only be among, if something says so, and they are few."""
    found = None
    if wanted.execution_id_prefix:
        found = await keys_of_prefix(tx, wanted)
    if found is None and batch_key:
        found = await keys_of_batch(tx, batch_key)
    if found is None and (wanted.dead_after or wanted.dead_before):
        found = await runs_that_died_between(tx, groups, wanted, FEW)
    return found


async def _looked_at(
    tx: Tx,
    groups: Sequence[Group],
    wanted: ExecutionFilter,
    part: Range,
    run_keys: Sequence[int] | None,
    most: int,
) -> list[GroupCount]:
    """Look at the dead steps of some runs; None: at the newest ``most`` of each group."""
    asked = dead_arguments(wanted)
    values: dict[str, object] = {
        "statuses": [status.value for status in part.statuses],
        "contains": asked["contains"],
        **range_arguments(wanted, part, by_time=True),
        **range_arguments(wanted, part, by_time=False),
        **plain_arguments(wanted),
    }
    if run_keys is None:
        statement = _LOOK_AT_NEWEST
        values["group_keys"] = [group.key for group in groups]
    else:
        statement, most = _LOOK_AT_RUNS, _LOOKED_AT
        values["run_keys"] = sorted(run_keys, reverse=True)
    rows = await tx.fetch(statement.text, *statement.arguments(most=most, **values))
    found: dict[int | None, tuple[int, int, Sequence[int] | None]] = {
        row[0]: (row[1], row[2], row[3]) for row in rows
    }
    of_all = found.pop(None, None)
    counts = []
    for group in groups:
        looked, fitting, samples = found.get(group.key, (0, 0, None))
        seen = looked if of_all is None else of_all[0]
        counts.append(GroupCount(group, fitting, seen >= most, samples or ()))
    return counts
