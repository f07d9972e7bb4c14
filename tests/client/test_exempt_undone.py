"""``zart exempt --undo`` tells of what is not exempt, also where it may be a repeat."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable

import pytest
from client.scripted import Run, refusal
from google.rpc import code_pb2, error_details_pb2
from rig import CHAIN, Rig

from zart.cli.main import main
from zart.testing.server import ServerUnderTest
from zart.v1 import admin_service_pb2 as admin
from zart.v1 import audit_service_pb2 as audit
from zart.v1 import pause_rule_pb2 as rules

BEFORE = "it was done before, by this request id"
DONE = "exempts x no longer"
Undo = Callable[[str], Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def rule_id(rig: Rig) -> str:
    """A rule that exempts x, and not y."""
    made = (await rig.client.pause(task_name="t", must_match=False)).rule_id
    for name in ("x", "y"):
        await rig.start(name, CHAIN)
    await rig.client.update_pause_rule(made, exempt=["x"])
    return made


@pytest.fixture
def undo(zart_server: ServerUnderTest, capsys: pytest.CaptureFixture[str], rule_id: str) -> Undo:
    """Run it for the rule; gives exit code, output and errors."""

    async def runs(more: str) -> tuple[int, str, str]:
        line = f"--address {zart_server.address} exempt {rule_id} --undo {more}"
        code = await asyncio.to_thread(main, shlex.split(line))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return runs


async def changes(rig: Rig) -> int:
    """Return how often a rule was changed."""
    kinds = [o.kind async for o in rig.client.list_operations(kinds=["UPDATE_PAUSE_RULE"])]
    return len(kinds)


@pytest.mark.parametrize("more", ["--request-id r", "--request-id r --dry-run", ""])
async def test_what_is_not_exempt_is_told_whatever_the_request_id(
    rig: Rig, undo: Undo, rule_id: str, more: str
) -> None:
    code, out, err = await undo(f"x y {more}")
    assert (code, out) == (1, "")
    assert err == f"zart: {rule_id} does not exempt y: nothing was done\n"
    assert await changes(rig) == 1
    assert (await rig.client.get_pause_rule(rule_id)).exempt_execution_ids == ("x",)


async def test_a_repeat_is_answered_as_the_first_time(rig: Rig, undo: Undo, rule_id: str) -> None:
    first = await undo("x --request-id r")
    assert (first[0], DONE in first[1], first[2]) == (0, True, "")
    code, out, err = await undo("x --request-id r")
    assert (code, out, BEFORE in err) == (0, first[1], True)
    # Nor is that another rule's, or another change.
    assert (await undo("x --request-id another"))[0] == 1
    assert (await undo("x --request-id r --dry-run"))[0] == 1
    code, _, err = await undo("y --request-id r")
    assert (code, "REQUEST_ID_REUSED" in err) == (1, True)

    await rig.client.update_pause_rule(rule_id, exempt=["x"])
    code, out, err = await undo("x --request-id r")
    assert (code, out, BEFORE in err) == (0, first[1], True)
    assert (await rig.client.get_pause_rule(rule_id)).exempt_execution_ids == ("x",)
    assert await changes(rig) == 3


def test_a_repeat_is_answered_also_where_its_rule_is_gone(run: Run) -> None:
    gone = refusal(code_pb2.NOT_FOUND, "PAUSE_RULE_NOT_FOUND", "no pause rule 'pr-1'")
    lookup = [("GetPauseRule", gone)]
    mine = audit.ListOperationsResponse(operations=[audit.Operation(request_id="r")])
    then = admin.UpdatePauseRuleResponse(rule=rules.PauseRule(rule_id="pr-1"), replayed=True)
    line = "exempt pr-1 x --undo --request-id r"
    code, out, err, _ = run(line, *lookup, ("ListOperations", mine), ("UpdatePauseRule", then))
    assert (code, DONE in out, BEFORE in err) == (0, True, True)
    nobodys = ("ListOperations", audit.ListOperationsResponse())
    code, out, err, _ = run(line, *lookup, nobodys)
    assert (code, out, err) == (1, "", "zart: no pause rule 'pr-1' [PAUSE_RULE_NOT_FOUND]\n")


def test_what_is_refused_of_an_id_is_told_of_it(run: Run) -> None:
    rule = rules.PauseRule(rule_id="pr-1", exempt_execution_ids=["x", "y"])
    what = "is in add_exempt_execution_ids as well"
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="remove_exempt_execution_ids[1]", description=what
    )
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", what)
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    known = ("GetPauseRule", admin.GetPauseRuleResponse(rule=rule))
    code, _, err, _ = run("exempt pr-1 x y --undo", known, ("UpdatePauseRule", status))
    told = "EXECUTION_ID... (number 2): is in EXECUTION_ID... as well"
    assert (code, err) == (1, f"zart: {told} [INVALID_FIELD]\n")


@pytest.mark.parametrize("which", ["x", "y", "--undo x", "--undo y"])
async def test_of_a_rule_that_somebody_has_ended_the_server_says_so(
    rig: Rig,
    zart_server: ServerUnderTest,
    rule_id: str,
    capsys: pytest.CaptureFixture[str],
    which: str,
) -> None:
    """Not that it exempts nothing, or pauses something else; and how to look who has ended it."""
    await rig.start("other", CHAIN, task="other")
    await rig.client.resume(rule_id=rule_id, triggered_by="bea")
    for words in (which, which.replace("y", "other")):
        line = f"--address {zart_server.address} exempt {rule_id} {words}"
        assert await asyncio.to_thread(main, shlex.split(line)) == 1
        told = capsys.readouterr().err
        assert f"pause rule '{rule_id}' is RESUMED, not ACTIVE [RULE_NOT_ACTIVE]" in told
        assert told.endswith(f"rules {rule_id}\n")
