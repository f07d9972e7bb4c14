"""Which functions of the server send SQL, and which of them need no scenario, and why."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import zart_server

_ROOT = Path(zart_server.__file__).parent
_SENDS = frozenset(("fetch", "fetchrow", "fetchval", "execute", "executemany", "select"))

# What sends SQL and is not explained in every state.
EXCEPTIONS: dict[str, str] = {
    "definitions._find_lanes": "its scenario is to come",
    "definitions.ensure_lanes": "its scenario is to come",
    "definitions.find_registered": "its scenario is to come",
    "definitions.insert_definitions": "its scenario is to come",
    "definitions.lock_task_name": "its scenario is to come",
    "definitions.next_version": "its scenario is to come",
    "definitions.set_current": "its scenario is to come",
    "definitions.touch_asked": "its scenario is to come",
    "leased.read_large": "its scenario is to come",
    "pause_lock._holders": "sessions, and their locks: no table",
    "pause_lock.seize_pause_lock": "BEGIN, ROLLBACK",
    "requests.purge_requests": "its scenario is to come",
    "rules.delete_expired": "its scenario is to come",
    "rules.find_rule": "its scenario is to come",
    "rules.has_rule_to_itself": "its scenario is to come",
    "rules.pause_work": "its scenario is to come",
    "rules.pauses_due": "its scenario is to come",
    "runs.start_runs": "its scenario is to come",
    "steps.insert_rerun_steps": "its scenario is to come",
}


def sending() -> set[str]:
    """Give all functions that send SQL through a Tx, as ``<module>.<name>``."""
    found: set[str] = set()
    for path in _ROOT.rglob("*.py"):
        module = ".".join(path.relative_to(_ROOT).with_suffix("").parts).removeprefix("store.")
        found.update(f"{module}.{name}" for name in _functions(ast.parse(path.read_text()), ""))
    return found


def _functions(node: ast.AST, of: str) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{of}{child.name}.")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(map(_is_sending, ast.walk(child))):
                yield f"{of}{child.name}"
        else:
            yield from _functions(child, of)


def _is_sending(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _SENDS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "tx"
    )
