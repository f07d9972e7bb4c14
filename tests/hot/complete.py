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
    "batches.earlier.let_earlier_end": "what sessions do: no table",
    "migrate._upgrade": "SQLAlchemy's connection, before there is a table",
    "pausing.lock._holders": "sessions, and their locks: no table",
    "standby.reach_standby": "a message into the WAL: no table",
}
# Reads that are still to be explained in every state. No name is added here: a new read comes with
# its scenario.
STILL_TO_COME = frozenset(
    (
        "reads.compared_runs._compared_as_json",
        "reads.few_runs.keys_of_rule",
        "reads.group_counts.count_groups",
        "reads.named.find_execution",
        "reads.named.read_neighbours",
        "reads.named.read_step_names",
        "reads.named.read_task_names",
        "reads.standing.read_named_lanes",
    )
)


def sending() -> set[str]:
    """Return all functions that send SQL through a connection, as ``<module>.<name>``."""
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
            names = _taken(child)
            if any(_is_sending(node, names) for node in ast.walk(child)):
                yield f"{of}{child.name}"
        else:
            yield from _functions(child, of)


def _taken(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the names that stand for a connection: parameters of its types, and ``tx``."""
    types = {"Autocommit", "Connection", "Tx"}
    args = [arg for arg in function.args.args if arg.annotation is not None]
    return {"tx"} | {arg.arg for arg in args if ast.unparse(arg.annotation or arg) in types}


def _is_sending(node: ast.AST, names: set[str]) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _SENDS
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in names
    )
