"""A caller and a dispatcher in each other language: whole executions, leases kept and lost, a drain."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import grpc
import pytest
from acceptance.languages import LANGUAGES, Language
from between import Between, Refusal, Refusing
from dispatching import registered
from rig import QUICK, Rig, eventually
from waiting import GIVE_UP, for_ever, until

import zart
from zart.testing.server import ServerUnderTest
from zart.v1 import dispatch_service_pb2 as pb

LEASE = 6.0  # seconds, of both examples
AN_HOUR = 3_600_000
PAGE = (Path(__file__).parents[2] / "docs/dispatcher.md").read_text()


class Late:
    """Never answers the first extension, and tells of the task of "late" once its lease is lost.

    ``told`` has the outcomes of that task's first lease.
    """

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._is_extended = False
        self._lease_token = 0
        self.told: list[pb.TaskOutcome] = []

    async def hold(self, method: str, answer: bytes) -> None:
        """Hold an answer back."""
        if method == "ExtendLeases" and not self._is_extended:
            self._is_extended = True
            await for_ever()  # its caller's patience ends
        if method == "LeaseTasks" and b"late:run:0" in answer and not self._lease_token:
            self._lease_token = pb.LeaseTasksResponse.FromString(answer).tasks[0].lease_token
            await eventually(self._is_lost)

    def look(self, method: str, request: bytes) -> None:
        """Note what is told of the task, and refuse nothing."""
        if method == "ReportTasks":
            outcomes = pb.ReportTasksRequest.FromString(request).outcomes
            self.told += [each for each in outcomes if each.lease_token == self._lease_token]

    async def _is_lost(self) -> bool:
        return (await self._rig.client.get_step("late", "look-up")).attempts[0].status == "LOST"


class Minding:
    """Refuses reports of some results: at once, but the second and later ones of one alone later.

    These hang until ``held`` is set. ``alone`` counts the reports of one alone.
    """

    def __init__(self, *results: bytes) -> None:
        self.results = set(results)
        self.alone: Counter[bytes] = Counter()
        self.held = asyncio.Event()

    def __call__(self, method: str, request: bytes) -> Refusal | None:
        """Judge a call."""
        found = {each for each in self.results if each in request}
        if method != "ReportTasks" or not found:
            return None
        if len(pb.ReportTasksRequest.FromString(request).outcomes) > 1:
            return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.alone.update(found)
        held = self.held if max(self.alone[each] for each in found) > 1 else None
        return Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, held=held)


class Unextended:
    """Answers no extension from ``begin`` on: each has its caller lose patience."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._begun_at: int | None = None

    def begin(self) -> None:
        """Answer none from now on."""
        self._begun_at = len(self._log.read_text())

    async def hold(self, method: str, _answer: bytes) -> None:
        """Hold an answer back."""
        if method == "ExtendLeases" and self._begun_at is not None:
            await for_ever()

    def calls_before(self, line: str) -> int | None:
        """Return how many calls had ended by the time that the log told this; None: it has not."""
        told, found, _ = self._log.read_text()[self._begun_at :].partition(line)
        return told.count("leases are not extended") if found else None


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_executions_run_leases_are_kept_and_a_stop_tells_what_is_lost(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    """A call that hangs costs no lease, and what is leased when it comes is begun by nobody."""
    folder = await asyncio.to_thread(language.built)
    log, late = tmp_path / "log", Late(rig)
    async with Between(zart_server.address, late.look, late.hold) as proxy:
        with language.running(folder, log, "dispatch", proxy.address) as dispatcher:
            await registered(rig, language.task)
            for name in ("kept", "cancelled"):
                payload = {"number": 1, "millis": AN_HOUR}
                await rig.client.start(language.task, payload, execution_id=name)
            started = "start", zart_server.address, "quick", '{"number": 21, "millis": 0}'
            result = json.loads(await asyncio.to_thread(language.ran, folder, *started))

            assert result == {
                "look-up": {"user": 42},
                "charge": {"receipt": "of quick:run:0/charge"},
            }

            async def are_at_work() -> bool:
                steps = [
                    await rig.client.get_step(name, "charge") for name in ("kept", "cancelled")
                ]
                return all(step.status == "RUNNING" for step in steps)

            await eventually(are_at_work)
            payload = {"number": 1, "millis": 0}
            await rig.client.start(language.task, payload, execution_id="late")
            await until(lambda: proxy.passed["ExtendLeases"])
            patience = proxy.patience["ExtendLeases"]
            assert patience is not None
            assert patience <= LEASE / 4
            await rig.client.cancel_execution("cancelled")
            lost = "cancelled:run:0/charge: the lease is lost, the server gave it up"
            await until(lambda: lost in log.read_text())
            await until(lambda: late.told)
            assert [each.released.not_begun for each in late.told] == [True]

            dispatcher.terminate()
            assert await asyncio.to_thread(dispatcher.wait, GIVE_UP) == 0, log.read_text()

    assert "no server could be reached to extend it" not in log.read_text()
    step = await rig.client.get_step("kept", "charge")
    assert (step.status, step.attempts[-1].status, step.attempts[-1].in_doubt) == (
        "DEAD", "LOST", True,
    )  # fmt: skip
    assert [each.attempts[-1].status for each in await steps_of(rig, "quick")] == ["COMPLETED"] * 3


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_each_lease_has_one_outcome_whatever_its_handler_comes_to(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    """What no repeat cures is dead at once, what may pass is repeated, and none delays the others.

    A failure that is rejected is told again without its delay: it is not dead. Whoever is between
    lets two results never through, and has their calls hang: one is recorded as soon as it is let,
    one dropped with its lease.
    """
    folder = await asyncio.to_thread(language.built)
    log = tmp_path / "log"
    payloads: dict[str, dict[str, object]] = {
        "minded": {"number": 501},
        "dropped": {"number": 502},
        "large": {"answer": "large"},
        "not-json": {"answer": "not JSON"},
        "missing": {"answer": "missing"},
        "untold": {"answer": "untold"},
        "busy": {"busy": 400 * 86_400},  # seconds: more than a server takes
        "fine": {},
    }
    minding = Minding(b'"user":1002', b'"user":1004')
    async with Between(zart_server.address, minding) as proxy:
        with language.running(folder, log, "dispatch", proxy.address):
            await registered(rig, language.task)
            handles = {
                name: await rig.client.start(
                    language.task, {"number": 1, "millis": 0, **payload}, execution_id=name
                )
                for name, payload in payloads.items()
            }
            await until(lambda: [*minding.alone.values()] == [2, 2])  # both hang
            payload = {"number": 1, "millis": 0}
            behind = await rig.client.start(language.task, payload, execution_id="behind")
            await behind.result(timeout=GIVE_UP)
            for name in ("fine", "busy", "missing", "untold"):
                await handles[name].result(timeout=GIVE_UP)
            for name in ("large", "not-json"):
                assert (await handles[name].run(timeout=GIVE_UP)).status == "FAILED"
            patience = proxy.patience["ReportTasks"]
            assert patience is not None
            assert 20 < patience <= 30
            for name in ("minded", "dropped"):
                assert (await rig.client.get_step(name, "look-up")).status == "RUNNING"
            assert [*minding.alone.values()] == [2, 2]
            minding.held.set()
            await rig.client.cancel_execution("dropped")
            await until(lambda: "the lease was lost, its outcome is dropped" in log.read_text())
            minding.results.clear()
            await handles["minded"].result(timeout=GIVE_UP)

    assert await told(rig, "large") == [("FAILED", "ResultTooLarge")]
    assert await told(rig, "not-json") == [("FAILED", "ResultNotJson")]
    assert await told(rig, "missing") == [("FAILED", "AssertionError"), ("COMPLETED", "")]
    assert await told(rig, "untold") == [("FAILED", "Untold"), ("COMPLETED", "")]
    assert await told(rig, "busy") == [("FAILED", "RetryLater"), ("COMPLETED", "")]
    assert await told(rig, "minded") == [("COMPLETED", "")]


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
async def test_a_result_that_is_rejected_is_a_failure_for_good(
    language: Language, zart_server: ServerUnderTest, rig: Rig, tmp_path: Path
) -> None:
    """No repeat makes it what the server stores. And results that are refused are asked for again.

    At last no extension is answered: a handler is stopped when its lease ends, not with a call.
    """
    folder = await asyncio.to_thread(language.built)
    log = tmp_path / "log"
    unextended = Unextended(log)
    ours = [zart.StepSpec(f"ours{n}", handler="ours") for n in range(8)]
    tell = zart.StepSpec("tell", [each.step_name for each in ours], retry=QUICK)
    deep: list[object] = []
    for _ in range(63):
        deep = [deep]
    once = Refusing(Refusal(grpc.StatusCode.UNAVAILABLE), GetStepResults=1)
    async with Between(zart_server.address, once, unextended.hold) as proxy:
        with language.running(folder, log, "dispatch", proxy.address):
            await registered(rig, language.task)
            for name, result in (("deep", deep), ("long", "x" * 600_000)):
                steps = [*ours, tell]
                handle = await rig.client.start(language.task, execution_id=name, steps=steps)
                leased = await rig.lease(task=language.task, handlers=["ours"])
                assert await rig.complete(*leased, result=result) == ["RECORDED"] * len(ours)
                assert (await handle.run(timeout=GIVE_UP)).status == "FAILED"
            unextended.begin()
            payload = {"number": 1, "millis": AN_HOUR}
            await rig.client.start(language.task, payload, execution_id="hung")
            over = "hung:run:0/charge: the lease is lost, no server could be reached to extend it"
            await until(lambda: unextended.calls_before(over) is not None)
            assert unextended.calls_before(over) in (0, 1, 2)  # the third one hangs still

    assert proxy.refused["GetStepResults"] == 1
    assert await told(rig, "deep", "tell") == [("FAILED", "OutcomeRejected")]
    assert await told(rig, "long", "tell") == [("FAILED", "ResultTooLarge")]
    (attempt,) = (await rig.client.get_step("long", "tell")).attempts
    assert attempt.error is not None
    assert "the result has 48" in attempt.error.message  # of all eight


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: str(each.name))
def test_the_page_tells_how_each_is_built(language: Language) -> None:
    _, link, rest = PAGE.partition(f"(../examples/{language.name})")
    block = rest.split("```")[1]

    assert link
    assert block.splitlines()[1:] == [
        " ".join(command) for command in (*language.fetch, *language.build)
    ]


async def steps_of(rig: Rig, execution_id: str) -> list[zart.models.Step]:
    """Return the steps of an execution."""
    return list((await rig.client.get_execution(execution_id)).steps)


async def told(rig: Rig, execution_id: str, step: str = "look-up") -> list[tuple[str, str]]:
    """Return how each attempt of a step ended, and the type of its error."""
    attempts = (await rig.client.get_step(execution_id, step)).attempts
    return [(each.status, each.error.type if each.error else "") for each in attempts]
