"""The set of active rules gives what the specification says of each of them."""

from __future__ import annotations

from computing import cpu_seconds
from hypothesis import given
from hypothesis import strategies as st
from specification import rule_matches

from zart_server.domain.model import PauseScope
from zart_server.domain.rule_set import RuleSet

IDS = st.sampled_from(["x", "y", "order_1"])
TASKS = st.sampled_from(["t", "t*", "u"])
STEPS = st.sampled_from(["send-mail", "send-sms", "send", "charge", "a,b", "s", ""])
PATTERNS = st.sampled_from(
    ["send-*", "send*", "send", "send?mail", "{charge,send-sms}", "[a-c]*", "*", "*-mail", "\\*",
     "*mail", "*l", "*s", "s*s", "s?*s", "*nd-*", "*nd-*s", "s*-*l", "*{a,m}*l", "*{x,m}*l", "*{x,nd}-*", "*[a-m]"]
)  # fmt: skip
SCOPES = st.builds(
    PauseScope, st.none() | IDS, st.none() | TASKS, st.none() | PATTERNS, st.just(False)
)  # fmt: skip
# A rule is put, with the executions it exempts; or the one put so many rules ago is to exempt others,
# or is dropped, if None. In between the set is asked.
EXEMPT = st.frozensets(IDS)
CHANGES = st.lists(st.tuples(SCOPES | st.integers(0, 5), EXEMPT) | st.integers(0, 5), max_size=30)
# A step, and how many rules ago those were put that have let it go.
ASKED = st.tuples(IDS, TASKS, STEPS, st.frozensets(st.integers(0, 5), max_size=2))


@given(CHANGES, st.lists(ASKED, min_size=1, max_size=5))
def test_it_gives_the_rules_that_match(
    changes: list[tuple[PauseScope | int, frozenset[str]] | int],
    asked: list[tuple[str, str, str, frozenset[int]]],
) -> None:
    rules = RuleSet()
    active: dict[int, tuple[PauseScope, frozenset[str]]] = {}
    for key, change in enumerate(changes, 1):
        match change:
            case PauseScope() as scope, exempt:
                active[key] = scope, exempt
                rules.put(key, scope, exempt)
            case int() as ago, exempt:
                if key - ago in active:
                    active[key - ago] = active[key - ago][0], exempt
                    rules.put(key - ago, active[key - ago][0], exempt)
            case int() as ago:
                active.pop(key - ago, None)
                rules.drop(key - ago)
        for execution_id, task_name, step_name, released in asked:
            step, let_go = (execution_id, task_name, step_name), {key - n for n in released}
            expected = [
                key
                for key, (scope, exempt) in active.items()
                if rule_matches(scope, *step, exempt=exempt) and key not in let_go
            ]
            assert sorted(rules.matching(*step, let_go)) == expected
            assert rules.oldest(*step, let_go) == min(expected, default=None)
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


def test_patterns_that_begin_with_a_star_are_few_too() -> None:
    rules = RuleSet()
    for key in range(10_000):
        rules.put(key, PauseScope(None, None, f"*-{key}", everything=False))
        rules.put(10_000 + key, PauseScope(None, None, f"a*-{key}-*b", everything=False))
        rules.put(20_000 + key, PauseScope(None, None, f"*-{key}-*", everything=False))
        for number, form in enumerate(("*-#-*-shared-*", "*{a-#-,b-#-}?*", "*{a,b}-#*shared"), 3):
            pattern = form.replace("#", f"{key}")
            rules.put(number * 10_000 + key, PauseScope(None, None, pattern, everything=False))

    with cpu_seconds(0.6):  # a tenth of it; more for any form that is not looked up
        for key in range(400):
            names = f"a-{key}-b", f"x-{key}-y", f"x-{key}"
            found = [sorted(rules.matching("x", "t", name)) for name in names]
            assert found == [[10_000 + key, 20_000 + key, 40_000 + key], [20_000 + key], [key]]
            name = f"q-{key}-a-{key}-shared-s"
            assert sorted(rules.matching("x", "t", name)) == [
                20_000 + key,
                30_000 + key,
                40_000 + key,
            ]
            begun = {int(f"{key}"[:length]) for length in (1, 2, 3)}  # what the number begins with
            assert set(rules.matching("x", "t", f"q-a-{key}-shared")) == {
                20_000 + key,
                40_000 + key,
                *(50_000 + number for number in begun),
            }
