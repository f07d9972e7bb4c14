"""The values of a series as promtool writes them, such as `_x10 0+60x5 stale`, minute by minute."""

from __future__ import annotations

import re
from typing import TypeAlias

Values: TypeAlias = list[float | None]

_ITEM = re.compile(r"(?:(?P<gap>_|stale)|(?P<from>-?[\d.]+)(?P<step>[+-][\d.]+)?)(?:x(?P<n>\d+))?")


def minutes_of(values: str, count: int) -> Values:
    """Return so many values, None where there is none; after the last one it goes on as it did."""
    found: Values = []
    step = 0.0
    for item in values.split():
        match = _ITEM.fullmatch(item)
        assert match is not None, item
        times = int(match["n"] or 0)
        step = float(match["step"] or 0)
        if match["gap"]:
            found += [None] * max(times, 1)
        else:
            found += [float(match["from"]) + step * n for n in range(times + 1)]
    while len(found) < count:
        last = found[-1]
        found.append(None if last is None else last + step)
    return found[:count]


def written(values: Values) -> str:
    """Return values as promtool reads them: where one ends there is no lookback to it."""
    return " ".join("stale" if value is None else f"{value:g}" for value in values)
