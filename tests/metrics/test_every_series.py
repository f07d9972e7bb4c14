"""docs/metrics.md has every series that a running system tells of, with a plausible value, no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from metrics.having_all import have_all
from metrics.scraping import Scrape, scraped
from metrics.system import System, running_system
from rig import Rig

from zart.testing.server import ServerUnderTest

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
_ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*)\| ", re.MULTILINE)
_SECTIONS = {
    "server": ("Each process", "A server: what it does", "A server: what is in the database"),
    "gateway": ("Each process", "A gateway"),
    "dispatcher": ("Each process", "A dispatcher"),
}
_ENDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
# What may well be 0 at any moment; every other series that is written down is above.
MAY_BE_0 = {
    "zart_calls_in_progress",
    "zart_pool_connections_in_use",
    "zart_pool_waiting",
    "zart_maintenance_lag_seconds",
    "zart_reading_age_seconds",
    "zart_gateway_requests_in_progress",
    "zart_dispatcher_running_steps",
    "zart_dispatcher_leased_ahead_steps",
    "zart_dispatcher_outcomes_waiting",
    "zart_dispatcher_loop_blocked_seconds",
}
_LONG = 3600.0  # seconds that nothing in a test takes
_VALUES = {
    ("zart_attempts", "ending"): {
        "completed", "failed", "timed_out", "lost", "released", "abandoned",
    },
    ("zart_steps", "status"): {"scheduled", "running", "paused", "dead"},
    ("zart_outcomes", "status"): {"recorded", "already_recorded", "lease_lost"},
    ("zart_operations", "outcome"): {"done", "planned", "refused"},
    ("zart_batch_items", "status"): {"done", "refused", "pending"},
    ("zart_release_steps", "state"): {"released", "left"},
    ("zart_calls", "kind"): {"call", "long_poll"},
}  # fmt: skip


def written(process: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the type and the labels of each family that the page has of a process, by its name."""
    sections = dict(re.findall(r"^## (.+)\n([^#]*)", PAGE.read_text(), re.MULTILINE))
    return {
        name: (kind, frozenset(filter(None, labels.strip().split(", "))))
        for section in _SECTIONS[process]
        for name, kind, labels in _ROW.findall(sections[section])
    }


def told(scrape: Scrape) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the same of a scrape; labels that only Prometheus' types have are none."""
    found = {}
    for name, kind in scrape.types.items():
        labels = {
            frozenset(labels.keys() - {"le"})
            for end in _ENDS[kind]
            for labels, _ in scrape.of(name + end)
        }
        assert len(labels) == 1, f"{name} has no series, or of several sorts: {labels}"
        found[name] = kind, labels.pop()
    return found


def implausible(scrape: Scrape) -> list[str]:
    """Return the families of which no value, or one that cannot be, is told."""
    found = []
    for name, kind in scrape.types.items():
        last = _ENDS[kind][-1]
        values = [value for _, value in scrape.of(name + last)]
        is_span = name.endswith("_seconds") and kind == "gauge" and "start_time" not in name
        if any(value < 0 or (is_span and value > _LONG) for value in values) or (
            max(values) == 0 and name not in MAY_BE_0
        ):
            found.append(f"{name}: {values}")
    return found


@pytest.fixture
def system(zart_database: str, tmp_path: Path) -> Iterator[System]:
    """A system of all processes."""
    with running_system(zart_database, tmp_path) as running:
        yield running


@pytest.fixture
def zart_server(system: System) -> ServerUnderTest:
    """Its server, for the client of these tests."""
    return system.server


async def test_every_series_is_written_down_with_a_plausible_value(
    rig: Rig, system: System
) -> None:
    await have_all(rig, system.http)

    scrapes = {name: await scraped(address) for name, address in system.metrics.items()}
    for process, scrape in scrapes.items():
        assert told(scrape) == written(process)
        assert implausible(scrape) == []
        assert scrape("zart_build_info", component=process) == 1
    server = scrapes["server"]
    for (family, label), values in _VALUES.items():
        name = family if server.types[family] == "gauge" else f"{family}_total"
        assert server.labels(name, label) >= values
    assert scrapes["dispatcher"]("zart_dispatcher_slots") == 16
    assert scrapes["gateway"]("zart_gateway_requests_total", code="200") >= 1


def test_no_name_is_written_down_twice() -> None:
    names = [name for name, _, _ in _ROW.findall(PAGE.read_text())]
    assert len(names) == len(set(names))
