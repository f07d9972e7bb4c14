"""What the site of ``make docs`` is made of is whole; mkdocs itself is not installed here."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of pages; links that lead nowhere would have failed it."""
    folder = tmp_path_factory.mktemp("pages")
    assemble = [sys.executable, str(ROOT / "tools/docs/assemble.py"), str(folder)]
    done = subprocess.run(assemble, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def named(items: Any) -> Iterator[str]:
    """Return the pages that a navigation names."""
    for item in items.values() if isinstance(items, dict) else items:
        if isinstance(item, str):
            yield item
        else:
            yield from named(item)


def test_the_navigation_leads_to_pages(pages: Path) -> None:
    config = yaml.safe_load((ROOT / "tools/docs/mkdocs.yml").read_text())
    paths = list(named(config["nav"]))

    assert len(paths) > 20
    assert [path for path in paths if not (pages / path).is_file()] == []


def test_the_api_is_of_modules_that_there_are(pages: Path) -> None:
    found = [
        name
        for page in (pages / "api").glob("*.md")
        for name in re.findall(r"^::: ([\w.]+)$", page.read_text(), re.MULTILINE)
    ]

    assert len(found) > 15
    for name in found:
        importlib.import_module(name)


def test_each_proto_is_shown(pages: Path) -> None:
    shown = (pages / "protos/zart/v1/index.md").read_text()

    assert {path.name for path in (ROOT / "protos/zart/v1").iterdir()} == set(
        re.findall(r"^## (\S+\.proto)$", shown, re.MULTILINE)
    )


def test_a_link_that_leads_nowhere_is_found(pages: Path) -> None:
    (pages / "docs/new.md").write_text("[there](there.md) [here](operating.md)\n")
    check = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from assemble import broken_links; print(*broken_links(Path(sys.argv[2])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(ROOT / "tools/docs"), str(pages)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (pages / "docs/new.md").unlink()

    assert done.stdout == "docs/new.md: there.md\n"
