"""Which names somebody may have meant who wrote another one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from zart_server.domain.globs import Glob

_MOST = 3
_LIKE = 0.6  # of 1.0, which is equal


def nearest(name: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that are most like one, the nearest first; none that is not like it."""
    return tuple(difflib.get_close_matches(name, set(names), _MOST, _LIKE))


def nearest_to_glob(pattern: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a glob is most like: by what it begins with, or as it is written."""
    prefix = Glob.of(pattern).prefix
    beginnings: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        beginnings.setdefault(name[: len(prefix)], []).append(name)
    found = [name for near in nearest(prefix, beginnings) for name in beginnings[near]]
    whole = nearest(pattern.strip("*"), (name for some in beginnings.values() for name in some))
    return tuple(dict.fromkeys([*whole, *found]))[:_MOST]
