"""Whatever a process logs with: no line costs an outcome, a lease, or a step."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from client.test_lines_of_attempts import FIELDS, leased, told
from client.test_reporting import reporting
from dispatching import dispatching, start
from rig import Rig
from waiting import GIVE_UP, for_ever

import zart
import zart.dispatcher
from zart.dispatcher.leases import LeaseKeeper
from zart.dispatcher.log import Log
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

Failing = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def taken_names() -> Iterator[None]:
    """Have each line carry fields of the names that ours have, as a usual recipe does."""
    before = logging.getLogRecordFactory()

    def factory(*of: object, **more: object) -> logging.LogRecord:
        record = before(*of, **more)
        vars(record).update(dict.fromkeys(FIELDS, "theirs"))
        return record

    logging.setLogRecordFactory(factory)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


@contextlib.contextmanager
def raising_factory() -> Iterator[None]:
    """Have no line be made."""
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(lambda *_, **__: 1 / 0)  # type: ignore[arg-type]
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


@contextlib.contextmanager
def raising_filter() -> Iterator[None]:
    """Have the filter raise of each logger that is used here."""

    def refuse(record: logging.LogRecord) -> bool:
        raise LookupError(record.name)

    names = [f"zart.dispatcher.{name}" for name in ("leases", "reporting", "failures", "service")]
    loggers = [logging.getLogger(name) for name in (*names, "zart.step")]
    for each in loggers:
        each.addFilter(refuse)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(refuse)


FAILING = pytest.mark.parametrize("failing", [taken_names, raising_factory, raising_filter])


@FAILING
def test_what_has_lost_its_lease_is_stopped(failing: Failing) -> None:
    lost = [leased(), leased()]
    with failing():
        LeaseKeeper._lose(lost, "the server gave it up")
    assert all(each.lost for each in lost)


@FAILING
@pytest.mark.parametrize("status", [pb.REPORT_STATUS_LEASE_LOST, pb.REPORT_STATUS_REJECTED])
async def test_outcomes_go_on_being_sent(
    failing: Failing, status: pb.ReportStatus.ValueType
) -> None:
    async with reporting() as made:
        made.server.gate.set()
        made.server.status = status
        with failing():
            made.reporter.report(leased(), pb.TaskOutcome(task_id="0"))
            await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
        made.server.status = pb.REPORT_STATUS_RECORDED
        made.report(1)
        await asyncio.wait_for(made.reporter.flush(), GIVE_UP)
    assert len(made.done) == 2


@FAILING
async def test_a_dispatcher_runs_its_steps_and_stops(
    rig: Rig, zart_server: ServerUnderTest, failing: Failing
) -> None:
    task, begun = zart.Task("t"), asyncio.Event()

    @task.step(retry=zart.Retry(max_attempts=2, initial_backoff=0.0))
    async def fails(ctx: zart.StepContext) -> str:
        ctx.logger.warning("my own words", extra={"attempt": 7})
        if ctx.attempt == 1:
            raise ValueError
        return "done"

    @task.step(depends_on=[fails])
    async def endless(_: zart.StepContext) -> None:
        begun.set()
        await for_ever()

    with failing():
        async with dispatching(zart_server, task, grace=0.1) as stop:
            await start(rig, task)
            await asyncio.wait_for(begun.wait(), GIVE_UP)
            stop.set()
    first, second = (await rig.client.get_step("x", "fails")).attempts
    assert (first.status, second.status) == ("FAILED", "COMPLETED")
    (attempt,) = (await rig.client.get_step("x", "endless")).attempts
    assert attempt.status == "LOST"


def test_a_field_that_is_taken_is_left_out_and_the_others_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with taken_names():
        Log("zart.dispatcher.x").error("%s", "a line", extra={"attempt": 2, "error": "E"})
    (record,) = caplog.records
    assert record.getMessage() == "a line"
    assert (vars(record)["attempt"], vars(record)["error"]) == ("theirs", "E")
    assert (record.levelname, record.pathname) == ("ERROR", __file__)
    assert record.funcName == "test_a_field_that_is_taken_is_left_out_and_the_others_are_told"


def test_a_line_of_a_step_says_where_it_is_and_keeps_its_fields_under_other_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ctx = zart.testing.context(step_name="s", attempt=2)
    with taken_names():
        ctx.logger.warning("charged", extra={"amount": 20})
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["attempt"], fields["attempt_"], fields["amount"]) == ("theirs", 2, 20)
    assert (record.pathname, record.levelname) == (__file__, "WARNING")
    assert record.funcName.startswith("test_a_line_of_a_step_says")


@FAILING
def test_why_a_line_is_not_logged_is_told(
    capsys: pytest.CaptureFixture[str], failing: Failing
) -> None:
    with failing():
        leased_lost = [leased()]
        LeaseKeeper._lose(leased_lost, "why")
        zart.testing.context().logger.warning("words")
    lines = capsys.readouterr().err.count("zart: a line could not be logged: builtins.")
    assert lines == (0 if failing is taken_names else 2)


def test_a_line_that_is_logged_has_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    LeaseKeeper._lose([leased()], "why")
    assert told(caplog) == {"x:run:3/b: the lease is lost, why": FIELDS}


def test_nothing_in_the_dispatcher_logs_another_way() -> None:
    folder = Path(zart.dispatcher.__file__).parent
    found = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.Import) and any(a.name == "logging" for a in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "logging")
    }
    assert found == {"log.py"}
