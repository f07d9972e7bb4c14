"""A distribution counts as a histogram does, however its values come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.distribution import Distribution

BOUNDS = (1, 2, 5)


@given(st.lists(st.lists(st.floats(0, 10), max_size=20), max_size=20), st.booleans())
def test_each_value_is_counted_up_to_each_bound_that_it_does_not_exceed(
    batches: list[list[float]],
    is_read_between: bool,  # noqa: FBT001 - drawn
) -> None:
    found = Distribution(BOUNDS)
    for batch in batches:
        found.add(batch)
        if is_read_between:
            found.read()

    values = [value for batch in batches for value in batch]
    counts, total = found.read()
    assert counts == [sum(value <= bound for value in values) for bound in (*BOUNDS, 10)]
    assert abs(total - sum(values)) < 1e-6


def test_many_values_do_not_gather() -> None:
    found = Distribution(BOUNDS)
    for _ in range(20):
        found.add([1.0] * 1000)
        assert len(found._values) < 5000
    assert found.read() == ([20_000] * 4, 20_000.0)
