"""What was decided stands in the record for people: both tables tell it, in the same words."""

from __future__ import annotations

import grpc
import pytest
from client.answering import answering
from client.scripted import Run
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from terminal import zart_command

from zart.v1 import audit_service_pb2 as audit
from zart.v1 import execution_pb2 as states

MADE = audit.OperationMade
SKIPPED = states.STEP_RESOLUTION_SKIPPED_BY_OPERATOR
DECISIONS = [
    (audit.OPERATION_KIND_RESOLVE_IN_DOUBT, MADE(finding="happened"), "happened"),
    (audit.OPERATION_KIND_RESOLVE_IN_DOUBT, MADE(finding="did_not_happen"), "did not happen"),
    (audit.OPERATION_KIND_UPDATE_PAUSE_RULE, MADE(is_exempt=True), "exempt"),
    (audit.OPERATION_KIND_UPDATE_PAUSE_RULE, MADE(is_exempt=False), "exempt no longer"),
    (
        audit.OPERATION_KIND_UPDATE_PAUSE_RULE,
        MADE(expires_at=Timestamp(seconds=86_400)),
        "until 1970-01-02 00:00:00Z",
    ),
    (
        audit.OPERATION_KIND_COMPLETE_STEP,
        MADE(resolution=states.STEP_RESOLUTION_COMPLETED_BY_OPERATOR),
        "by hand",
    ),
    (audit.OPERATION_KIND_COMPLETE_STEP, MADE(resolution=SKIPPED), "skipped"),
    (audit.OPERATION_KIND_RESTART, MADE(corrected_input_steps=["a", "b"]), "input of a, b"),
    (
        audit.OPERATION_KIND_RERUN,
        MADE(effective_rerun=["a", "b"], preserved=["c"], corrected_input_steps=["a"]),
        "reruns a, b · input of a",
    ),
    (audit.OPERATION_KIND_RERUN, MADE(effective_rerun="abcdefg"), "reruns a, b, c, d, e and 2 more"),
]  # fmt: skip


def answer_of(kind: audit.OperationKind.ValueType, made: MADE) -> audit.ListOperationsResponse:
    """Answer with one operation."""
    one = audit.Operation(kind=kind, made=made, status=audit.OPERATION_STATUS_DONE, reason="why")
    return audit.ListOperationsResponse(operations=[one])


@pytest.mark.parametrize(("kind", "made", "words"), DECISIONS)
def test_history_and_audit_tell_what_was_decided(
    run: Run, kind: audit.OperationKind.ValueType, made: MADE, words: str
) -> None:
    answer = answer_of(kind, made)
    holds = ("ListRuleHolds", audit.ListRuleHoldsResponse())
    _, history, _, _ = run("history x", ("ListOperations", answer), holds)
    titles, row = history.splitlines()
    assert titles.split() == ["WHAT", "DECIDED", "REASON"]
    assert row[titles.index("DECIDED") :].split("  ")[0] == words
    _, audited, _, _ = run("audit", ("ListOperations", answer))
    titles, row = audited.splitlines()
    assert row[titles.index("WHY") :] == f"{words} · why"


def test_what_decides_nothing_has_no_words(run: Run) -> None:
    answer = answer_of(audit.OPERATION_KIND_RETRY_STEP, MADE(task_id="t", max_attempts=3))
    _, audited, _, _ = run("audit", ("ListOperations", answer))
    assert audited.splitlines()[1].split() == ["RETRY_STEP", "why"]


def test_a_terminal_has_room_for_what_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    made = MADE(effective_rerun=[f"charge-the-card-of-user-{n}" for n in range(9)])
    one = answer_of(audit.OPERATION_KIND_RESOLVE_IN_DOUBT, made)
    one.operations[0].created_at.FromSeconds(1_700_000_000)
    one.operations[0].step_name = "charge-card"
    one.operations[0].triggered_by = "somebody@some-machine.example"
    answers: dict[str, Message] = {
        "ListOperations": one,
        "ListRuleHolds": audit.ListRuleHoldsResponse(),
    }

    def answer(method: MethodDescriptor, _context: grpc.ServicerContext) -> Message:
        return answers[method.name]

    with answering(answer) as address:
        shown = zart_command(monkeypatch, ["--address", address, "history", "x"], columns=80).out
    assert max(map(len, shown.splitlines())) <= 80
    assert "DECIDED" in shown.splitlines()[0]
    assert "charge-the-card-of-user-0," in shown
