"""What a release is made of: one version everywhere, a changelog that ends at it, a licence."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

from zart.version import DISTRIBUTION, installed_version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEADING = re.compile(r"^## (\d+\.\d+\.\d+) \((unreleased|\d{4}-\d\d-\d\d)\)$")
# Of the text as the Apache Software Foundation publishes it, to the letter.
APACHE_2_0 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"


def test_the_changelog_begins_with_the_version_of_the_package() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    headings = [HEADING.fullmatch(line) for line in lines if line.startswith("## ")]
    found = [(heading[1], heading[2]) for heading in headings if heading is not None]

    assert len(found) == len(headings) > 0
    assert found[0][0] == PROJECT["version"] == installed_version()
    versions = [tuple(map(int, version.split("."))) for version, _ in found]
    assert versions == sorted(set(versions), reverse=True)
    # Only the newest may be open; the others have the day on which they were made.
    days = [day for _, day in found[1:]] + [day for _, day in found[:1] if day != "unreleased"]
    assert all(dt.date.fromisoformat(day) for day in days)


def test_the_licence_is_whole_and_named() -> None:
    told = importlib.metadata.metadata(DISTRIBUTION)

    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2_0
    assert PROJECT["license"] == told["License-Expression"] == "Apache-2.0"
    assert told["License-File"] in PROJECT["license-files"]
