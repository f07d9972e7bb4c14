"""A PostgreSQL of one's own gives nobody more than its data: no files, no programs, no rights."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from rig import CHAIN, specs

import zart
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.embedded.postgres import Postgres
from zart_server.embedded.programs import command, hand_over, passage, run_program
from zart_server.store.connecting import Connector
from zart_server.store.sessions import Session

IS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture(scope="module")
def database(folder: Path) -> Iterator[Postgres]:
    with postgres.running(folder, durable=False) as running:
        yield running


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize(
    "attack",
    [
        "COPY t FROM PROGRAM 'cat /etc/shadow'",
        "COPY t FROM '/etc/passwd'",
        "COPY t TO '/tmp/made-by-zart'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/root')",
        "SELECT lo_import('/etc/passwd')",
        "ALTER SYSTEM SET archive_command = 'id'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'abort'",
        "SET session_preload_libraries = '/tmp/x.so'",
        "SET SESSION AUTHORIZATION postgres",
        "SET ROLE postgres",
        "CREATE ROLE other SUPERUSER",
        "ALTER ROLE zart SUPERUSER",
        "CREATE DATABASE other",
    ],
)
async def test_its_role_reaches_nothing_but_its_database(database: Postgres, attack: str) -> None:
    async with connected(database.url) as db, contextlib.AsyncExitStack() as undo:
        await db.execute("CREATE TEMPORARY TABLE t (line text)")
        undo.push_async_callback(db.execute, "DROP TABLE t")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(attack)


async def test_nobody_can_log_in_as_its_superuser(database: Postgres, folder: Path) -> None:
    async with connected(database.url) as db:
        assert await db.fetchval("SHOW is_superuser") == "off"
        superusers = await db.fetch("SELECT rolname, rolcanlogin FROM pg_roles WHERE rolsuper")
        assert [tuple(row) for row in superusers] == [("postgres", False)]
    own = urlsplit(database.url)
    for password in (own.password, ""):
        url = urlunsplit(own._replace(netloc=f"postgres:{password}@127.0.0.1:{own.port}"))
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url)


async def test_what_the_environment_says_of_other_databases_is_not_about_it(
    database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGSSLROOTCERT", "/none")
    async with connected(database.url) as db:
        assert await db.fetchval("SELECT true")
    connection = await Connector(database.url, Session("test")).connect()
    await connection.close()


def test_its_password_and_log_are_for_whoever_started_it(database: Postgres, folder: Path) -> None:
    for secret in (folder / "password", folder / "log"):
        assert secret.stat().st_uid == os.geteuid()
        assert secret.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform != "linux", reason="capabilities are Linux's")
def test_it_has_no_capability_and_cannot_gain_one(database: Postgres) -> None:
    lines = Path(f"/proc/{database.process.pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert "0" not in status["Uid"].split("\t")
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1"


def make_old(folder: Path) -> str:
    """Make what zart 0.1 left behind, one execution in it: a superuser zart; gives its password."""
    (folder / "data").mkdir(mode=0o700)
    hand_over(folder / "data")
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text("old-password")
    for_initdb = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"old-{os.getpid()}"  # noqa: S108
    shutil.copy(password, for_initdb)
    hand_over(for_initdb)
    with passage(folder / "data") as (name, descriptor):
        made = run_program("initdb", f"--pgdata={name}", "--username=zart", f"--pwfile={for_initdb}",
                   "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync",
                   data=descriptor)  # fmt: skip
        assert made.returncode == 0, made.stderr
        said = run_program("postgres", "--single", "-D", name, "postgres",
                   said="CREATE DATABASE zart\n", data=descriptor)  # fmt: skip
        assert said.returncode == 0, said.stderr
    for_initdb.unlink()
    hand_over(password)
    with passage(folder / "data") as (name, descriptor):
        running = postgres._start(folder, name, descriptor, postgres.free_port(), ["fsync=off"])
        try:
            with serving(running.url) as server, zart.connect_sync(server.address) as client:
                client.start("t", execution_id="old", steps=specs(CHAIN))
        finally:
            running.stop()
    (folder / "database-made").touch()
    return "old-password"


async def test_a_folder_of_an_older_zart_goes_on_and_loses_its_superuser(tmp_path: Path) -> None:
    old = make_old(tmp_path)
    for _ in range(2):  # in place at the first start, and never again
        with postgres.running(tmp_path, durable=False) as database:
            own = urlsplit(database.url)
            assert own.password != old
            async with connected(database.url) as db:
                assert await db.fetchval("SHOW is_superuser") == "off"
                foreign = await db.fetch(
                    "SELECT c.oid::regclass::text FROM pg_class c"
                    " WHERE relnamespace IN ('zart'::regnamespace, 'public'::regnamespace)"
                    " AND NOT pg_has_role(c.relowner, 'USAGE')"
                    " UNION ALL SELECT p.oid::regprocedure::text FROM pg_proc p"
                    " WHERE pronamespace = 'zart'::regnamespace"
                    " AND NOT pg_has_role(p.proowner, 'USAGE')"
                )
                assert foreign == []
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(
                    urlunsplit(own._replace(netloc=f"zart:{old}@127.0.0.1:{own.port}"))
                )
            with serving(database.url) as server, zart.connect_sync(server.address) as client:
                assert [one.execution_id for one in client.list_executions()] == ["old"]
                client.restart("old")
        assert (tmp_path / "password").stat().st_uid == os.geteuid()


def is_open(path: Path) -> bool:
    """Whether everybody may pass to a folder."""
    return all(at.stat().st_mode & 0o001 for at in (path.resolve(), *path.resolve().parents))


@pytest.mark.skipif(not IS_ROOT, reason="only root can become a user without a name")
def test_a_user_without_a_name_has_one_too(tmp_path: Path) -> None:
    """As containers are given: initdb asks for the name of its user."""
    if shutil.which("setpriv") is None or not is_open(Path(asyncpg.__file__).parents[1]):
        pytest.skip("no setpriv, or the packages are where others may not pass")
    unknown = 54321
    # Python itself may be where others may not pass.
    become = [
        "setpriv", f"--reuid={unknown}", f"--regid={unknown}", "--clear-groups",
        "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
    ]  # fmt: skip
    home = Path("/tmp") / f"zart-{os.getpid()}"  # noqa: S108 - where others may pass
    home.mkdir()
    os.chown(home, unknown, unknown)
    program = (
        "import pathlib, sys\n"
        "from zart_server.embedded import postgres\n"
        "try:\n"
        "    with postgres.running(pathlib.Path(sys.argv[1]), durable=False) as it: print(it.url)\n"
        "except postgres.PostgresError as error: print(error)\n"
    )
    try:
        done = subprocess.run(
            [*become, sys.executable, "-c", program, home / "pg"],
            capture_output=True, text=True, check=False, cwd=home,
        )  # fmt: skip
    finally:
        shutil.rmtree(home)
    assert done.returncode == 0, done.stderr
    # Where namespaces of users are forbidden, it says what to do.
    assert done.stdout.startswith(("postgresql://zart:", "PostgreSQL cannot make")), done.stdout
    if not done.stdout.startswith("postgresql://"):
        assert "the user 54321 has no name here" in done.stdout


def test_nobody_passes_for_the_program(database: Postgres, folder: Path) -> None:
    """What runs as nobody, as PostgreSQL under root does, cannot read the password."""
    if not IS_ROOT:
        pytest.skip("PostgreSQL runs as we do")
    read = subprocess.run(
        command(Path("/bin/cat"), str(folder / "password")),
        env={"LC_ALL": "C"}, check=False, capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    assert read.stdout == ""
    assert "Permission denied" in read.stderr
