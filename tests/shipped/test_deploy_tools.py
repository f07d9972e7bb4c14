"""What the tools of the trade say of deploy/: hadolint, docker-compose, promtool, systemd-analyze."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shipped.files import DEPLOY

BIN = Path(sys.executable).parent
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze")
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool")
MOST_EXPOSED = 2.0  # of 10, as systemd judges; 1.4 today


def checked(*command: str | Path) -> str:
    """Run a command that must find nothing; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint comes for Linux only")
def test_hadolint_finds_nothing() -> None:
    assert checked(BIN / "hadolint", DEPLOY / "Containerfile") == ""


@pytest.mark.skipif(sys.platform != "linux", reason="docker-compose comes for Linux only")
def test_compose_takes_the_file() -> None:
    told = checked(BIN / "docker-compose", "-f", DEPLOY / "compose.yaml", "config", "--services")

    assert {"postgres", "migrate", "server", "gateway", "dispatcher"} < set(told.split())


@needs_promtool
def test_prometheus_takes_its_configuration() -> None:
    checked(str(PROMTOOL), "check", "config", DEPLOY / "prometheus/prometheus.yml")


@pytest.fixture
def units(tmp_path: Path) -> list[Path]:
    """The units, with the zart of this environment, and an instance of the template."""
    made = []
    for unit in (DEPLOY / "systemd").glob("*.service"):
        made.append(tmp_path / unit.name.replace("@", "@orders"))
        made[-1].write_text(unit.read_text().replace("/opt/zart/bin/zart", str(BIN / "zart")))
    return made


@needs_systemd
def test_systemd_takes_the_units(units: list[Path]) -> None:
    assert checked(str(ANALYZE), "verify", "--man=no", *units) == ""


@needs_systemd
def test_the_units_are_shut_in(units: list[Path]) -> None:
    limit = f"--threshold={round(MOST_EXPOSED * 10)}"
    for unit in units:
        checked(str(ANALYZE), "security", "--offline=true", "--no-pager", limit, unit)
