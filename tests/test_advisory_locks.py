"""Each advisory lock has a number of its own: who shared one would wait for something else."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

_SERVER = Path(__file__).parents[1] / "server" / "zart_server"
_IN_PYTHON = re.compile(r"^(\w+) = (0x7A[0-9A-F_]+)$", re.MULTILINE)
_IN_SQL = re.compile(r"x'(7A6172[0-9A-F]+)'::bigint")


def test_no_two_locks_have_one_number() -> None:
    found: defaultdict[int, set[str]] = defaultdict(set)
    for file in _SERVER.rglob("*.py"):
        for name, number in _IN_PYTHON.findall(file.read_text()):
            found[int(number, 16)].add(f"{file.relative_to(_SERVER)}: {name}")
    for file in _SERVER.rglob("*.sql"):
        for number in _IN_SQL.findall(file.read_text()):
            found[int(number, 16)].add("zart.join_history")  # whose body is in several versions

    assert len(found) >= 6, found
    assert {number: names for number, names in found.items() if len(names) > 1} == {}
