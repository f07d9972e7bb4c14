"""No process of ours runs Python between fork and exec."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]
OURS = ("client", "server", "bench", "tools", "examples")
FORKS = ("preexec_fn=", "os.fork(", 'get_context("fork")', 'set_start_method("fork")')


def test_nothing_runs_in_a_fork() -> None:
    """GRPC's threads begin anew in it, and one that calls Python ends it with SIGSEGV."""
    found = [
        (str(path.relative_to(ROOT)), fork)
        for folder in OURS
        for path in (ROOT / folder).rglob("*.py")
        for fork in FORKS
        if "_pb2" not in path.name and fork in path.read_text()
    ]
    assert found == []
