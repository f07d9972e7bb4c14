"""What openapi-generator makes of /openapi.json compiles, in TypeScript and in Go, and pauses steps.

Each needs its own tools: Java, and npm or Go. What has compiled is kept below build/openapi until the
document changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from gateway.sending import gateway_to
from rig import Rig

from zart.testing.server import ServerUnderTest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
DOCUMENT = ROOT / "client" / "zart" / "gateway" / "openapi.json"
_PACKAGE = importlib.util.find_spec("openapi_generator_cli")
# It runs for seconds: it is not worth while to compile itself well.
_JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-jar"]

pytestmark = [
    pytest.mark.skipif(shutil.which("java") is None, reason="java is not here"),
    pytest.mark.skipif(_PACKAGE is None, reason="openapi-generator is not installed"),
]


@dataclass(frozen=True)
class Generator:
    """A generator of openapi-generator's, how its code is compiled, and a program that uses it."""

    name: str
    tool: str
    program: str  # where the one in HERE/openapi/name goes
    fetch: Sequence[str]
    compile: Sequence[str]
    run: Sequence[str]

    def compiled(self) -> Path:
        """Return the folder of what is compiled, compiling it unless that was done before."""
        if shutil.which(self.tool) is None:
            pytest.skip(f"{self.tool} is not here")
        ours = HERE / "openapi" / self.name
        digest = hashlib.sha256(importlib.metadata.version("openapi-generator-cli").encode())
        for path in (DOCUMENT, *sorted(ours.iterdir())):
            digest.update(path.read_bytes())
        folder = ROOT / "build" / "openapi" / f"{self.name}-{digest.hexdigest()[:16]}"
        if (folder / ".compiled").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        assert _PACKAGE is not None
        assert _PACKAGE.origin is not None
        jar = str(Path(_PACKAGE.origin).parent / "openapi-generator.jar")
        folder.mkdir(parents=True)
        output([*_JAVA, jar, "generate", "-i", str(DOCUMENT), "-g", self.name, "-o", "."], folder)
        for path in ours.iterdir():
            at = folder / (self.program if path.stem == "pause" else path.name)
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, at)
        try:
            output(self.fetch, folder)
        except (AssertionError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"what {self.name} needs is not to be had: {error}")
        output(self.compile, folder)
        (folder / ".compiled").touch()
        return folder


def output(command: Sequence[str], folder: Path) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


NPM = "npm install --no-audit --no-fund --ignore-scripts --no-package-lock"
TSC = (
    "node node_modules/typescript/bin/tsc --strict --target es2022 --lib es2022,dom"
    " --module commonjs --outDir dist pause.ts"
)
GENERATORS = [
    Generator(
        "typescript-fetch", "npm", "pause.ts", NPM.split(), TSC.split(), ["node", "dist/pause.js"]
    ),
    Generator(
        "go", "go", "cmd/pause/main.go", ["go", "mod", "download"],
        ["go", "build", "-buildvcs=false", "-o", "pause", "./cmd/pause"], ["./pause"],
    ),
]  # fmt: skip


@pytest.mark.parametrize("generator", GENERATORS, ids=lambda each: str(each.name))
async def test_a_generated_client_pauses_steps(
    generator: Generator, zart_server: ServerUnderTest, rig: Rig
) -> None:
    folder = await asyncio.to_thread(generator.compiled)

    with gateway_to(zart_server.address) as http:
        rule_id = await asyncio.to_thread(
            output, [*generator.run, f"http://{http.address}"], folder
        )

    (rule,) = [rule async for rule in rig.client.list_pause_rules()]
    assert (rule.rule_id, rule.task_name, rule.step_pattern) == (rule_id, "order", "charge-*")
    assert rule.reason == "by a generated client"
