"""What makes one alert fire, as promtool plays it: series by the minute, and when it is looked at.

It is looked at twice: a minute before its time it is silent.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """Series with their values, and the first minute at which it fires.

    ``interval`` is from one value to the next: a minute, where looks back are over several.
    Each of ``also`` are series that fire it as well, as some that there are only once something was counted.
    With each of ``never`` it is silent then, too.
    """

    series: dict[str, str]
    fires_at: int
    labels: dict[str, str]
    also: tuple[dict[str, str], ...] = ()
    never: tuple[dict[str, str], ...] = ()
    interval: str = "1m"
