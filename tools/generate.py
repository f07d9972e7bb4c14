"""Generates the Python code of protos/ below the folder given: messages, stubs, types."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from grpc_tools import protoc


def main(target: str) -> int:
    """Run protoc; gives its exit code."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    protos = sorted(str(path) for path in Path("protos/zart/v1").glob("*.proto"))
    services = [path for path in protos if path.endswith("_service.proto")]
    well_known = str(Path(protoc.__file__).parent / "_proto")
    paths = ["protoc", "-Iprotos", "-Ibuild/protos", f"-I{well_known}"]
    messages = [f"--python_out={target}", f"--mypy_out=quiet:{target}"]
    stubs = [f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet:{target}"]
    exit_code: int = protoc.main([*paths, *messages, *protos])
    return exit_code or int(protoc.main([*paths, *stubs, *services]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
