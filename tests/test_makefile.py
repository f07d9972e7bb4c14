"""``make help`` shows each target, with an example of ARGS where it takes them; CI runs all checks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGET = re.compile(r"^([a-z-]+):(.*)\n((?:\t.*\n)*)", re.MULTILINE)


def test_help_shows_what_each_target_takes() -> None:
    targets = {name: (line, recipe) for name, line, recipe in TARGET.findall(MAKEFILE)}
    undescribed = {name for name, (line, _) in targets.items() if "## " not in line}
    takes = {name for name, (_, recipe) in targets.items() if "$(ARGS)" in recipe}
    shows = {name for name, (line, _) in targets.items() if "ARGS='" in line}

    assert undescribed == set()
    assert "test" in takes
    assert takes == shows


def test_no_target_is_taken_for_a_file() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None

    assert {name for name, *_ in TARGET.findall(MAKEFILE)} == set(phony.group(1).split())


def test_ci_runs_what_a_developer_checks() -> None:
    run = (ROOT / ".ci/run").read_text()
    checked = re.search(r"^check: (.*?) ##", MAKEFILE, re.MULTILINE)
    assert checked is not None

    lines = re.findall(r"^make (?:-j 2 --output-sync=target )?(.*)$", run, re.MULTILINE)
    targets = {target for line in lines for target in line.split(" ARGS=")[0].split()}
    assert targets == {*checked.group(1).split(), "bench"}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What make needs to make the environment."""
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def python(path: Path, minor: int) -> Path:
    """Make a program that says it is Python 3.``minor``, and notes what it is to do in ``said``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -c ]; then\n'
        f"""  exec {sys.executable} -c "import sys; sys.version_info = (3, {minor}); exec(sys.argv[1])" "$2"\n"""
        "fi\n"
        'echo "$*" >> said\n'
    )
    path.chmod(0o755)
    return path


def make(checkout: Path, python: Path) -> tuple[str, list[str]]:
    """Make the environment by a program; gives what make complains of, and what that was to do."""
    done = subprocess.run(
        ["make", ".venv/.installed", f"PYTHON={python}"],
        # Not as a part of the make that runs the tests.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    said = checkout / "said"
    return done.stderr, said.read_text().splitlines() if said.exists() else []


def test_a_python_that_is_too_old_is_refused_before_anything_is_made(checkout: Path) -> None:
    old = python(checkout / "old", 9)
    error, said = make(checkout, old)
    assert f"zart needs Python 3.11 or newer, and {old} is 3.9: make" in error
    assert "PYTHON=python3.11" in error
    assert said == []
    assert not (checkout / ".venv").exists()


def test_an_environment_of_another_python_is_made_anew(checkout: Path) -> None:
    new = python(checkout / "new", 12)
    python(checkout / ".venv/bin/python", 9)
    assert make(checkout, new)[1][0] == "-m venv --clear .venv"


def test_an_environment_whose_python_is_gone_is_made_anew(checkout: Path) -> None:
    new = python(checkout / "new", 12)
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").symlink_to(checkout / "gone")
    assert make(checkout, new)[1] == ["-m venv --clear .venv"]


def test_an_environment_of_the_same_python_is_kept(checkout: Path) -> None:
    new = python(checkout / "new", 12)
    python(checkout / ".venv/bin/python", 12)
    error, said = make(checkout, new)
    assert (error, said[0]) == ("", "-m venv .venv")
    assert (checkout / ".venv/.installed").exists()
