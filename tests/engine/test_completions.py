"""Completed attempts are counted for each breaker that asks, however many ask for one step."""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.model import PauseScope
from zart_server.domain.rule_set import RuleSet
from zart_server.engine.dispatch.completions import Completions
from zart_server.store.breaking.counts import Counting

Asking: TypeAlias = tuple[int, PauseScope, frozenset[str]]
Attempt: TypeAlias = tuple[str, str, str, int]
EXECUTIONS, TASKS, STEPS = ("x", "y"), ("order", "ship"), ("charge-card", "charge-bank", "mail")
SCOPES = st.builds(
    PauseScope,
    st.none() | st.sampled_from(EXECUTIONS),
    st.none() | st.sampled_from(TASKS),
    st.none() | st.sampled_from(("charge-*", "mail")),
)
BREAKERS = st.lists(
    st.tuples(st.integers(0, 5), SCOPES, st.frozensets(st.sampled_from(EXECUTIONS))), max_size=5
)
ATTEMPTS = st.lists(
    st.tuples(
        st.sampled_from(EXECUTIONS),
        st.sampled_from(TASKS),
        st.sampled_from(STEPS),
        st.integers(0, 10),
    ),
    max_size=20,
)


@given(st.lists(st.tuples(BREAKERS, ATTEMPTS), max_size=3))
def test_each_breaker_counts_what_it_matches(
    rounds: list[tuple[list[Asking], list[Attempt]]],
) -> None:
    """Also of those that asked before, and of attempts that were leased before a breaker counts."""
    completions, expected = Completions(), Counter[tuple[int, int]]()
    for generation, (breakers, attempts) in enumerate(rounds):
        asking = [
            Counting(key, generation, since, scope, None, exempt)
            for key, (since, scope, exempt) in enumerate(breakers)
        ]
        completions.ask(asking)
        for execution_id, task_name, step_name, token in attempts:
            completions.count(execution_id, task_name, step_name, token)
            for breaker in asking:
                rules = RuleSet()
                rules.put(breaker.breaker_key, breaker.scope, breaker.exempt)
                matches = rules.oldest(execution_id, task_name, step_name) is not None
                if matches and token > breaker.token_from:
                    expected[breaker.breaker_key, generation] += 1
    assert completions.take() == expected
    assert not completions.take()
