"""Every hot statement reads what it is about, whatever PostgreSQL believes of the tables."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from hot import states
from hot.complete import EXCEPTIONS, STILL_TO_COME, sending
from hot.explained import explained, prepared
from hot.judged import faults
from hot.listed import SCENARIOS, Scenario
from patient import patient_database

from zart_server.store.db import Database

_DOCS = Path(__file__).parents[2] / "docs" / "sql"
pytestmark = pytest.mark.asyncio(loop_scope="module")


class _Undone(Exception):
    """Rolls back what was done."""


@dataclass(frozen=True)
class Sent:
    """What all scenarios send: the functions, and the texts with what their transaction begins."""

    functions: frozenset[str]
    statements: frozenset[tuple[str, str]]  # function and text
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Burst:
    """A database after the burst, and sessions that planned before it and after it."""

    early: Database
    late: Database
    leading: Mapping[str, str]


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    """Open a database by one session."""
    db = await patient_database(url, pool_size=1, statement_timeout=120)
    try:
        yield db
    finally:
        await db.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sent(zart_postgres: str) -> Sent:
    """What all scenarios send."""
    statements: set[tuple[str, str]] = set()
    texts: dict[tuple[str, str], None] = {}
    state = "analyzed after the burst"
    async with states.made(zart_postgres, state) as url, opened(url) as db:
        await states.run(url, states.BURST, *states.AFTERWARDS[state])
        for scenario in SCENARIOS:
            async with explained(db, first=scenario.first, is_judged=False) as tx:
                await scenario.run(tx)
            statements.update(tx.raw.sent)
            texts.update({(scenario.first, sql): None for _, sql in tx.raw.sent})
    functions = frozenset(function for function, _ in statements)
    return Sent(functions, frozenset(statements), tuple(texts))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=states.STATES)
async def burst(
    zart_postgres: str, sent: Sent, request: pytest.FixtureRequest
) -> AsyncIterator[Burst]:
    """A database in one of the states, and its burst."""
    state: str = request.param
    async with states.made(zart_postgres, state) as url, opened(url) as early, opened(url) as late:
        for first, sql in sent.texts:
            await _planned(early, first, sql)
        await states.run(url, states.BURST, *states.AFTERWARDS.get(state, ()))
        async with late.autocommit() as tx:
            leading = await tx.fetch(
                "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true)"
                " FROM pg_index"
            )
        yield Burst(early, late, {row[0].removeprefix("zart."): row[1] for row in leading})


async def _planned(db: Database, first: str, sql: str) -> None:
    """Have a session plan a statement, and what it calls, and keep the plans; it does nothing."""
    with contextlib.suppress(_Undone):
        async with db.transaction(first=first) as tx:
            raw = tx._raw
            _, types = await prepared(raw, sql)
            await raw.execute("SAVEPOINT before")
            with contextlib.suppress(asyncpg.PostgresError):  # it is planned all the same
                await raw.fetch(sql, *[None] * len(types))
            raise _Undone


async def test_a_batch_costs_its_own_size(
    sent: Sent, burst: Burst, subtests: pytest.Subtests
) -> None:
    """One test of each state: as many workers as there are would make it for what they have of it."""
    planned_early = await _kept(burst.early)
    for scenario in SCENARIOS:
        for when, db in (("early", burst.early), ("late", burst.late)):
            with subtests.test(scenario.name, when=when):
                await _judge(db, scenario, burst.leading)
    # Else what was judged as planned early was planned late; and servers would plan ever again.
    assert {sql for _, sql in sent.texts} <= planned_early.keys()
    assert planned_early.items() <= (await _kept(burst.early)).items()


async def _kept(db: Database) -> dict[str, datetime]:
    """Return the statements that a session keeps prepared, and since when."""
    async with db.autocommit() as tx:
        rows = await tx.fetch("SELECT statement, prepare_time FROM pg_prepared_statements")
    return {row[0]: row[1] for row in rows}


async def _judge(db: Database, scenario: Scenario, leading: Mapping[str, str]) -> None:
    async with explained(db, first=scenario.first) as tx:
        await scenario.run(tx)
    found = [
        what
        for plan in tx.plans
        if plan.function not in scenario.apart
        for what in faults(plan, scenario.batch, leading, scenario.whole)
    ]
    assert not found, "\n\n".join(found)


async def test_the_list_is_complete(sent: Sent) -> None:
    everything = sending()
    without = EXCEPTIONS.keys() | STILL_TO_COME
    missing = everything - sent.functions - without
    needless = without & sent.functions | without - everything

    assert not missing, sorted(missing)
    assert not needless, sorted(needless)
    assert sent.functions <= everything


async def test_whatever_is_sent_can_be_read_in_docs(sent: Sent) -> None:
    written = {
        ".".join(path.relative_to(_DOCS).with_suffix("").parts): "".join(path.read_text().split())
        for path in _DOCS.rglob("*.sql")
    }
    missing = {
        function
        for function, text in sent.statements
        if "".join(text.split()) not in written.get(function.rpartition(".")[0], "")
    }

    assert not missing, sorted(missing)
