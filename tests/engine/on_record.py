"""Claims and changes of rules on record with their transactions, and dispatchers that make them.

With ``track_commit_timestamp`` PostgreSQL tells when each transaction committed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import grpc.aio

import zart
from zart import errors
from zart.models import LeasedTask, StepError
from zart.v1 import dispatch_service_pb2 as pb
from zart.v1.dispatch_service_pb2_grpc import DispatchServiceStub

T = TypeVar("T")

# Every claim leaves its transaction's id: a trigger, so that nothing of the server is changed.
WATCH_CLAIMS = """
CREATE TABLE public.claims (run_key bigint, step_no integer, token bigint, attempt integer,
    xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_claim() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.claims (run_key, step_no, token, attempt)
    SELECT run_key, step_no, lease_token, attempt FROM new_rows;
    RETURN NULL;
END $$;
CREATE TRIGGER note_claim AFTER INSERT ON zart.leases
    REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION note_claim();
CREATE TABLE public.rule_changes (rule_key bigint, deleted boolean, xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_rule() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.rule_changes (rule_key, deleted)
    VALUES (NEW.rule_key, NEW.deleted_at IS NOT NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER note_rule AFTER INSERT OR UPDATE OF deleted_at ON zart.pause_rules
    FOR EACH ROW EXECUTE FUNCTION note_rule();
CREATE TABLE public.exemption_changes (rule_key bigint, execution_id text, is_exempt boolean,
    xid xid8 DEFAULT pg_current_xact_id());
CREATE FUNCTION note_exemption() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.exemption_changes (rule_key, execution_id, is_exempt)
    VALUES (NEW.rule_key, NEW.execution_id, NEW.token_until IS NULL);
    RETURN NULL;
END $$;
CREATE TRIGGER note_exemption AFTER INSERT OR UPDATE ON zart.pause_exemptions
    FOR EACH ROW EXECUTE FUNCTION note_exemption();
"""


async def dispatch(client: zart.Client, stop: asyncio.Event, seed: int) -> None:
    """Lease and report, often as failed or released, so that steps come back to the queue.

    Half of the reports take on at once what they make ready. A call that a busy machine could not
    serve is let be: its steps come back when their leases end.
    """
    chance = random.Random(seed)
    stub = DispatchServiceStub(client.channel)
    follow: list[pb.LeasedTask] = []
    while not stop.is_set():
        try:
            tasks = await client.lease_tasks(f"d{seed}", ["t"], max_tasks=chance.randint(1, 4))
        except (errors.Unavailable, errors.Unreachable):
            continue
        request = pb.ReportTasksRequest(dispatcher_id=f"d{seed}")
        held: list[LeasedTask | pb.LeasedTask] = [*tasks, *follow]
        for task in held:
            ending: zart.Completed | zart.Failed | zart.Released = zart.Completed(1)
            if chance.random() < 0.3:
                ending = zart.Released()
            elif chance.random() < 0.3:
                ending = zart.Failed(StepError("E", "e", ""), retry_after=0)
            ending.into(request.outcomes.add(task_id=task.task_id, lease_token=task.lease_token))
        if request.outcomes:
            if chance.random() < 0.5:
                request.lease_next.task_names.append("t")
                request.lease_next.max_tasks = chance.randint(1, 4)
            try:
                follow = list((await stub.ReportTasks(request)).tasks)
            except grpc.aio.AioRpcError as error:
                if not isinstance(errors.from_call(error), errors.Unavailable | errors.Unreachable):
                    raise
                follow = []


async def served(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call, again and again where a busy machine could not serve it."""
    while True:
        with contextlib.suppress(errors.Unavailable, errors.Unreachable):
            return await call()


async def record_claims(url: str) -> str:
    """Have a database tell of every claim when it committed; return its URL."""
    db = await asyncpg.connect(url)
    assert await db.fetchval("SHOW track_commit_timestamp") == "on"
    await db.execute(WATCH_CLAIMS)
    await db.close()
    return url
