"""Alerts on what is in the database outlast an outage of it: nothing is resolved by that."""

from __future__ import annotations

from pathlib import Path

import yaml
from metrics.prometheus import RULES, needs_prometheus, play

DEAD = 'zart_steps{task="t",status="dead",instance="i"}'


def test_each_alert_on_work_and_on_what_operators_do_goes_on() -> None:
    groups = {
        group["name"]: group["rules"] for group in yaml.safe_load(RULES.read_text())["groups"]
    }
    for name in ("zart-work", "zart-operators"):
        assert {rule["alert"]: rule.get("keep_firing_for") for rule in groups[name]} == {
            rule["alert"]: "15m" for rule in groups[name]
        }


@needs_prometheus
def test_what_is_not_read_for_ten_minutes_is_not_resolved(tmp_path: Path) -> None:
    """From the 20th minute on, and from the 40th for good."""
    told = [{"exp_labels": {"severity": "warning", "task": "t"}}]
    play(
        tmp_path,
        [
            {
                "interval": "1m",
                "input_series": [{"series": DEAD, "values": "5x19 stale _x9 5x9 stale"}],
                "alert_rule_test": [
                    {"eval_time": f"{minute}m", "alertname": "ZartStepsDead", "exp_alerts": expected}
                    for minute, expected in (
                        (14, []), (15, told), (29, told), (39, told), (54, told), (56, []),
                    )
                ],
            }
        ],
    )  # fmt: skip
