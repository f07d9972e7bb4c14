"""docs/operating.md sizes by what the benchmark has measured, not by what it once was."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from statistics import median

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/operating.md").read_text().partition("## How large")[2].partition("\n## ")[0]


def measured(name: str, figure: str) -> float:
    """Return a figure of zart's own, as docs/performance.md has it."""
    results = json.loads((ROOT / f"bench/results/{name}.json").read_text())
    return float(median(results["series"]["zart"][figure]))


@pytest.mark.parametrize(
    ("pattern", "name", "figure"),
    [
        (r"costs the server ([\d,]+) µs", "drain", "server_us_per_step"),
        (r"the dispatcher ([\d,]+) µs", "drain", "dispatcher_us_per_step"),
        (r"PostgreSQL ([\d,]+) µs", "drain", "postgres_us_per_step"),
        (r"([\d,]+) MiB each, whatever is queued", "soak", "server_mib"),
        (r"([\d,]+) MiB each with 1,000", "soak", "dispatcher_mib"),
        (r"([\d,]+) bytes a step", "soak", "bytes_per_step"),
        (r"([\d,]+) a second in bulk", "start", "starts_per_second"),
        (r"([\d,]+) one by one", "start", "single_starts_per_second"),
    ],
)
def test_a_figure_is_the_measured_one(pattern: str, name: str, figure: str) -> None:
    """To two digits at least, and to the whole number."""
    (said,) = re.findall(pattern, PAGE)
    value = measured(name, figure)

    assert math.isclose(float(said.replace(",", "")), value, rel_tol=0.02, abs_tol=1.0)


def test_what_follows_from_them_is_right() -> None:
    per_step = [
        measured("drain", f"{who}_us_per_step") for who in ("server", "dispatcher", "postgres")
    ]
    (steps,) = re.findall(r"about ([\d,]+) steps a second", PAGE)
    shares = [int(share) for share in re.findall(r"\| (\d+) % of a core", PAGE)]
    (gigabytes,) = re.findall(r"(\d+) GB a day", PAGE)

    assert math.isclose(float(steps.replace(",", "")), 1e6 / sum(per_step), rel_tol=0.05)
    assert shares == [math.ceil(each * 1000 / 1e6 * 100) for each in per_step]
    kept = measured("soak", "bytes_per_step") * 1000 * 86_400 / 1e9
    assert math.isclose(float(gigabytes), kept, rel_tol=0.02)
