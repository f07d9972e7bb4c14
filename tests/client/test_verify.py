"""What `zart verify` says of a receipt, and what it ends with."""

from __future__ import annotations

import json

from client.scripted import Run
from google.protobuf.timestamp_pb2 import Timestamp

from zart.v1 import admin_service_pb2 as admin
from zart.v1 import pause_rule_pb2 as rules


def test_a_receipt_says_whether_it_is_clean_and_ends_with_0_only_then(run: Run) -> None:
    at = Timestamp(seconds=1_700_000_000)
    leased = rules.RuleAttempt(execution_id="x", step_name="charge", attempt=2, started_at=at)
    receipt = admin.VerifyPauseRuleResponse(
        clean=True, is_complete=True, window_started_at=at, checked_attempts=12,
        in_flight_at_start=3, exempt_attempts=4, released_attempts=5, last_before=leased,
    )  # fmt: skip
    code, out, _, (request,) = run("verify pr-abcd1234", ("VerifyPauseRule", receipt))
    assert (code, request.rule_id) == (0, "pr-abcd1234")
    assert "stands, judged until now" in out
    assert "clean: nothing was leased that it withheld" in out
    assert [line.split()[:2] for line in out.splitlines()[2:6]] == [
        ["checked", "12"], ["in", "flight"], ["exempt", "4"], ["released", "5"],
    ]  # fmt: skip
    assert out.splitlines()[-1].split()[:4] == ["before", "x:run:0", "charge", "#2"]

    receipt.window_ended_at.CopyFrom(at)
    receipt.clean = receipt.is_complete = False
    code, out, _, _ = run("verify pr-abcd1234", ("VerifyPauseRule", receipt))
    assert code == 1
    unknown = "not complete: runs of that time were purged; what is left violates nothing"
    assert unknown in out  # as of a server that does not say why

    receipt.gaps.extend([admin.RECEIPT_GAP_OLDER_SERVER, admin.RECEIPT_GAP_MAY_LACK_COMMITS])
    receipt.checked_attempts = 0
    code, out, _, _ = run("verify pr-abcd1234", ("VerifyPauseRule", receipt))
    assert code == 1
    assert (
        "not complete: a server older than receipts added or ended the rule; the database was"
        " restored, or failed over to another PostgreSQL, while the rule stood: what was leased"
        " shortly before may be lost\n"
    ) in out

    receipt.violations.append(leased)
    code, out, _, _ = run("verify pr-abcd1234", ("VerifyPauseRule", receipt))
    assert code == 1
    assert "VIOLATED: 1 attempt was leased all the same" in out
    assert out.splitlines()[-1].split()[0] == "meanwhile"
    code, out, _, _ = run("verify pr-abcd1234 -o json", ("VerifyPauseRule", receipt))
    assert code == 1
    assert json.loads(out)["violations"][0]["stepName"] == "charge"
