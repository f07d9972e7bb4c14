"""Backoff grows to its bound, with jitter in the upper half."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.backoff import retry_delay
from zart_server.domain.model import RetryPolicy

SECONDS = st.floats(0, 1e6)


@given(
    initial=SECONDS,
    most=SECONDS,
    multiplier=st.floats(1, 1e6),
    failures=st.integers(1, 10_000),
    fraction=st.floats(0, 1, exclude_max=True),
)
def test_it_is_bounded(
    initial: float, most: float, multiplier: float, failures: int, fraction: float
) -> None:
    policy = RetryPolicy(3, timedelta(seconds=initial), multiplier, timedelta(seconds=most))
    wait = retry_delay(policy, failures, fraction).total_seconds()
    assert 0 <= wait <= most + 1e-6
    whole = retry_delay(policy, failures, 1.0).total_seconds()
    assert whole / 2 - 1e-6 <= wait <= whole + 1e-6


def test_it_doubles_by_default() -> None:
    policy = RetryPolicy()
    waits = [retry_delay(policy, n, 1.0).total_seconds() for n in (1, 2, 3, 6, 7, 50)]
    assert [round(w, 6) for w in waits] == [1, 2, 4, 32, 60, 60]


def test_no_initial_backoff_means_none_at_all() -> None:
    assert retry_delay(RetryPolicy(3, timedelta(0)), 5, 1.0) == timedelta(0)
