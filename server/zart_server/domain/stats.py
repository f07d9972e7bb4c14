"""How much there is: executions by status, and the size of each table."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from zart_server.domain.model import RunStatus


class StatusStats(NamedTuple):
    """How many executions have a status, or at least so many; and when the oldest was started."""

    status: RunStatus
    executions: int
    is_lower_bound: bool
    oldest_created_at: datetime | None


class TableStats(NamedTuple):
    """A table as PostgreSQL estimates it; sizes in bytes. ``rows`` -1: it was never looked at."""

    table_name: str
    rows: int
    dead_rows: int
    size: int
    index_size: int


@dataclass(frozen=True, slots=True)
class Stats:
    """How much there is."""

    statuses: tuple[StatusStats, ...]
    tables: tuple[TableStats, ...]
    database_size: int
    oldest_operation_at: datetime | None
