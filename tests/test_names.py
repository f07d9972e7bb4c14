"""One name, one thing: no two modules of the server define the same public function or class."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

SERVER = Path(__file__).parents[1] / "server/zart_server"
# Decoders are named after the RPC whose request they decode, as is the operation itself. They are
# called as ``decode.restart``, never by the bare name.
DECODERS = "api/decode_"
# Always called by their module, as ``postgres.running``: each keeps something running.
EXCEPTIONS = {"running": {"app.py", "embedded/postgres.py"}}


def defined(path: Path) -> set[str]:
    """Return the public names that a module defines: functions, classes and type aliases."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            names.add(ast.unparse(node.target))
    return {name for name in names if not name.startswith("_")}


def test_no_public_name_is_defined_twice() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in sorted(SERVER.rglob("*.py")):
        module = str(path.relative_to(SERVER))
        if not module.startswith((DECODERS, "store/migrations/")):
            for name in defined(path):
                places[name].add(module)

    twice = {name: modules for name, modules in places.items() if len(modules) > 1}
    assert twice == EXCEPTIONS


def test_no_two_test_modules_have_one_name() -> None:
    # pytest imports them by their names alone, and refuses the second one: in a run of all only.
    times = Counter(path.name for path in Path(__file__).parent.rglob("test_*.py"))

    assert [name for name, n in times.items() if n > 1] == []
