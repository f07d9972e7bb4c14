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
    "pausing.lock._holders": "sessions, and their locks: no table",
    "pausing.lock.seize_pause_lock": "BEGIN, ROLLBACK",
}


def sending() -> set[str]:
    """Return all functions that send SQL through a Tx, as ``<module>.<name>``."""
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
