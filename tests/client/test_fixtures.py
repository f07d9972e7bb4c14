"""The fixtures for tests of others: what their environment says is of their databases and servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from waiting import GIVE_UP

THEIRS = """
import os

import zart

GIVEN = {given!r}


def given():
    return {{name: os.environ.get(name) for name in GIVEN}}


def test_a_server_is_there(zart_server):
    credentials = zart.Credentials()  # what it says of these is a client's
    with zart.connect_sync(zart_server.address, credentials=credentials) as client:
        assert list(client.list_executions()) == []
    assert given().items() >= {{name: GIVEN[name] for name in {stays!r}}}.items()


def test_what_it_says_is_as_it_was():
    assert given() == GIVEN
"""


def passes(folder: Path, stays: Sequence[str], **given: str) -> None:
    """Run two tests of somebody's in whose environment all this is, and what ``stays`` all along."""
    theirs = folder / "test_theirs.py"
    theirs.write_text(THEIRS.format(given=given, stays=stays))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(theirs)],
        cwd=folder,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=GIVE_UP,
        check=False,
    )
    assert (run.returncode, "2 passed" in run.stdout) == (0, True), run.stdout + run.stderr


def test_what_says_how_to_reach_other_databases_is_left_to_other_tests(tmp_path: Path) -> None:
    passes(
        tmp_path,
        ["PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGSSLMODE"],
        PGHOST="elsewhere",
        PGPORT="1",
        PGUSER="somebody",
        PGPASSWORD="theirs",
        PGDATABASE="theirs",
        PGSSLMODE="require",
        PGSSLNEGOTIATION="direct",
        PGSSLROOTCERT="/none",
        PGTARGETSESSIONATTRS="standby",
    )


def test_what_says_how_to_run_another_server_is_nothing_to_the_one_under_test(
    tmp_path: Path,
) -> None:
    given = {
        "ZART_TLS_CERT": "/none",
        "ZART_TLS_KEY": "/none",
        "ZART_AUTH_TOKENS": "/none",
        "ZART_AUTH_JWKS": "https://example.com/keys",
        "ZART_AUTH_ISSUER": "theirs",
        "ZART_AUTH_AUDIENCE": "theirs",
        "ZART_DATABASE_URL_FILE": "/none",
        "ZART_POOL_SIZE": "none",
        "ZART_RETENTION": "1s",
    }
    passes(tmp_path, list(given), **given)


INTERRUPTED = """
import os, signal, sys, threading

from zart.testing.server import serving

signal.signal(signal.SIGINT, signal.default_int_handler)


def interrupt():
    while "zart-server" not in [thread.name for thread in threading.enumerate()]:
        pass
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt, daemon=True).start()
with serving(sys.argv[1]):
    signal.pause()
"""


def test_ctrl_c_while_a_server_starts_leaves_nothing_behind(zart_database: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, zart_database],
        capture_output=True,
        text=True,
        timeout=GIVE_UP,
        check=False,
    )
    assert run.returncode != 0
    assert "KeyboardInterrupt" in run.stderr
