"""docs/metrics.md has every series that a running system tells of, with a plausible value, no other."""

from __future__ import annotations

from metrics.scraping import Scrape, scraped, scraped_with_database
from metrics.series import ENDS, PAGE, ROW, told, written
from metrics.system import System

# What may well be 0 at any moment; every other series that is written down is above.
MAY_BE_0 = {
    "zart_calls_in_progress",
    "zart_pool_connections_in_use",
    "zart_pool_waiting",
    "zart_maintenance_lag_seconds",
    "zart_background_failures",
    "zart_background_failing_seconds",
    "zart_reading_age_seconds",
    "zart_oldest_ended_rule_age_seconds",
    "zart_gateway_requests_in_progress",
    "zart_dispatcher_running_steps",
    "zart_dispatcher_leased_ahead_steps",
    "zart_dispatcher_outcomes_waiting",
    "zart_dispatcher_oldest_outcome_age_seconds",
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


def implausible(scrape: Scrape) -> list[str]:
    """Return the families of which no value, or one that cannot be, is told."""
    found = []
    for name, kind in scrape.types.items():
        last = ENDS[kind][-1]
        values = [value for _, value in scrape.of(name + last)]
        is_span = name.endswith("_seconds") and kind == "gauge" and "start_time" not in name
        if any(value < 0 or (is_span and value > _LONG) for value in values) or (
            max(values) == 0 and name not in MAY_BE_0
        ):
            found.append(f"{name}: {values}")
    return found


async def test_every_series_is_written_down_with_a_plausible_value(
    shared_system: System,
) -> None:
    scrapes = {name: await scraped(at) for name, at in shared_system.metrics.items()}
    scrapes["server"] = await scraped_with_database(shared_system.metrics["server"])
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
    names = [name for name, _, _ in ROW.findall(PAGE.read_text())]
    assert len(names) == len(set(names))
