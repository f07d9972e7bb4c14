"""Imports go one way, and stand at the top of their file but to load what is heavy only on use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"zart": "client/zart", "zart_server": "server/zart_server"}
SOURCES = [
    path
    for package in PACKAGES.values()
    for path in sorted((ROOT / package).rglob("*.py"))
    if "zart/v1/" not in path.as_posix()
]
# To break a circle is no reason: circles are found however late an import is.
REASON = re.compile(r"# noqa: PLC0415 - \w+")


def test_no_imports_go_in_a_circle() -> None:
    """Those for the type checker alone count, and those within functions."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert len(imports) > 200
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def late(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports within functions."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    yield node


def test_an_import_within_a_function_says_why_it_is_late() -> None:
    seen = 0
    for path in SOURCES:
        lines = path.read_text().splitlines()
        for node in late(ast.parse(path.read_text())):
            seen += 1
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            assert REASON.search(lines[node.lineno - 1]), f"{where}: say why it is loaded late"

    assert seen
