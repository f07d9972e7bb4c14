"""``make help`` shows each target, with an example of ARGS where it takes them; CI runs all checks."""

from __future__ import annotations

import re
from pathlib import Path

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

    assert re.findall(r"^make (\S+)", run, re.MULTILINE) == [*checked.group(1).split(), "bench"]
