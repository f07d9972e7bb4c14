"""What looks back sees a moment of a series that has just begun: no alert is told by that alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from metrics.alert_cases import CASES
from metrics.prometheus import RULES, alerts_of, needs_prometheus, play
from metrics.series_values import minutes_of

BEGINS = 10
END = 60
# Each of these is told once as many minutes are over as its series were looked at.
_LASTS = re.compile(r"\b(?:changes|min_over_time)\([^\[\]]*\[(\d+)([mh])\]")
# The first of its calls begins a series, and is told: so it is meant.
BY_THE_FIRST = {"ZartDefects"}
LOOKING_BACK = [
    rule
    for rule in alerts_of(RULES.read_text())
    if re.search(r"\b(?:changes|increase|rate|min_over_time)\(", rule["expr"])
    and rule["alert"] not in BY_THE_FIRST
]


def minutes(number: str, unit: str) -> int:
    """Return how many minutes a time of Prometheus has."""
    return int(number) * {"m": 1, "h": 60}[unit]


def lasts(rule: dict[str, Any]) -> int:
    """Return for how many minutes it is to be true before the alert is told."""
    waits = re.fullmatch(r"(\d+)([mh])", rule.get("for", "0m"))
    assert waits is not None
    told_by, _, _ = rule["expr"].partition("unless")  # by what follows it is not told
    back = [minutes(*found) for found in _LASTS.findall(told_by)]
    return minutes(*waits.groups()) + max(back, default=0)


def test_it_is_known_how_long_each_lasts() -> None:
    found = {rule["alert"]: lasts(rule) for rule in LOOKING_BACK}
    assert found["ZartPausedForLong"] == 240
    assert found["ZartBatchStands"] == found["ZartReleaseStands"] == 20
    assert found["ZartOutcomesWait"] == 5


@needs_prometheus
@pytest.mark.parametrize("rule", LOOKING_BACK, ids=lambda rule: rule["alert"])
def test_what_is_as_it_is_since_a_moment_ago_is_not_told(
    tmp_path: Path, rule: dict[str, Any]
) -> None:
    """Each series of its case has, from the tenth minute on, the value with which that is told."""
    case = CASES[rule["alert"]]
    at = case.fires_at * {"1m": 1, "15s": 4}[case.interval]
    series = {name: minutes_of(values, at + 1)[at] for name, values in case.series.items()}
    play(
        tmp_path,
        [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": f"_x{BEGINS} {value:g}x300"}
                    for name, value in series.items()
                    if value is not None
                ],
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": rule["alert"], "exp_alerts": []}
                    for minute in {BEGINS, BEGINS + max(lasts(rule), 1) - 1}
                ],
            }
        ],
        only=rule["alert"],
    )
