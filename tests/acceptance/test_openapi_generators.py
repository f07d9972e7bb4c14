"""What openapi-generator makes of /openapi.json compiles, in TypeScript and in Go.

Each needs its own tools: Java, and npm or Go. What has compiled is not compiled again until the
document changes: ``.pytest_cache`` knows.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "client" / "zart" / "gateway" / "openapi.json"
_PACKAGE = importlib.util.find_spec("openapi_generator_cli")
STRICT = [
    "--noEmit",
    "--strict",
    "--target",
    "es2022",
    "--lib",
    "es2022,dom",
    "--module",
    "esnext",
    "--moduleResolution",
    "bundler",
]

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not here"),
    pytest.mark.skipif(_PACKAGE is None, reason="openapi-generator is not installed"),
]


def generate(generator: str, folder: Path) -> None:
    assert _PACKAGE is not None
    assert _PACKAGE.origin is not None
    jar = Path(_PACKAGE.origin).parent / "openapi-generator.jar"
    done = subprocess.run(
        ["java", "-jar", jar, "generate", "-i", DOCUMENT, "-g", generator, "-o", folder],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr


def compile_typescript(folder: Path, cache: Path) -> None:
    compiler = cache / "node_modules" / ".bin" / "tsc"
    if not compiler.exists():
        shutil.copy(HERE / "typescript" / "package.json", cache)
        install = "npm install --no-audit --no-fund --ignore-scripts --no-package-lock"
        run(install.split(), cache)
    run([str(compiler), *STRICT, "index.ts"], folder)
    pauses = (folder / "apis" / "AdminServiceApi.ts").read_text()
    for name in ("Pause", "Resume", "ResumeByRuleId", "Restart", "Rerun", "RetryStep"):
        assert f"async adminService{name}(" in pauses


def compile_go(folder: Path, _cache: Path) -> None:
    run(["go", "build", "./..."], folder)


@pytest.mark.parametrize(
    ("generator", "tool", "compiled"),
    [("typescript-fetch", "npm", compile_typescript), ("go", "go", compile_go)],
)
def test_it_compiles(
    generator: str, tool: str, compiled: object, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not here")
    assert pytestconfig.cache is not None
    version = importlib.metadata.version("openapi-generator-cli")
    digest = hashlib.sha256(DOCUMENT.read_bytes() + version.encode()).hexdigest()
    known = f"zart/openapi-{generator}"
    if pytestconfig.cache.get(known, None) == digest:
        return

    generate(generator, tmp_path)
    assert callable(compiled)
    compiled(tmp_path, pytestconfig.cache.mkdir("zart-typescript"))

    pytestconfig.cache.set(known, digest)
