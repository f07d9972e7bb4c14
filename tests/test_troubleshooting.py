"""docs/troubleshooting.md has each cause and each reason, and tells of them what the server does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from zart.v1 import error_reason_pb2, explain_pb2
from zart_server.api.errors import CODES
from zart_server.domain.causes import Cause, CauseKind
from zart_server.domain.errors import ZartError
from zart_server.domain.known_step import KnownRun, KnownStep
from zart_server.domain.model import RunStatus, StepStatus
from zart_server.domain.next_step import next_of
from zart_server.domain.waiting import waiting_for_rule, waiting_for_steps, waiting_in_queue

PAGE = (Path(__file__).parents[1] / "docs/troubleshooting.md").read_text()
CAUSES, _, REFUSALS = PAGE.partition("## What a refusal means")
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", CAUSES, re.MULTILINE | re.DOTALL))
ROWS = re.findall(r"^\| `([A-Z_]+)` \|(.*)\|(.*)\|(.*)\|$", REFUSALS, re.MULTILINE)
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def named(enum: type, prefix: str) -> list[str]:
    """Return the values of an enum of the protos, as documents write them."""
    numbers = enum.DESCRIPTOR.values_by_name  # type: ignore[attr-defined]
    return sorted(name.removeprefix(prefix) for name, value in numbers.items() if value.number)


def test_each_cause_has_a_section() -> None:
    assert sorted(SECTIONS) == named(explain_pb2.CauseKind, "CAUSE_KIND_")


@pytest.mark.parametrize("kind", CauseKind, ids=lambda kind: str(kind.name))
def test_a_section_says_what_it_means_and_what_the_server_says_is_to_be_done(
    kind: CauseKind,
) -> None:
    run = KnownRun("order-7", "order", 0, 0, RunStatus.RUNNING, None, "", NOW, NOW)
    step = KnownStep("charge-card", StepStatus.PENDING, "charge", 1, 3, dead=("a",), first="a")
    command = next_of(run, step, [Cause(kind, "")]).command
    meaning, todo, *_ = SECTIONS[kind.name].strip().split("\n\n")

    assert meaning.endswith(".")
    assert todo.endswith(".")
    assert " ".join(command[:2]) in SECTIONS[kind.name]


def test_each_reason_has_a_row() -> None:
    assert sorted(row[0] for row in ROWS) == named(error_reason_pb2.ErrorReason, "ERROR_REASON_")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
def test_a_row_has_the_code_and_says_what_it_means_and_what_to_do(
    row: tuple[str, str, str, str],
) -> None:
    reason, code, meaning, todo = (cell.strip() for cell in row)
    codes = {kind.reason: code.name for kind, code in CODES.items()}
    codes[ZartError.reason] = "INTERNAL"  # a defect: no class of its own

    assert code == codes[reason]
    assert meaning
    assert todo


@pytest.mark.parametrize(
    ("waiting_on", "kind"),
    [
        (waiting_for_steps(["a"]), "DEPENDENCIES"),
        (waiting_for_steps("abcdefgh"), "DEPENDENCIES"),
        (waiting_for_rule("pr-7k2m9x4q", "who", "why"), "PAUSE_RULE"),
        (waiting_in_queue("t", NOW.replace(year=2027), NOW, NOW), "BACKOFF"),
        (waiting_in_queue("t", NOW, NOW, None), "NO_DISPATCHER"),
        (waiting_in_queue("t", NOW, NOW, NOW.replace(year=2025)), "NO_DISPATCHER"),
        (waiting_in_queue("t", NOW, NOW, NOW), "QUEUED_BEHIND"),
    ],
)
def test_the_words_of_waiting_on_lead_to_their_cause(waiting_on: str, kind: str) -> None:
    """`…` stands for what the words are about."""
    table = re.findall(r"^\| (`.*`) \| ([A-Z_]+)", CAUSES, re.MULTILINE)
    found = [
        cause
        for cell, cause in table
        for words in re.findall(r"`(.+?)`", cell)
        if re.fullmatch(".+".join(map(re.escape, words.split("…"))), waiting_on)
    ]

    assert found == [kind]
