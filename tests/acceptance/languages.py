"""The example programs in other languages: fetched for and built once, below build/languages."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from waiting import GIVE_UP

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "languages"
BIN = Path(sys.executable).parent
# A registry that does not answer must not cost CI minutes.
_FETCHING = 60
_BUILDING = 300


@dataclass(frozen=True)
class Language:
    """How an example is built in a copy of its folder, and run there.

    ``fetch`` gets what it needs from a registry; where that is not to be had its test is skipped.
    """

    name: str
    tools: Sequence[str]
    fetch: Sequence[Sequence[str]]
    build: Sequence[Sequence[str]]
    program: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def task(self) -> str:
        """The task that the example is of."""
        return f"order-{self.name}"

    def built(self) -> Path:
        """Return the folder where it is built, building it unless that was done before.

        Another process of tests that builds it is waited for.
        """
        for tool in self.tools:
            if shutil.which(tool) is None:
                pytest.skip(f"{tool} is not here")
        BUILT.mkdir(parents=True, exist_ok=True)
        with (BUILT / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return self._built()

    def _built(self) -> Path:
        folder = BUILT / f"{self.name}-{self._digest()}"
        if (folder / ".built").exists():
            return folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(ROOT / "examples" / self.name, folder)
        for command in self.fetch:
            if problem := self._problem(command, folder, _FETCHING):
                pytest.skip(f"what the example in {self.name} needs is not to be had: {problem}")
        protos = [sys.executable, "-m", "zart.cli", "protos", "protos"]
        for command in (protos, *self.build):
            problem = self._problem(command, folder, _BUILDING)
            assert not problem, problem
        (folder / ".built").touch()
        return folder

    @contextmanager
    def running(
        self, folder: Path, log: Path, *arguments: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program until the context is left."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.program, *arguments],
                cwd=folder, stdout=output, stderr=output, env=self._environment(),
            )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def ran(self, folder: Path, *arguments: str) -> str:
        """Run the program to its end and return what it printed."""
        done = subprocess.run(
            [*self.program, *arguments],
            cwd=folder, capture_output=True, text=True, check=False, env=self._environment(),
            timeout=GIVE_UP,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def _problem(self, command: Sequence[str], folder: Path, limit: float) -> str:
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit,
                env=self._environment(),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{' '.join(command)} took longer than {limit:g} s"
        return done.stdout + done.stderr if done.returncode else ""

    def _digest(self) -> str:
        """Name the content that is built: another one is built elsewhere."""
        digest = hashlib.sha256(repr((self.fetch, self.build)).encode())
        for folder in (ROOT / "examples" / self.name, ROOT / "protos" / "zart"):
            for path in sorted(each for each in folder.rglob("*") if each.is_file()):
                digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
        return digest.hexdigest()[:16]


GENERATE = ("buf", "generate", "protos", "--path", "protos/zart")
NPM = "npm install --no-audit --no-fund --ignore-scripts --no-package-lock"
LANGUAGES = [
    Language(
        "typescript",
        tools=["node", "npm"],
        fetch=[NPM.split()],
        build=[GENERATE, ["node", "node_modules/typescript/bin/tsc", "-p", "."]],
        program=["node", "dist/main.js"],
    ),
    Language(
        "java",
        tools=["java", "mvn"],
        fetch=[["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib"]],
        build=[["mvn", "-q", "-B", "compile"]],
        program=["java", "-cp", "target/classes:lib/*", "order.Main"],
        # It runs for seconds: it is not worth while to compile itself well.
        environment={"MAVEN_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"},
    ),
]
