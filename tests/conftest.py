"""Every test talks to a real server on a real PostgreSQL through a real channel."""

from __future__ import annotations

import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from issuing import Connect, TokenFile
from rig import Rig
from scratch import in_memory
from waiting import GIVE_UP

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.identity import Role
from zart_server.store.known_types import KnowingConnection

settings.register_profile(
    "zart",
    deadline=None,  # a busy machine is no failure
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("zart")

# What these say is of other databases than the tests'.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]
# What tests talk to is here: no proxy of the machine's stands between.
for name in ("no_proxy", "NO_PROXY"):
    os.environ[name] = "127.0.0.1,localhost"

# The hundreds of processes that tests start are not each to compile anew all that they load.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parents[1]

# Where tests run in the background of a shell, SIGINT is ignored, and so by each process that they
# start: Ctrl-C would end none of them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have what takes longest of all begin first: one worker does it, and none does it alone at last.

    Each worker that judged some of the plans would make the system for itself that they are of.
    """
    items.sort(key=lambda item: item.path.name != "test_hot_plans.py")


@pytest.fixture(scope="session")
def zart_postgres_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """In memory where there is room: each test has a database, which is 700 files."""
    with in_memory(tmp_path_factory.mktemp("postgres")) as folder:
        yield folder


@pytest.fixture(scope="module", autouse=True)
def collected() -> None:
    """Have the collector pass over what the tests before have left, as servers do at their start.

    A million objects take a second to look through, amid a transaction perhaps, and six on a busy
    machine: longer than PostgreSQL waits for a word.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """Leave no handler behind that writes to what pytest has caught for one test alone."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [each for each in root.handlers if type(each) is logging.StreamHandler]:
        root.removeHandler(handler)


@pytest.fixture
async def client(zart_server: ServerUnderTest) -> AsyncIterator[zart.Client]:
    """A client of the server, each of whose starts is a call, as tests of the server expect."""
    async with zart.connect(
        zart_server.address, triggered_by="tester", group_starts=False, timeout=GIVE_UP
    ) as connected:
        yield connected


@pytest.fixture
async def db(zart_database: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to the server's database, for what only SQL can tell."""
    connection = await asyncpg.connect(zart_database, connection_class=KnowingConnection)
    yield connection
    await connection.close()


@pytest.fixture
def rig(client: zart.Client, db: asyncpg.Connection[asyncpg.Record]) -> Rig:
    """Short words for what tests do."""
    return Rig(client, db)


@pytest.fixture
def tokens(tmp_path: Path) -> TokenFile:
    """A file of static tokens with one of each role, named after it, and one without any."""
    made = TokenFile(tmp_path / "tokens")
    for role in Role:
        made.add(role, role)
    made.add("nobody")
    return made


@pytest.fixture
def guarded(zart_database: str, tokens: TokenFile) -> Iterator[ServerUnderTest]:
    """A server that asks who calls."""
    with serving(zart_database, auth_tokens=tokens.path) as server:
        yield server


@pytest.fixture
async def connect(guarded: ServerUnderTest) -> AsyncIterator[Connect]:
    """Return a client that shows the static token of this name (empty: none)."""
    async with AsyncExitStack() as stack:
        opened: list[zart.Client] = []

        def opener(name: str) -> zart.Client:
            credentials = zart.Credentials(token=f"zart_token-of-{name}" if name else "")
            opened.append(zart.connect(guarded.address, credentials=credentials))
            return opened[-1]

        yield opener
        for client in opened:
            await stack.enter_async_context(client)
