"""The set of active rules gives what the specification says of each of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.model import PauseScope
from zart_server.domain.pausing import rule_matches
from zart_server.domain.rule_set import RuleSet

IDS = st.sampled_from(["x", "y", "order_1"])
TASKS = st.sampled_from(["t", "t*", "u"])
STEPS = st.sampled_from(["send-mail", "send-sms", "send", "charge", "a,b", ""])
PATTERNS = st.sampled_from(
    ["send-*", "send*", "send", "send?mail", "{charge,send-sms}", "[a-c]*", "*", "*-mail", "\\*"]
)
SCOPES = st.builds(
    PauseScope, st.none() | IDS, st.none() | TASKS, st.none() | PATTERNS, st.just(False)
)  # fmt: skip
# A rule is put, or the one put so many rules ago is dropped; in between the set is asked.
CHANGES = st.lists(SCOPES | st.integers(0, 5), max_size=30)


@given(CHANGES, st.lists(st.tuples(IDS, TASKS, STEPS), min_size=1, max_size=5))
def test_it_gives_the_rules_that_match(
    changes: list[PauseScope | int], steps: list[tuple[str, str, str]]
) -> None:
    rules = RuleSet()
    active: dict[int, PauseScope] = {}
    for key, change in enumerate(changes, 1):
        if isinstance(change, PauseScope):
            active[key] = change
            rules.put(key, change)
        else:
            active.pop(key - change, None)
            rules.drop(key - change)
        for step in steps:
            expected = [key for key, scope in active.items() if rule_matches(scope, *step)]
            assert sorted(rules.matching(*step)) == expected
            assert rules.oldest(*step) == min(expected, default=None)
    assert len(rules) == len(active)


def test_a_step_is_judged_by_few_of_ten_thousand_rules() -> None:
    rules = RuleSet()
    for key in range(10_000):
        rules.put(key, PauseScope(f"x-{key}", None, f"step-{key}*", everything=False))
        rules.put(10_000 + key, PauseScope(None, f"t-{key}", None, everything=False))
        rules.put(20_000 + key, PauseScope(None, None, f"step-{key}*", everything=False))

    assert rules.oldest("x-77", "t-88", "step-77") == 77
    assert rules.oldest("x-1", "t-88", "step-77") == 10_088
    assert sorted(rules.matching("y", "u", "step-777")) == [20_007, 20_077, 20_777]
    assert rules.oldest("y", "u", "other") is None
