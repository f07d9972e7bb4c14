"""A task, a rule or a batch whose label is now its own and now `other` is told of all the same."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from metrics.alert_case import Case
from metrics.alert_cases import CASES
from metrics.prometheus import RULES, alerts_of, needs_prometheus, play
from metrics.series_values import Values, minutes_of, written

OTHER = "other"
OF_ONE = {"task", "rule", "batch"}
TURNS = (1, 2, 4, 7, 12, 20)  # minutes for which the label is the one, and then the other
TOLD = [
    rule for rule in alerts_of(RULES.read_text()) if CASES[rule["alert"]].labels.keys() & OF_ONE
]


def in_turns(values: Values, turn: int, *, is_counter: bool) -> tuple[Values, Values]:
    """Return what is told under the label of one's own, and under the one that all others share.

    A counter begins at 0 under one's own, and goes on from where it was under the shared one.
    """
    own: Values = []
    others: Values = []
    counted = {True: 0.0, False: 0.0}
    for minute, (before, value) in enumerate(pairwise([None, *values])):
        is_own = minute // turn % 2 == 0
        if is_counter and value is not None:
            if is_own and minute % turn == 0:
                counted[True] = 0.0
            counted[is_own] += value - (value if before is None else before)
            own.append(counted[True] if is_own else None)
            others.append(counted[False])
        else:
            own.append(value if is_own else None)
            others.append(None if is_own else value)
    return own, others


def played(rule: dict[str, Any], case: Case, turn: int) -> dict[str, Any]:
    """Return a test in which the alert is told from some minute on, and never is silent again."""
    (label,) = case.labels.keys() & OF_ONE
    name = f'{label}="{case.labels[label]}"'
    minutes = 2 * case.fires_at + 5 * turn + 60
    series = {}
    for each, text in case.series.items():
        is_counter = each.partition("{")[0].endswith(("_total", "_count"))
        own, others = in_turns(minutes_of(text, minutes + 1), turn, is_counter=is_counter)
        series[each] = written(own)
        series[each.replace(name, f'{label}="{OTHER}"')] = written(others)
    assert len(series) == 2 * len(case.series)
    firing = f'count(ALERTS{{alertname="{rule["alert"]}",alertstate="firing"}})'
    return {
        "name": f"in turns of {turn}",
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count_over_time({firing}[{2 * turn + 20}m:1m]) > bool {2 * turn + 20}",
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }


@needs_prometheus
@pytest.mark.parametrize("rule", TOLD, ids=lambda rule: rule["alert"])
def test_an_alert_is_told_whatever_label_it_has(tmp_path: Path, rule: dict[str, Any]) -> None:
    case = CASES[rule["alert"]]
    play(tmp_path, [played(rule, case, turn) for turn in TURNS], only=rule["alert"])
