"""Looks at the past: however dear they were for a while, they come to what is new again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zart_server.engine.background.looking_back import LookingBack

MARK = datetime(2026, 11, 26, tzinfo=UTC)


def looked(back: LookingBack, seconds: float) -> bool:
    """Look at one piece; return whether it was the last one, which reaches to the beginning."""
    piece = back.piece(MARK)
    assert piece is not None
    back.looked(piece, seconds)
    return piece[0] is None


def test_it_comes_to_the_end_again_after_any_number_of_slow_looks() -> None:
    back = LookingBack(share=0)
    for _ in range(200):
        looked(back, 0.5)

    assert any(looked(back, 0.001) for _ in range(100))


def test_it_begins_anew_at_the_mark_though_it_is_always_slow() -> None:
    back = LookingBack(share=0)
    first = back.piece(MARK)
    assert first is not None
    begun_at_the_mark = 0
    for _ in range(5_000):
        piece = back.piece(MARK)
        assert piece is not None
        begun_at_the_mark += piece[1] == MARK
        back.looked(piece, 0.5)

    assert begun_at_the_mark >= 5


def test_the_last_seconds_are_gone_through_again_and_again_in_few_pieces() -> None:
    back = LookingBack(share=0, reach=timedelta(seconds=35))
    for seconds, pieces in ((0.01, 35), (0.001, 7), (0.5, 1000)):
        before = MARK
        for number in range(pieces):  # noqa: B007 - its last value is asked for
            piece = back.piece(MARK)
            assert piece is not None
            assert piece[0] is not None
            assert piece[1] == before
            before = piece[0]
            back.looked(piece, seconds)
            if before <= MARK - timedelta(seconds=35):
                break
        assert before <= MARK - timedelta(seconds=35)
        assert number < pieces
