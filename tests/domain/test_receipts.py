"""What pieces of a receipt come to does not depend on the order in which they are read."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.receipts import (
    MAX_VIOLATIONS,
    Receipt,
    ReceiptGap,
    ReceiptPiece,
    RuleAttempt,
    SeenLease,
    Window,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
WINDOW = Window(1, None, "t", None, AT, None, 10, 20)


def attempt(token: int) -> RuleAttempt:
    """Return an attempt with this token."""
    return RuleAttempt(token, "x", 0, "a", 1, "d", AT, None)


def piece(
    violations: list[int], before: int | None = None, after: int | None = None
) -> ReceiptPiece:
    """Return a piece with these tokens."""
    seen = [None if t is None else SeenLease(t, (1, 0)) for t in (before, after)]
    return ReceiptPiece((1, 0), False, 5, 1, 2, 1, tuple(map(attempt, violations)), *seen)


def receipt_of(pieces: list[ReceiptPiece]) -> Receipt:
    """Return the receipt of these pieces."""
    receipt = Receipt(WINDOW)
    for each in pieces:
        receipt.add(each)
    return receipt


TOKENS = st.none() | st.integers(1, 100)
PIECES = st.lists(st.builds(piece, st.lists(st.integers(11, 20)), TOKENS, TOKENS))


@given(PIECES, st.randoms())
def test_pieces_add_up_in_any_order(pieces: list[ReceiptPiece], chance: random.Random) -> None:
    receipt = receipt_of(pieces)
    shuffled = list(pieces)
    chance.shuffle(shuffled)
    again = receipt_of(shuffled)
    tokens = [each.lease_token for each in receipt.violations]
    assert tokens == sorted(v.lease_token for p in pieces for v in p.violations)[:MAX_VIOLATIONS]
    assert tokens == [each.lease_token for each in again.violations]
    assert (receipt.checked, receipt.exempt) == (5 * len(pieces), 2 * len(pieces))
    assert (receipt.seen_before, receipt.seen_after) == (again.seen_before, again.seen_after)
    assert receipt.is_clean == (not tokens)


def test_the_first_thousand_violations_are_listed() -> None:
    late, early = list(range(2000, 2600)), list(range(1000, 1600))
    receipt = receipt_of([piece(late), piece(early)])
    listed = [each.lease_token for each in receipt.violations]
    assert (listed, receipt.violations_is_lower_bound) == ([*early, *late[:400]], True)
    assert not receipt_of([piece(late[:MAX_VIOLATIONS])]).violations_is_lower_bound


def test_the_nearest_leases_are_kept() -> None:
    receipt = receipt_of([piece([], 3, 25), piece([], 9, 31), piece([], None, None)])
    assert receipt.seen_before is not None
    assert receipt.seen_after is not None
    assert (receipt.seen_before.lease_token, receipt.seen_after.lease_token) == (9, 25)


def test_an_incomplete_receipt_is_not_clean() -> None:
    receipt = receipt_of([])
    assert receipt.is_clean
    receipt.gaps = (ReceiptGap.RUNS_PURGED,)
    assert not receipt.is_clean
