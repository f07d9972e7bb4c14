"""No test waits for a time: what holds on a quiet machine does not on a busy one."""

from __future__ import annotations

import ast
from pathlib import Path

HERE = Path(__file__).parent
# What sleeps there is no wait: it is how often somebody calls, or how far a race has come by chance.
PACES = {"acceptance/load.py", "engine/test_pause_guarantee.py"}


def sleeps(path: Path) -> list[int]:
    """Return the lines of a file where something sleeps for longer than a turn of the loop."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).rpartition(".")[2] == "sleep"
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]


def test_only_one_place_sleeps() -> None:
    found = {
        str(path.relative_to(HERE)): lines
        for path in sorted(HERE.rglob("*.py"))
        if (lines := sleeps(path))
    }

    assert found.keys() == {"waiting.py"} | PACES
