"""The attempts of a step that have ended, of a row of ``STEPS``."""

from __future__ import annotations

import json
from datetime import datetime

import asyncpg

from zart_server.domain.model import Attempt, AttemptStatus, StepError


def ended_attempts(row: asyncpg.Record) -> list[Attempt]:
    """Return the attempts that have ended; the one that completed a step is part of its row."""
    found = []
    for item in json.loads(row["attempts"]) if row["attempts"] else ():
        error = item["error"]
        found.append(
            Attempt(
                item["attempt"],
                AttemptStatus(item["status"]),
                item["dispatcher_id"],
                None if error is None else StepError(**error),
                datetime.fromisoformat(item["started_at"]),
                datetime.fromisoformat(item["completed_at"]),
                item["principal"],
                reason=item["reason"] or "",
            )
        )
    if row["status"] == "completed":
        found.append(
            Attempt(
                row["attempt"],
                AttemptStatus.COMPLETED,
                row["done_by"],
                None,
                row["started_at"],
                row["completed_at"],
                row["done_as"],
                reason=row["done_for"] or "",
            )
        )
    return found
