"""docs/deploying.md: its blocks of commands do what they say, as far as one machine can."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from shipped.files import DEPLOY, ROOT, environment_of

BIN = Path(sys.executable).parent
DOCUMENT = (ROOT / "docs/deploying.md").read_text()
COMPOSE, SYSTEMD = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)[:2]


def run(script: str, folder: Path) -> None:
    path = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", script], cwd=folder, env={**os.environ, **path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="docker-compose comes for Linux only")
def test_what_compose_needs_is_made(tmp_path: Path) -> None:
    shutil.copytree(DEPLOY, tmp_path / "deploy", ignore=shutil.ignore_patterns("secrets", "tls"))
    assert "docker compose up --detach --wait" in COMPOSE
    run(COMPOSE.replace("docker compose up --detach --wait", "docker-compose config -q"), tmp_path)

    secrets = tmp_path / "deploy/secrets"
    password = (secrets / "postgres-password").read_text().strip()
    assert (secrets / "database-url").read_text() == f"postgresql://zart:{password}@postgres/zart\n"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o644 for each in secrets.iterdir())


@pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None or os.geteuid() != 0,
    reason="there is no systemd-sysusers, or it may make no user",
)
def test_the_units_are_installed(tmp_path: Path) -> None:
    """In a folder for the root, without what pip brings and without a systemd that runs."""
    lines = SYSTEMD.replace(" -g zart", "").replace(" /etc/", f" {tmp_path}/etc/")
    lines = lines.replace("systemd-sysusers", f"systemd-sysusers --root={tmp_path}")
    made = [line for line in lines.splitlines() if "/opt/zart" not in line]
    made.remove("systemctl daemon-reload")
    (tmp_path / "etc/systemd/system").mkdir(parents=True)
    run("\n".join(made), ROOT)

    assert "zart:" in (tmp_path / "etc/passwd").read_text()
    there = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {"etc/zart/server.env", "etc/systemd/system/zart-dispatcher@.service"} < there
    text = (tmp_path / "etc/systemd/system/zart-server.service").read_text()
    named = re.search(r"^EnvironmentFile=/(.*)$", text, re.MULTILINE)
    assert named is not None
    assert named[1] in there


def test_each_file_that_the_units_read_is_named_and_made() -> None:
    """By docs/security.md, but for the URL; a dispatcher's token has another name there."""
    told = DOCUMENT.partition("## Under systemd\n")[2].partition("\n## ")[0]
    settings = [environment_of(path) for path in (DEPLOY / "systemd").glob("*.env")]
    read = {Path(at).name for each in settings for at in each.values() if at.startswith("/etc/")}
    (made,) = re.findall(
        r"^## Five minutes\n.*?```bash\n(.*?)```",
        (ROOT / "docs/security.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )

    assert read <= set(re.findall(r"[`/]([\w-]+(?:\.\w+)?)`", told))
    renamed = dict(re.findall(r"`([\w.]+)` as `([\w.]+)`", told))
    there = {renamed.get(name, name) for name in made.split()}
    assert read - there == {"database-url"}


def test_an_image_of_a_dispatcher_gets_packages_where_it_looks_for_them() -> None:
    """The environment has no pip of its own, and nobody's user may write nowhere."""
    image = (DEPLOY / "Containerfile").read_text()
    (derived,) = re.findall(r"```\n(FROM zart-control\n.*?)```", DOCUMENT, re.DOTALL)
    users = re.findall(r"^USER (.*)$", image, re.MULTILINE)
    installed = re.search(r"^RUN pip --python (\S+) install --no-cache-dir ", derived, re.MULTILINE)

    assert installed is not None
    assert f"pip --python {installed[1]} install" in image
    assert re.findall(r"^USER (.*)$", derived, re.MULTILINE) == ["0", users[-1]]
    assert re.search(rf"^USER 0\n{re.escape(installed[0])}", derived, re.MULTILINE)
