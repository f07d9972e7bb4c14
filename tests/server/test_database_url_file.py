"""Where the database is may stand in a file: among the processes everybody reads what is given."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from acceptance.serve_process import serve_processes
from waiting import GIVE_UP

import zart
from zart_server.settings import Settings, SettingsError

ROOT = Path(__file__).parents[2]


def test_a_server_takes_it_from_a_file(zart_database: str, tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(zart_database + "\n")
    settings = {"ZART_DATABASE_URL_FILE": str(file)}
    with serve_processes(1, "", tmp_path, **settings) as (server,):
        with zart.connect_sync(server.address) as client:
            assert list(client.list_pause_rules()) == []
        assert server._process is not None
        shown = Path(f"/proc/{server._process.pid}/cmdline").read_bytes()
        assert b"postgresql" not in shown
        assert server.stop() == 0
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ZART_")}
    migrated = subprocess.run(
        [sys.executable, "-m", "zart.cli", "migrate", "--database-url-file", file],
        env=environment, capture_output=True, text=True, check=False, timeout=GIVE_UP,
    )  # fmt: skip
    assert migrated.returncode == 0, migrated.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [(None, "No such file"), ("", "must hold one line"), ("a\nb", "must hold one line"),
     ("mysql://secret@host/x", "ZART_DATABASE_URL: ")],
)  # fmt: skip
def test_what_is_wrong_with_the_file_is_told_without_what_it_holds(
    tmp_path: Path, text: str | None, told: str
) -> None:
    file = tmp_path / "url"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        Settings.load(database_url_file=file)
    assert told in str(refused.value)
    assert "secret" not in str(refused.value)


def test_one_of_both(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not both"):
        Settings.load(database_url="postgresql://host/x", database_url_file=tmp_path / "url")


@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_one_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, blank: str) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://file/x\n")
    for url, path, found in (("postgresql://host/x", blank, "host"), (blank, str(file), "file")):
        monkeypatch.setenv("ZART_DATABASE_URL", url)
        monkeypatch.setenv("ZART_DATABASE_URL_FILE", path)
        assert Settings.load().database_url == f"postgresql://{found}/x"


def test_no_document_gives_a_password_on_a_command_line() -> None:
    for page in (
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").glob("*.md"),
    ):
        found = re.findall(r"--database-url[= ]\S*://\S*:\S*@", page.read_text())
        assert found == [], page
