"""Where a list has the executions of a batch from: by their keys alone, newest first.

Keys are given out as executions begin; no index has what a batch selected in the order of lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

BY_KEY = "execution_key DESC"
OF_BATCH = "of a batch"
OF_KEYS_BY_KEY = "of keys by key"
# The current runs of a batch's executions. One of several items is there several times; one that is
# removed by now, or is not wanted, has no run, and counts as looked at all the same.
_OF_BATCH = """
    SELECT r.listed_at, i.execution_key, r.run_key, r.listed_task
    FROM (
        SELECT execution_key FROM zart.batch_items
        WHERE batch_key = :batch_key::bigint AND execution_key < :before_key::bigint
        ORDER BY execution_key DESC LIMIT :limit::bigint) i
    LEFT JOIN LATERAL (
        SELECT * FROM (
            SELECT run_key, listed_at, listed_task, status FROM zart.runs
            WHERE runs.execution_key = i.execution_key
            ORDER BY run_number DESC LIMIT 1) n
        WHERE n.status = ANY(:statuses::text[])
          AND (:task_name::text = '' OR n.listed_task = :task_name)
          AND n.listed_at < :before::timestamptz
          AND n.listed_at >= :created_from::timestamptz) r ON true
"""
# Those of few runs, in the same order.
_OF_KEYS_BY_KEY = """
    SELECT r.listed_at, r.execution_key, r.run_key, r.listed_task
    FROM unnest(:run_keys::bigint[]) u(run_key) CROSS JOIN LATERAL (
        SELECT * FROM zart.runs WHERE runs.run_key = u.run_key OFFSET 0) r
    WHERE r.is_current AND r.status = ANY(:statuses::text[])
      AND (:task_name::text = '' OR r.listed_task = :task_name)
      AND r.execution_key < :before_key::bigint AND r.listed_at < :before::timestamptz
      AND r.listed_at >= :created_from::timestamptz
    ORDER BY r.execution_key DESC LIMIT :limit::bigint
"""
SOURCES = {OF_BATCH: _OF_BATCH, OF_KEYS_BY_KEY: _OF_KEYS_BY_KEY}
HAS_RUN = "c.run_key IS NOT NULL"


class OfBatch(NamedTuple):
    """The executions of a batch; ``run_keys``: their runs, None: of too many items."""

    batch_key: int
    run_keys: Sequence[int] | None
