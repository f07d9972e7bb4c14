"""What is in the database: steps, runs, rules, releases, batches and breakers as they stand."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from zart_server.domain.task_labels import OTHER
from zart_server.engine.dispatch.tally import Tally
from zart_server.metrics.families import Labelled, gauge
from zart_server.metrics.reading import DatabaseReader, DatabaseReading

_log = logging.getLogger(__name__)
_RANKED_EVERY = 60.0  # seconds
# Tasks without anything to tell that may ask for a label: callers make names without end, and each
# stays.
_IDLE = 5_000
_LONG = 300.0  # seconds that a step has waited, at which ZartStepsWait begins


class _Wrong(NamedTuple):
    """What is wrong of a task, by what alerts are about: the worst first. Each as a power of two.

    One open breaker is worse than any number of runs that failed long ago.
    """

    breakers: int = 0  # that are not closed
    in_doubt: int = 0
    dead: int = 0  # steps, or runs that failed
    is_late: bool = False  # its steps wait for long, and nothing else: so may all tasks'


_NOTHING = _Wrong()
_NONE_IS_WRONG: Mapping[str, _Wrong] = MappingProxyType({})


class OfTheDatabase(Collector):
    """The newest reading; nothing where there is none. ``most`` of a kind have labels."""

    def __init__(self, reader: DatabaseReader, tally: Tally, most: int) -> None:
        self._reader = reader
        self._tally = tally
        self._most = most
        self._ranked_at = time.monotonic()

    def collect(self) -> Iterator[Metric]:
        """Yield the families; those that a defect spares, if there is one: all else is told."""
        try:
            yield from self._families()
        except Exception:  # noqa: BLE001 - a scrape is to show the rest
            _log.exception("metrics lack some of what is in the database")

    def _families(self) -> Iterator[Metric]:
        reading = self._reader.newest()
        if reading is None:
            return
        now = time.monotonic()
        if now >= self._ranked_at + _RANKED_EVERY:
            self._ranked_at = now
            self._tally.rank()
        yield gauge(
            "zart_reading_age_seconds", "Age of what is read from the database: all that follows",
            [], {(): now - reading.at},
        )  # fmt: skip
        yield gauge("zart_reading_seconds", "For how long it was read", [], {(): reading.seconds})
        yield from self._by_task(reading)
        yield from self._rules(reading)
        yield from self._batches(reading)

    def _by_task(self, reading: DatabaseReading) -> Iterator[Metric]:
        steps = _steps(reading)
        weights: Counter[str] = Counter()
        for (task, _), count in steps.items():
            weights[task] += int(count)
        wrong = _wrong(reading)
        busy = {*weights, *wrong, *reading.oldest}
        busy |= {each.task_name for each in reading.breakers if each.task_name}
        # Those of which there is something to tell have the first choice of labels.
        idle = sorted(reading.looked - busy)[:_IDLE]
        labels = self._labels(
            [*((task, max(weights[task], 1)) for task in busy), *((task, 0) for task in idle)],
            wrong,
        )
        # What is counted here has labels of its own: those of the same tasks, where it may.
        self._tally.weigh({task: n for task, n in weights.items() if labels[task] != OTHER})

        def summed(values: Iterable[tuple[str, tuple[str, ...], float]]) -> Labelled:
            sums: defaultdict[tuple[str, ...], float] = defaultdict(float)
            for task, key, value in values:
                sums[labels.get(task, task), *key] += value
            return sums

        oldest: dict[tuple[str, ...], float] = {}
        for task, age in reading.oldest.items():
            key = (labels[task],)
            oldest[key] = max(age, oldest.get(key, 0.0))
        # Whoever scales by it is to see that nothing waits any more.
        for task in reading.looked:
            oldest.setdefault((labels.get(task, OTHER),), 0.0)
        yield gauge(
            "zart_steps", "Steps of current runs, by their status", ["task", "status"],
            summed((task, (status,), round(count)) for (task, status), count in steps.items()),
        )  # fmt: skip
        yield gauge(
            "zart_oldest_ready_step_age_seconds",
            "For how long the oldest step that could be leased has been ready",
            ["task"],
            oldest,
        )
        yield gauge(
            "zart_failed_runs", "Current runs that have failed", ["task"],
            summed((dead.task_name, (), round(dead.failed_runs)) for dead in reading.dead),
        )  # fmt: skip
        yield gauge(
            "zart_in_doubt_attempts", "Attempts in doubt that nobody has resolved", ["task"],
            summed((task, (), count) for task, count in reading.in_doubt.items()),
        )  # fmt: skip
        yield gauge(
            "zart_breakers", "Breakers, by their state; those of no task have none as label",
            ["task", "status"],
            summed((b.task_name or "", (b.status,), b.breakers) for b in reading.breakers),
        )  # fmt: skip

    def _rules(self, reading: DatabaseReading) -> Iterator[Metric]:
        status: Counter[tuple[str, ...]] = Counter()
        for rule in reading.rules:
            name = "settling" if rule.is_settling else "active"
            status["releasing" if rule.rate is not None else name,] += 1
        yield gauge("zart_pause_rules", "Pause rules, by their state", ["status"], status)
        paused = Counter({key: round(count) for key, count in reading.paused.by_rule.items()})
        names = {rule.rule_key: rule.rule_id for rule in reading.rules}
        labels = self._labels((name, paused[key]) for key, name in names.items())
        labels |= self._labels(
            (rule.rule_id, paused[rule.rule_key]) for rule in reading.rules if rule.rate is not None
        )
        # One that has none says so: else it could not be told from one that was not read.
        of_rules = Counter[tuple[str, ...]]()
        of_rules.update({(label,): 0 for label in labels.values() if label != OTHER})
        for key, count in paused.items():
            of_rules[labels.get(names.get(key, ""), OTHER),] += count
        yield gauge("zart_rule_paused_steps", "Steps that a rule has paused", ["rule"], of_rules)
        yield gauge(
            "zart_oldest_ended_rule_age_seconds",
            "For how long the first rule has ended of which steps are still to be moved back",
            [], {(): reading.oldest_ended},
        )  # fmt: skip
        steps: Counter[tuple[str, ...]] = Counter()
        rates: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for rule in reading.rules:
            if rule.rate is not None:
                label = labels[rule.rule_id]
                steps[label, "released"] += rule.released or 0
                steps[label, "left"] += paused[rule.rule_key]
                rates[label,] += rule.rate
        yield gauge(
            "zart_release_steps", "Steps of a release: those it has let go, and those left",
            ["rule", "state"], steps,
        )  # fmt: skip
        yield gauge(
            "zart_release_rate", "Steps a second that a release may let go", ["rule"], rates
        )

    def _batches(self, reading: DatabaseReading) -> Iterator[Metric]:
        labels = self._labels((each.batch_id, each.selected) for each in reading.batches)
        items: Counter[tuple[str, ...]] = Counter()
        rates: defaultdict[tuple[str, ...], float] = defaultdict(float)
        for each in reading.batches:
            label = labels[each.batch_id]
            items[label, "done"] += each.done
            items[label, "refused"] += each.refused
            items[label, "pending"] += each.selected - each.done - each.refused
            if each.rate is not None:
                rates[label,] += each.rate
        yield gauge(
            "zart_batch_items", "Items of a batch that is not over", ["batch", "status"], items
        )
        yield gauge(
            "zart_batch_rate", "Items a second that a batch may do; without a rate: no series",
            ["batch"], rates,
        )  # fmt: skip

    def _labels(
        self, weighed: Iterable[tuple[str, int]], wrong: Mapping[str, _Wrong] = _NONE_IS_WRONG
    ) -> dict[str, str]:
        """Return the labels of names: their own for those that weigh most, else all the same.

        First those of which something is wrong, by what that is, and how much, alone: it stays as
        it is while the load comes and goes. Whoever takes the maximum of several servers counts
        nothing twice: their readings alone decide, and names among weights of one power of two, so
        that servers which read at different moments seldom differ, and labels stay.
        """

        def rank(each: tuple[str, int]) -> tuple[list[int], int, str]:
            name, weight = each
            much = wrong.get(name, _NOTHING)
            return [-n for n in much], 0 if any(much) else -weight.bit_length(), name

        ranked = sorted(weighed, key=rank)
        return {name: name if n < self._most else OTHER for n, (name, _) in enumerate(ranked)}


def _wrong(reading: DatabaseReading) -> dict[str, _Wrong]:
    """Return what is wrong of each task of which anything is."""
    breakers, in_doubt, dead = Counter[str](), Counter(reading.in_doubt), Counter[str]()
    for each in reading.breakers:
        if each.task_name and each.status != "closed":
            breakers[each.task_name] += each.breakers
    for one in reading.dead:
        dead[one.task_name] += math.ceil(max(one.steps, one.failed_runs))
    found = {
        task: _Wrong(
            breakers[task].bit_length(), in_doubt[task].bit_length(), dead[task].bit_length()
        )
        for task in {*breakers, *in_doubt, *dead}
    }
    for task, age in reading.oldest.items():
        if age > _LONG:
            found.setdefault(task, _Wrong(is_late=True))
    return found


def _steps(reading: DatabaseReading) -> Counter[tuple[str, str]]:
    """Return how many steps there are, by task and status."""
    found: Counter[tuple[str, str]] = Counter()
    for status, counts in (
        ("scheduled", reading.queued),
        ("running", reading.leased),
        ("paused", reading.paused.by_lane),
    ):
        for lane, count in counts.items():
            if lane in reading.lanes:
                found[reading.lanes[lane], status] += round(count)
    for dead in reading.dead:
        found[dead.task_name, "dead"] += round(dead.steps)
    # A few of many steps may stand on none of the pages that were read.
    for task in reading.oldest:
        found[task, "scheduled"] = max(found[task, "scheduled"], 1)
    return found
