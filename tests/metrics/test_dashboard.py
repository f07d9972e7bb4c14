"""What panels of deploy/grafana/zart.json show of series that promtool plays."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from metrics.prometheus import PROMTOOL, ROOT, needs_prometheus

from zart_server.domain.model import AttemptStatus


def query_of(title: str) -> str:
    """Return the one query of a panel, for all tasks and over five minutes."""
    dashboard = json.loads((ROOT / "deploy/grafana/zart.json").read_text())
    (query,) = [
        target["expr"]
        for panel in dashboard["panels"]
        if panel["title"] == title
        for target in panel["targets"]
    ]
    assert isinstance(query, str)
    return query.replace("$__rate_interval", "5m").replace("$task", ".*")


@needs_prometheus
def test_what_was_given_back_or_broken_off_has_not_failed(tmp_path: Path) -> None:
    """As each deployment of dispatchers gives back, and each cancel breaks off."""
    assert PROMTOOL is not None
    per_minute = {AttemptStatus.FAILED: 60, AttemptStatus.TIMED_OUT: 120, AttemptStatus.LOST: 240}
    played = {
        "interval": "1m",
        "input_series": [
            {
                "series": f'zart_attempts_total{{task="t",ending="{ending.value}"}}',
                "values": f"0+{per_minute.get(ending, 6000)}x20",
            }
            for ending in AttemptStatus
        ],
        "promql_expr_test": [
            {
                "expr": query_of("Failed attempts by task"),
                "eval_time": "10m",
                "exp_samples": [{"labels": '{task="t"}', "value": 1 + 2 + 4}],
            }
        ],
    }
    (tmp_path / "tests.yml").write_text(yaml.safe_dump({"rule_files": [], "tests": [played]}))
    command = [PROMTOOL, "test", "rules", str(tmp_path / "tests.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
