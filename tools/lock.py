"""Writes the lock files from pyproject.toml, with hashes and without addresses.

``--check`` writes nothing and fails where a lock file would change; what is locked stays locked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = {
    "requirements.lock": ("pyproject.toml", "--all-extras", "--group", "dev"),
    # What the image has: the versions that the tests run with.
    "deploy/requirements.lock": (
        "pyproject.toml",
        "--extra=server",
        "--extra=gateway",
        "--extra=otel",
        "--constraint=requirements.lock",
    ),
    "requirements-proto.lock": ("tools/requirements-proto.in",),
    "tools/docs/requirements.lock": ("tools/docs/requirements.in",),
    "bench/peers/requirements.lock": ("bench/peers/requirements.in",),
}
OPTIONS = (
    "--universal",
    "--python-version=3.11",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--no-annotate",
    "--quiet",
)


def compile_lock(lock: Path, sources: tuple[str, ...], output: Path, *options: str) -> None:
    """Resolve one lock file into ``output``, starting from what ``lock`` has."""
    if lock.exists() and output != lock:
        shutil.copy(lock, output)
    uv = (sys.executable, "-m", "uv", "pip", "compile", *OPTIONS)
    command = (*uv, *sources, *options, f"--output-file={output}")
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def main(option: str) -> int:
    """Write or check all lock files; gives the exit code."""
    stale = []
    for name, sources in LOCKS.items():
        lock = Path(name)
        if option != "--check":
            compile_lock(lock, sources, lock, option)
            continue
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / lock.name
            compile_lock(lock, sources, output)
            if output.read_text() != lock.read_text():
                stale.append(name)
    for name in stale:
        sys.stderr.write(f"{name} does not fit pyproject.toml: make lock\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
