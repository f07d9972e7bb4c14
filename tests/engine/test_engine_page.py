"""docs/engine.md names every public function and class of the two packages, and nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server/zart_server"
ENTRY = re.compile(r"^\| `(engine/[\w/]+\.py): (\w+)` \|(.*)\|$", re.MULTILINE)


def public(path: Path) -> list[str]:
    """Return the public functions and classes that a module defines."""
    return [
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
    ]


def test_the_page_lists_the_engine() -> None:
    listed = [
        (path, name) for path, name, _ in ENTRY.findall((ROOT / "docs/engine.md").read_text())
    ]
    there = [
        (str(path.relative_to(SERVER)), name)
        for package in ("operations", "dispatch")
        for path in (SERVER / "engine" / package).glob("*.py")
        for name in public(path)
    ]

    assert len(set(listed)) == len(listed), "something is listed twice"
    assert sorted(listed) == sorted(there)


def test_each_entry_point_says_its_states_and_locks() -> None:
    """As does each part that changes a state; a class that only holds values has none to say."""
    text = (ROOT / "docs/engine.md").read_text()
    rows = [rest.split("|") for _, name, rest in ENTRY.findall(text) if name.islower()]
    four = [row for row in rows if len(row) == 3]

    assert all(row[0].strip() for row in rows)
    assert len(four) > 20
    assert all(all(cell.strip() for cell in row) for row in four)
