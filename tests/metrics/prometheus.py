"""A real Prometheus that reads what a system tells, and the rules as they are tried."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ports import free_port
from waiting import block_until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yml"
WINDOW = "8s"
PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="there is no prometheus here: Debian's package of that name brings it and promtool",
)


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Where one answers."""

    address: str

    def firing(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self._get("alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression gives now. Raises HTTPError where it is wrong."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def _get(self, path: str, **asked: str) -> Any:
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as response:
            answer = json.load(response)
        assert answer["status"] == "success"
        return answer["data"]

    def is_ready(self) -> bool:
        """Return whether it answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=30):
                return True
        except OSError:
            return False


def hurried(rules: str) -> str:
    """Return rules that wait for nothing and look back over seconds, else as they are."""
    at_once = re.sub(r"for: \w+", "for: 0s", rules)
    return re.sub(r"(?<=\[)\d+[mh](?=\])|(?<=offset )\d+[mh]", WINDOW, at_once)


def alerts_of(rules: str) -> list[dict[str, Any]]:
    """Return the alerts that are defined."""
    return [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"]]


def play(
    folder: Path,
    tests: list[dict[str, Any]],
    annotations: Sequence[str] = (),
    only: str | None = None,
) -> None:
    """Have promtool play tests of the rules that are shipped, each minute of them.

    Their alerts have these of their annotations, and are expected to. ``only``: the one alert whose
    rule is played, which takes less.
    """
    assert PROMTOOL is not None
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        group["rules"] = [rule for rule in group["rules"] if only in (None, rule["alert"])]
        for rule in group["rules"]:
            rule["annotations"] = {name: rule["annotations"][name] for name in annotations}
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    played = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(played))
    command = [PROMTOOL, "test", "rules", str(folder / "tests.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running_prometheus(folder: Path, targets: Sequence[str], rules: str) -> Iterator[Prometheus]:
    """Run one that reads these addresses each second, until the context is left."""
    assert PROMETHEUS is not None
    listen = f"127.0.0.1:{free_port()}"
    (folder / "rules.yml").write_text(rules)
    scraped = {"job_name": "zart", "static_configs": [{"targets": list(targets)}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [scraped],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={listen}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command)
    try:
        prometheus = Prometheus(listen)
        block_until(prometheus.is_ready)
        yield prometheus
    finally:
        process.terminate()
        process.wait(30)
