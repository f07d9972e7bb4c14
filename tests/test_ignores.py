"""What ruff or mypy is told to pass over says why, in the same line."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
IGNORED = re.compile(r"# (?:noqa|type: ignore)")
REASON = re.compile(r"# noqa: [A-Z0-9, ]+ - \w|# type: ignore\[[a-z, -]+\]  # (?!noqa)\w")


def test_each_ignored_finding_has_its_reason() -> None:
    seen = 0
    for folder in ("client/zart", "server", "tools", "examples"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.is_relative_to(ROOT / "client/zart/v1"):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                said = len(REASON.findall(line))
                seen += said
                assert len(IGNORED.findall(line)) == said, f"{path.relative_to(ROOT)}:{number}"

    assert seen > 100
