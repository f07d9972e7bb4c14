"""The base wheel brings no server, and works with the lowest and the highest dependencies."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from waiting import GIVE_UP

from zart.testing.server import ServerUnderTest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent

# One of everything that the base install is for: the client, both ways, tasks and a dispatcher.
PROGRAM = """
import asyncio, importlib.util, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", module="typer|click")  # between two of their versions
import zart
import zart.cli.main
for name in ("sqlalchemy", "asyncpg", "alembic", "pydantic_settings"):
    assert importlib.util.find_spec(name) is None, name
task = zart.Task("wheel", sequential=True)

@task.step()
async def one(ctx: zart.StepContext) -> int:
    return ctx.payload["n"]

@task.step()
def two(ctx: zart.StepContext) -> int:
    return ctx.result_of(one) * 2

async def main() -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(zart.Dispatcher([task], address=sys.argv[1]).run(stop))
    async with zart.connect(sys.argv[1]) as client:
        while not await client.list_task_definitions():
            await asyncio.sleep(0.05)
        handle = await client.start(task, {"n": 21}, execution_id=sys.argv[2])
        print(await handle.result(timeout=120))
    stop.set()
    await running
    with zart.connect_sync(sys.argv[1]) as plain:
        assert plain.get_execution(sys.argv[2]).run.result == 42

asyncio.run(main())
"""


def build(folder: Path) -> Path:
    """Build the wheel from this tree, as `make dist` does."""
    command = [str(BIN / "hatchling"), "build", "-t", "wheel", "-d", str(folder)]
    at = {**os.environ, "SOURCE_DATE_EPOCH": "1764115200"}
    subprocess.run(command, cwd=ROOT, env=at, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree."""
    return build(tmp_path_factory.mktemp("dist"))


def test_the_same_tree_makes_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_licence_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = [name for name in files.namelist() if name.endswith("/licenses/LICENSE")]
        assert files.read(name) == (ROOT / "LICENSE").read_bytes()


def test_the_openapi_document_is_in_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        assert b'"openapi": "3.1.0"' in files.read("zart/gateway/openapi.json")


def test_the_lines_of_the_readme_install_it(wheel: Path, tmp_path: Path) -> None:
    """As far as that goes without an index: pip says what it would install, and from where."""
    (block,) = re.findall(r"^## Install$.*?^```$(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (tmp_path / "dist").mkdir()
    shutil.copy(wheel, tmp_path / "dist")
    instead = {
        "make": f"make -C {ROOT} --dry-run --old-file .venv/.installed",
        "pip": f"{sys.executable} -m pip --disable-pip-version-check",
    }
    for name, program in instead.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nPATH="${{PATH#*:}}"\nexec {program} "$@"\n')
        (tmp_path / name).chmod(0o755)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PIP_DRY_RUN": "1",
        "PIP_NO_INDEX": "1",
    }
    done = subprocess.run(
        ["bash", "-euc", block], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hatchling build -d dist" in done.stdout
    assert f"Processing ./dist/{wheel.name}" in done.stdout
    assert "Would install zart-control" in done.stdout
    assert "does not provide the extra" not in done.stderr


def test_each_extra_that_is_named_is_one_and_pages_say_where_to_get_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "deploy/README.md"]
    named = {
        path: re.findall(r"zart-control\[([\w,]+)\]", path.read_text())
        for path in [*pages, *(ROOT / "client").rglob("*.py"), *(ROOT / "server").rglob("*.py")]
    }
    extras = {extra for found in named.values() for each in found for extra in each.split(",")}
    assert {"server", "gateway", "otel", "embedded"} <= extras
    assert extras <= project["optional-dependencies"].keys()
    for page in pages[1:]:
        assert not named[page] or "README.md#install" in page.read_text(), page


@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
def test_the_base_install(
    wheel: Path, tmp_path: Path, zart_server: ServerUnderTest, resolution: str
) -> None:
    uv = str(BIN / "uv")
    subprocess.run(
        [uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "v")], check=True
    )
    python = str(tmp_path / "v/bin/python")
    # Named beside the wheel, for of what a wheel asks uv takes the highest all the same.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [str(wheel), *project["dependencies"]]
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--python", python, "--resolution", resolution, *asked],
        check=True, timeout=300,
    )  # fmt: skip
    done = subprocess.run(
        [python, "-c", PROGRAM, zart_server.address, resolution],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=GIVE_UP,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "42"
    # The command is there and says what is missing.
    serve = subprocess.run(
        [str(tmp_path / "v/bin/zart"), "serve", "--database-url", "postgresql://h/d"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert serve.returncode == 2
    assert "zart-control[server]" in serve.stderr
    gateway = subprocess.run(
        [str(tmp_path / "v/bin/zart"), "gateway"], capture_output=True, text=True, check=False
    )
    assert gateway.returncode == 2
    assert "zart-control[gateway]" in gateway.stderr
    protos = subprocess.run(
        [str(tmp_path / "v/bin/zart"), "protos", str(tmp_path / "p")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert protos.returncode == 0, protos.stderr
    assert (tmp_path / "p/zart/v1/admin_service.proto").exists()
