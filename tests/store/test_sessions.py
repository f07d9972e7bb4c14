"""What the guarantees rest on is set by us, whatever a database or a role has as its defaults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
from patient import patient_database
from rig import CHAIN, Rig, specs

import zart
from zart.testing.server import ServerUnderTest, serving
from zart_server.domain.commands import Caller
from zart_server.domain.model import PauseScope
from zart_server.embedded import postgres
from zart_server.store import sessions
from zart_server.store.connecting import Connector
from zart_server.store.db import Database
from zart_server.store.pausing.rules import SEIZE_PAUSE_LOCK, insert_rule
from zart_server.store.sessions import Session, SessionRefused

WHERE = ("DATABASE {database}", "ROLE {user} IN DATABASE {database}")
HOSTILE = {
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "synchronous_commit": "off",
    "search_path": "evil, pg_catalog",
    "statement_timeout": "40ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "1ms",
    "idle_session_timeout": "3s",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "bytea_output": "escape",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "xmloption": "document",
    "row_security": "off",
    "exit_on_error": "on",
    "gin_fuzzy_search_limit": "1",
    "plan_cache_mode": "force_custom_plan",
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "enable_nestloop": "off",
    "enable_seqscan": "on",
    "enable_hashjoin": "on",
    "enable_tidscan": "off",
    "random_page_cost": "1e6",
    "cpu_index_tuple_cost": "1e6",
    "from_collapse_limit": "1",
    "join_collapse_limit": "1",
    "jit": "on",
    "jit_above_cost": "0",
    "max_parallel_workers_per_gather": "8",
    "geqo_threshold": "2",
}
SINCE_17 = {"transaction_timeout": "1s", "restrict_nonsystem_relation_kind": "view"}


async def alter(
    db: asyncpg.Connection[asyncpg.Record], url: str, where: str, settings: dict[str, str]
) -> None:
    """Return a database, or a role in it, other defaults."""
    parsed = urlsplit(url)
    who = where.format(user=parsed.username, database=parsed.path[1:])
    for name, value in settings.items():
        quoted = value if name == "search_path" else f"'{value}'"
        await db.execute(f"ALTER {who} SET {name} = {quoted}")


@pytest.fixture(params=WHERE, ids=["database", "role"])
async def hostile(
    db: asyncpg.Connection[asyncpg.Record], zart_database: str, request: pytest.FixtureRequest
) -> str:
    """The URL of a database whose sessions begin with everything set as it must not be."""
    await db.execute(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.statement_timestamp() RETURNS timestamptz"
        " LANGUAGE sql AS $$SELECT timestamptz '1999-01-01'$$"
    )
    is_17 = db.get_server_version().major >= 17
    await alter(db, zart_database, request.param, HOSTILE | (SINCE_17 if is_17 else {}))
    return zart_database


@pytest.fixture
async def server(hostile: str) -> AsyncIterator[ServerUnderTest]:
    """A server on it."""
    with serving(hostile) as running:
        yield running


async def test_hostile_defaults_change_nothing_that_callers_see(
    server: ServerUnderTest, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    payload = {"text": "back\\slash ' é 日本", "number": 0.1 + 0.2}
    async with zart.connect(server.address) as client:
        rig = Rig(client, db)
        await rig.start("x", CHAIN, payload=payload)
        rule = (await client.pause(task_name="t", expires_in=timedelta(hours=2))).rule
        assert not await rig.lease()
        await client.resume(rule_id=rule.rule_id)
        task = await rig.lease_one("a")
        assert await rig.complete(task, result=payload) == ["RECORDED"]
        await rig.fail(await rig.lease_one("b"))
        await client.retry_step("x", "b")
        assert (await client.restart("x", request_id="r")).new_run_number == 1
        assert (await client.restart("x", request_id="r")).replayed
        await rig.work()
        state = await client.get_execution("x")
        step = await client.get_step("x", "a", run_number=0)
        page = await client.list_executions(task_name="t")
    assert task.payload == payload
    assert step.result == payload
    assert state.run.status == "COMPLETED"
    assert rule.expires_at is not None
    assert timedelta(minutes=100) < rule.expires_at - datetime.now(UTC) < timedelta(minutes=130)
    assert [each.execution_id for each in page] == ["x"]
    assert state.run.created_at is not None
    assert state.run.created_at.year > 2000  # not the time of somebody else's function


async def test_what_is_to_be_set_is_learnt_once_a_process_and_set_in_each_session(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LEARNT", {})
    shown = []
    for _ in range(2):
        connection = await Connector(hostile, Session("test")).connect()
        rows = await connection.fetch("SELECT name, current_setting(name) AS is FROM pg_settings")
        shown.append({row["name"]: row["is"] for row in rows})
        await connection.close()
        monkeypatch.setattr(sessions, "_LEARN", "SELECT nothing that there is")
    learnt = dict(next(iter(sessions._LEARNT.values())))
    for each in shown:
        assert {name: each[name] for name in learnt} == learnt
    # One is left as it is: how many workers a plan has, not whether it is a parallel one.
    assert HOSTILE.keys() - learnt.keys() == {"max_parallel_workers_per_gather"}
    assert not HOSTILE.items() & learnt.items()


async def test_hostile_defaults_change_no_plan_and_no_promise(hostile: str) -> None:
    database = await Database.open(hostile)
    async with database.transaction() as tx:
        plan = await tx.fetch(
            "EXPLAIN SELECT r.status FROM unnest('{1,2}'::bigint[]) k"
            " CROSS JOIN LATERAL (SELECT * FROM zart.runs WHERE run_key = k) r"
        )
        promised = await tx.fetchval("SELECT current_setting('synchronous_commit')")
        loose = await tx.fetch(
            "SELECT name FROM pg_settings WHERE category LIKE 'Query Tuning%' AND context = 'user'"
            " AND source IN ('database', 'user', 'database user') AND setting <> boot_val"
        )
    await database.close()
    assert any("Index Scan" in row[0] for row in plan), plan
    assert promised == "on"
    assert loose == []


@pytest.mark.parametrize("where", WHERE, ids=["database", "role"])
@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_the_pause_guarantee_holds_whatever_the_default_isolation(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record], isolation: str, where: str
) -> None:
    """A claim that waited for a Pause to commit sees its rule."""
    await alter(db, zart_database, where, {"default_transaction_isolation": isolation})
    pausing = await patient_database(zart_database)
    with serving(zart_database) as server:
        async with zart.connect(server.address) as client:
            await client.start("t", execution_id="x", steps=specs(CHAIN))
            async with pausing.transaction(first=SEIZE_PAUSE_LOCK) as tx:
                claim = asyncio.create_task(client.lease_tasks("d", ["t"]))
                await Rig(client, db).until_waiting()
                scope = PauseScope(None, "t", None, everything=False)
                made: dict[str, Any] = {"expires_at": None, "expires_in": None}
                await insert_rule(tx, "pr-test", scope, None, caller=Caller(), **made)
            assert await claim == ()
    await pausing.close()


async def test_what_waits_longer_for_replicas_is_kept(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    found = {}
    for value in ("remote_apply", "remote_write", "local", "off"):
        await alter(db, zart_database, WHERE[0], {"synchronous_commit": value})
        connection = await Connector(zart_database, Session("test")).connect()
        found[value] = await connection.fetchval("SHOW synchronous_commit")
        await connection.close()
    assert found == {
        "remote_apply": "remote_apply", "remote_write": "on", "local": "on", "off": "on",
    }  # fmt: skip


async def test_a_session_that_does_not_guard_history_is_refused(tmp_path: Path) -> None:
    """As a replica of another product's would be, where triggers do not fire."""
    settings = ("session_replication_role=replica",)
    with (
        postgres.running(tmp_path / "pg", durable=False, settings=settings) as database,
        pytest.raises(SessionRefused, match="session_replication_role must be origin"),
    ):
        await Connector(database.url, Session("test")).connect()
