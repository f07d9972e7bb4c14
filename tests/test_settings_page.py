"""docs/settings.md says what the processes read: each setting, its bounds, and what holds without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from zart_server.settings import Settings

ROOT = Path(__file__).parents[1]


def test_the_page_is_what_make_settings_writes(tmp_path: Path) -> None:
    """Which fails where a setting says nothing of itself, or is not among those that it tells."""
    written = tmp_path / "settings.md"
    command = [sys.executable, "tools/settings.py", str(written)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (ROOT / "docs/settings.md").read_text() == written.read_text(), "make settings"


def test_it_has_bounds_and_defaults_as_they_are() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs/settings.md").read_text().splitlines()]
    told = {row[0].strip("| `"): row[1:3] for row in rows if len(row) == 4}

    assert told["ZART_POOL_SIZE"] == [
        "from 2 to 200",
        str(Settings.model_fields["pool_size"].default),
    ]
    assert told["ZART_DATABASE_URL"] == ["text", "needed"]
    assert told["ZART_CONCURRENCY"] == ["from 1", "16"]
    assert told["ZART_LEASE"] == ["from 1 to 3600", "30"]
    assert told["ZART_MIGRATE"] == ["1 or 0", "1"]
    assert told["ZART_GATEWAY_LISTEN"] == ["HOST:PORT", "127.0.0.1:8080"]
    assert told["ZART_TRIGGERED_BY"][1] == "user@host"
