"""A refusal names options that there are, and times with nothing between them are refused."""

from __future__ import annotations

import pytest
from client.scripted import Run, refusal
from google.rpc import code_pb2, error_details_pb2
from rig import CHAIN, Rig
from terminal import zart_command

from zart.cli.flags import in_flags, words_in_flags
from zart.testing.server import ServerUnderTest

SHOWN = {"rule_id": "RULE_ID", "force": "--rerun", "accept_in_doubt": "--accept-in-doubt"}


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("name steps in force_rerun", "name steps in --rerun"),
        ("to run it again, set accept_in_doubt", "to run it again, set --accept-in-doubt"),
        ("give its rule_id", "give its RULE_ID"),
        ("set rate_per_second", "set rate_per_second"),  # which the command has not
        ("step 'force_rerun' of \"accept_in_doubt\"", "step 'force_rerun' of \"accept_in_doubt\""),
        ("a rule's step 'force_rerun'", "a rule's step 'force_rerun'"),
        ("of force_rerun:run:0 and of-rule_id", "of force_rerun:run:0 and of-rule_id"),
        ("force_rerun: it is empty", "--rerun: it is empty"),
    ],
)
def test_words_of_fields_are_options_and_names_of_callers_are_not(message: str, told: str) -> None:
    assert words_in_flags(message, SHOWN) == told


def test_an_option_that_fills_two_fields_is_named_once() -> None:
    shown = {"lasting": "--for", "then": "--then-rate"}
    what = "there is no expiry: set expires_at or expires_in"
    told = in_flags("release_on_expiry", what, shown)
    assert told == "--then-rate: there is no expiry: set --for"
    both = {**shown, "until": "--until"}
    assert in_flags("release_on_expiry", what, both).endswith("set --until or --for")
    assert in_flags("preserve", "a or a", {}) == "preserve: a or a"


def test_of_scripts_a_refusal_keeps_the_words_of_the_contract(run: Run) -> None:
    status = refusal(code_pb2.FAILED_PRECONDITION, "NOTHING_TO_RERUN", "name steps in force_rerun")
    assert "name steps in --rerun" in run("rerun x", ("Rerun", status))[2]
    assert "name steps in force_rerun" in run("rerun x -o json", ("Rerun", status))[2]


def test_a_pause_without_an_end_has_nothing_to_do_then(run: Run) -> None:
    what = "there is no expiry: set expires_at or expires_in"
    violation = error_details_pb2.BadRequest.FieldViolation(
        field="release_on_expiry", description=what
    )
    status = refusal(code_pb2.INVALID_ARGUMENT, "INVALID_FIELD", f"release_on_expiry: {what}")
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    _, _, err, _ = run("pause --task-name t --then-rate 1/s", ("Pause", status))
    assert err == "zart: --then-rate: there is no expiry: set --for [INVALID_FIELD]\n"


async def test_a_server_is_told_of_in_the_words_of_the_command(
    rig: Rig, zart_server: ServerUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*words: str) -> str:
        printed = zart_command(monkeypatch, ["--address", zart_server.address, *words])
        assert printed.code == 1, printed
        return printed.err

    await rig.start("x", CHAIN)
    while await rig.run_status("x") != "COMPLETED":
        await rig.work()
    assert "is completed: name steps in --rerun [" in told("rerun", "x")
    for _ in range(2):
        await rig.client.pause(task_name="t")
    assert "; give its --rule-id [" in told("resume", "--task-name", "t", "--rate", "1/s")


RANGES = [
    ("list --created-after 1h --created-before 2h", "--created-after", "--created-before"),
    ("list --created-after 2h --created-before 2h", "--created-after", "--created-before"),
    ("list --dead-after 2026-01-31 --dead-before 2026-01-30", "--dead-after", "--dead-before"),
    ("errors --dead-after 1h --dead-before 1d", "--dead-after", "--dead-before"),
    ("batch restart --dead-after 1h --dead-before 2h --yes", "--dead-after", "--dead-before"),
    ("audit --since 1h --until 2h", "--since", "--until"),
    ("audit --since 2026-01-31 --until 2026-01-31T00:00Z", "--since", "--until"),
    ("in-doubt --since 1h --dead-before 2h", "--since", "--dead-before"),
]


@pytest.mark.parametrize(("line", "after", "before"), RANGES)
def test_times_with_nothing_between_them_are_refused(
    run: Run, line: str, after: str, before: str
) -> None:
    """An empty table would look as if nothing had happened."""
    code, out, err, requests = run(line)
    assert (code, out, requests) == (2, "", [])
    said = " ".join(err.split())
    assert f"Invalid value for {after}: 20" in said
    assert f" is not before {before}, 20" in said
    assert said.endswith(": nothing is in between")
