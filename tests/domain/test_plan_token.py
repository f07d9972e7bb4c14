"""A plan token reads as it was written, and nothing else reads as one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.errors import PlanChanged
from zart_server.domain.plans import GOOD_FOR, Planning, PlanToken, decided

HASHES = st.binary(min_size=9, max_size=9)
TIMES = st.integers(0, 2**32 - 1).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
NOW = datetime(2026, 11, 26, 8, 0, tzinfo=UTC)
REQUEST = b"restart"


@given(TIMES, HASHES, st.lists(HASHES, max_size=9).map(tuple))
def test_it_reads_as_it_was_written(
    made_at: datetime, request: bytes, decisions: tuple[bytes, ...]
) -> None:
    token = PlanToken(made_at, request, decisions)

    assert PlanToken.of_text(token.to_text()) == token
    assert token.to_text()[0] == "A"  # never a dash, which a command line would take for an option


@given(TIMES, HASHES, st.integers(0, 35), st.characters(codec="utf-8"))
def test_a_token_with_another_letter_is_none(
    made_at: datetime, request: bytes, at: int, letter: str
) -> None:
    text = PlanToken(made_at, request, (request,)).to_text()
    other = text[:at] + letter + text[at + 1 :]
    if other != text:
        with pytest.raises(ValueError):  # noqa: PT011 - it has no better words
            PlanToken.of_text(other)


@given(st.text())
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - it has no better words
        PlanToken.of_text(text)


def plan(**decisions: object) -> PlanToken:
    """Return the token of a plan that decided this."""
    text = Planning(validate_only=True, request=REQUEST).token_of(decided(**decisions), NOW)
    return PlanToken.of_text(text)


def changed(
    token: PlanToken, request: bytes = REQUEST, now: datetime = NOW, **found: object
) -> str:
    """Return what has changed since the plan, as it is told."""
    with pytest.raises(PlanChanged) as refused:
        Planning(token=token, request=request).check(decided(**found), now)
    return refused.value.metadata["changed"]


def test_what_is_as_planned_passes_for_an_hour() -> None:
    token = plan(run="x:run:0", steps=["a", "b"])
    applied = Planning(token=token, request=REQUEST)
    decisions = decided(run="x:run:0", steps=("a", "b"))

    applied.check(decisions, NOW + GOOD_FOR)
    assert applied.token_of(decisions, NOW) == ""
    later = NOW + GOOD_FOR + timedelta(seconds=1)
    assert changed(token, now=later, run="x:run:0", steps=["a", "b"]) == "time"


def test_what_has_changed_is_named() -> None:
    token = plan(run="x:run:0", steps=["a", "b"])

    assert changed(token, run="x:run:0", steps=["a"]) == "steps"
    assert changed(token, run="x:run:1", steps=["b", "a"]) == "run, steps"
    assert changed(token, b"rerun", run="x:run:0", steps=["a", "b"]) == "request"
    # A server of another version decides other things.
    assert changed(token, run="x:run:0", steps=["a", "b"], in_doubt=False) == "request"
    # Whoever makes a token up may leave decisions out: its checksum is no signature.
    forged = token._replace(decisions=token.decisions[:1])
    assert changed(forged, run="x:run:0", steps=["a", "b"]) == "request"
