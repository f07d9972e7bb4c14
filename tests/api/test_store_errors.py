"""What the database does to a call, as its caller sees it: never the driver's text."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import asyncpg
import grpc.aio
import pytest
from rig import CHAIN, Rig, specs

import zart
from zart import errors
from zart.testing.server import serving
from zart_server.store.outage_lines import OutageLines


async def raising(rig: Rig, sqlstate: str, table: str = "operations") -> None:
    """Make every insert into a table fail with this SQLSTATE."""
    await rig.db.execute(
        f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION"
        f" 'secret of the driver' USING ERRCODE = '{sqlstate}'; END$$;"
        f"CREATE TRIGGER fail BEFORE INSERT ON zart.{table} EXECUTE FUNCTION fail()"
    )


def impatient(rig: Rig) -> zart.Client:
    """Return a client that repeats no more than its channel does."""
    return zart.Client(rig.client.channel, repeats=False)


def told_by(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the log says of a database that cannot serve."""
    lines = "zart_server.store.outage_lines"
    return [each.getMessage() for each in caplog.records if each.name == lines]


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40001", errors.StoreConflict),
        ("40P01", errors.StoreConflict),
        ("25006", errors.StoreUnavailable),  # read-only
        ("57P03", errors.StoreUnavailable),  # starting up, recovering
        ("53300", errors.StoreUnavailable),  # too many connections
        ("08006", errors.StoreUnavailable),  # the connection is lost
        ("57014", errors.OperationTimeout),  # the statement took too long
        ("XX000", errors.InternalError),
    ],
)
async def test_a_failing_statement(rig: Rig, sqlstate: str, expected: type[errors.Refused]) -> None:
    await rig.start("x", CHAIN)
    await raising(rig, sqlstate)
    with pytest.raises(errors.Refused) as refused:
        await impatient(rig).restart("x")

    assert type(refused.value) is expected
    assert "secret" not in str(refused.value.status)
    if expected is errors.StoreUnavailable:
        assert refused.value.retry_after is not None
    assert len(await rig.client.list_runs("x")) == 1


@pytest.mark.parametrize(
    ("sqlstate", "cause"),
    [
        ("53100", "the database has no disk space left"),
        ("53200", "the database has no memory left"),
        ("53400", "the database is beyond a limit that it was configured with"),
    ],
)
async def test_the_log_says_why_the_database_cannot_serve(
    rig: Rig, caplog: pytest.LogCaptureFixture, sqlstate: str, cause: str
) -> None:
    await rig.start("x", CHAIN)
    await raising(rig, sqlstate)
    with pytest.raises(errors.StoreUnavailable):  # after some repeats of the channel
        await impatient(rig).restart("x")

    assert told_by(caplog)[0] == f"STORE_UNAVAILABLE: {cause}"
    assert "secret" not in caplog.text


def test_what_goes_on_is_told_again_and_how_often_it_was_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 0.0
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("zart_server.store.outage_lines.time", clock)
    lines = OutageLines()
    for now in (100.0, 101.0, 102.0, 121.0, 122.0):  # noqa: B007 - what the clock says
        lines.tell("it is full")
    lines.tell("it is away")

    assert told_by(caplog) == [
        "STORE_UNAVAILABLE: it is full",
        "STORE_UNAVAILABLE: it is full (and 2 times since this was told last)",
        "STORE_UNAVAILABLE: it is away",
    ]


async def test_a_conflict_that_passes_is_repeated_inside_the_server(rig: Rig) -> None:
    await rig.start("x", CHAIN)
    await rig.db.execute(
        "CREATE SEQUENCE tries; CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " IF nextval('public.tries') < 3 THEN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END IF;"
        " RETURN NULL; END$$;"
        "CREATE TRIGGER fail AFTER INSERT ON zart.operations EXECUTE FUNCTION fail()".replace(
            "SEQUENCE tries", "SEQUENCE public.tries"
        )
    )
    assert (await rig.client.restart("x")).new_run_number == 1
    assert len(await rig.client.list_runs("x")) == 2


async def test_an_operation_that_takes_too_long_is_told_and_rolled_back(
    zart_database: str, rig: Rig
) -> None:
    await rig.start("x", CHAIN)
    with serving(zart_database, operation_timeout=0.3) as server:
        async with zart.connect(server.address, triggered_by=rig.client.triggered_by) as client:
            async with rig.locked("SELECT FROM zart.executions FOR NO KEY UPDATE"):
                with pytest.raises(errors.OperationTimeout) as slow:
                    await client.restart("x", request_id="r")
            assert slow.value.code.name == "DEADLINE_EXCEEDED"
    again = await rig.client.restart("x", request_id="r")  # of a server that waits for longer
    assert (again.new_run_number, again.replayed) == (1, False)


async def _until_served(call: Callable[[], Awaitable[object]]) -> object:
    """Make a call anew for as long as the server has no connection for it."""
    while True:
        with contextlib.suppress(errors.StoreUnavailable):
            return await call()


async def test_an_exhausted_pool_is_unavailable(
    zart_database: str,
    db: asyncpg.Connection[asyncpg.Record],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Of five connections reads have three, and those who wait for locks two.
    with serving(zart_database, pool_size=5, operation_timeout=30) as server:
        async with zart.connect(server.address) as client:
            rig = Rig(client, db)
            for name in ("x", "y"):
                await client.start("t", execution_id=name, steps=specs(CHAIN))
            async with rig.locked("LOCK TABLE zart.executions IN ACCESS EXCLUSIVE MODE"):
                # The server's own work may hold one of the five first: who finds none asks again.
                # Each comes once the one before it waits: those that come at once are one.
                calls: list[Callable[[], Awaitable[object]]] = [
                    *(functools.partial(client.get_execution, "x") for _ in range(3)),
                    *(functools.partial(client.restart, name) for name in ("x", "y")),
                ]
                stuck = []
                for number, call in enumerate(calls, 1):
                    stuck.append(asyncio.create_task(_until_served(call)))
                    await rig.until_waiting(number, at_length=True)
                # A channel of its own, since ours and its client would repeat the call.
                async with grpc.aio.insecure_channel(server.address) as plain:
                    refused = await asyncio.gather(
                        zart.Client(plain, repeats=False).get_execution("x"),
                        zart.Client(plain, repeats=False).register_task("u", specs(CHAIN)),
                        return_exceptions=True,
                    )
                for busy in refused:
                    assert isinstance(busy, errors.StoreUnavailable)
                    assert busy.retry_after is not None
                said = told_by(caplog)
                assert any("reads wait for each other" in line for line in said)
                assert any("ZART_POOL_SIZE" in line for line in said)
            assert len(await asyncio.gather(*stuck)) == len(calls)


async def test_one_outcome_that_cannot_be_stored_is_rejected_alone(rig: Rig) -> None:
    """If a batch fails on data, it is split until the bad item stands alone."""
    await rig.start("x", {f"n{n}": () for n in range(7)})
    tasks = await rig.lease()
    await rig.db.execute(
        "CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " IF NEW.result::text = '\"bad\"' THEN RAISE EXCEPTION 'x' USING ERRCODE = '22023';"
        " END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER picky BEFORE UPDATE ON zart.steps FOR EACH ROW EXECUTE FUNCTION picky()"
    )
    outcomes = [
        zart.Outcome(t.task_id, t.lease_token, zart.Completed("bad" if t is tasks[3] else "good"))
        for t in tasks
    ]
    results = await rig.report(*outcomes)

    assert [r.status.value for r in results] == ["RECORDED"] * 3 + ["REJECTED"] + ["RECORDED"] * 3
    assert await rig.complete(tasks[3]) == ["RECORDED"]
    assert await rig.run_status() == "COMPLETED"
