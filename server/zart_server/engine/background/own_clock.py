"""The clock of this server's machine, by which nothing goes but the suspicion of the database's.

A replica that is promoted may have a clock that is days ahead: by it all that has ended was kept
for long enough. What is gone does not come back once the clock is right: so two clocks are asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# Clocks that nobody sets differ by minutes; what is kept, is kept for days.
SUSPICIOUS = timedelta(hours=1)


def own_time() -> datetime:
    """Return the time by this machine's clock."""
    return datetime.now(UTC)


def ahead_by(now: datetime) -> timedelta:
    """Return by how much the database's time is ahead of this machine's; less than 0: behind."""
    return now - own_time()
