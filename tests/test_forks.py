"""No process of ours runs gRPC's handlers, or Python, between fork and exec."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ("client", "server", "bench", "tools", "examples", "tests")
FORKS = ("os.fork(", 'get_context("fork")', 'set_start_method("fork")')
STARTS = {"Popen", "run", "call", "check_call", "check_output", "create_subprocess_exec",
          "create_subprocess_shell"}  # fmt: skip
# Each makes subprocess fork, where it else calls vfork, which no handler of gRPC sees.
MAKES_IT_FORK = {"preexec_fn", "user", "group", "extra_groups"}


def forks_of(path: Path) -> list[str]:
    """Return what in a file's code forks."""
    text = path.read_text()
    found = [fork for fork in FORKS if fork in text]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            if name in STARTS:
                found += [one.arg for one in node.keywords if one.arg in MAKES_IT_FORK]
        elif isinstance(node, ast.Constant) and node.value in MAKES_IT_FORK - {"user", "group"}:
            found.append(str(node.value))  # for what is given as **options
    return found


def test_nothing_runs_in_a_fork() -> None:
    """GRPC's threads begin anew in it, and one that calls Python ends it with SIGSEGV."""
    found = [
        (str(path.relative_to(ROOT)), fork)
        for folder in OURS
        for path in (ROOT / folder).rglob("*.py")
        if "_pb2" not in path.name and path != Path(__file__)
        for fork in forks_of(path)
    ]
    assert found == []
