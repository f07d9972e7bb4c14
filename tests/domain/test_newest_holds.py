"""The newest holds are those that comparing each rule with each wait gives, and take no such time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from computing import cpu_seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from specification import rule_matches

from zart_server.domain.model import (
    Attempt,
    AttemptStatus,
    PauseRule,
    PauseRuleStatus,
    PauseScope,
    Run,
    RunStatus,
    RunTrigger,
    Step,
    StepStatus,
)
from zart_server.domain.newest_holds import HeldRun, newest_holds
from zart_server.domain.rule_holds import OnRecord, RuleHold, held_while, stood, waits_of

START = datetime(2026, 1, 1, tzinfo=UTC)
# Few names, and few times: so that many are the same.
NAMES = ["send-mail", "send-sms", "charge"]
RULES = ["r0", "r1", "r2", "r3"]
MINUTES = st.integers(0, 6)


def at(minute: int | None) -> datetime | None:
    return None if minute is None else START + timedelta(minutes=minute)


def each_with_each(
    runs: Sequence[HeldRun], rules: Sequence[PauseRule], most: int
) -> tuple[list[RuleHold], bool]:
    """Return the newest holds, and whether they are all: the specification, which compares all."""

    def of(held: HeldRun) -> Iterator[RuleHold]:
        waits = list(waits_of(held.run, held.steps, held.record))
        for rule in rules:
            spans = list(stood(rule, held.record))
            for wait in waits:
                if not rule_matches(rule.scope, held.run.execution_id, "t", wait.step_name):
                    continue
                for span in spans:
                    for since, until in held_while(span, rule.rule_id, wait, held.record):
                        yield RuleHold(rule, held.run.run_number, wait.step_name, since, until)

    found = [hold for held in runs for hold in of(held)]
    found.sort(key=lambda hold: (hold.since, hold.step_name, hold.rule.rule_id), reverse=True)
    return found[:most], len(found) <= most


def rule(rule_id: str, scope: PauseScope, begun: int, ended: int | None) -> PauseRule:
    return PauseRule(
        rule_id=rule_id, scope=scope, reason="", status=PauseRuleStatus.ACTIVE,
        created_at=START + timedelta(minutes=begun), created_by="ann", expires_at=None,
        deleted_at=at(ended), deleted_by="",
    )  # fmt: skip


def run(number: int, begun: int, ended: int | None = None) -> Run:
    return Run(
        execution_id="x", run_number=number, trigger=RunTrigger.INITIAL, triggered_by="", reason="",
        definition_version=1, source_run_number=None, error="", started_at=None,
        created_at=START + timedelta(minutes=begun), completed_at=at(ended),
        status=RunStatus.RUNNING if ended is None else RunStatus.CANCELLED,
    )  # fmt: skip


def step(name: str, status: StepStatus, times: Sequence[int | None], **more: Any) -> Step:
    """A step whose attempts began and ended at these minutes."""
    pairs = zip(times[::2], times[1::2], strict=True)
    tried = tuple(
        Attempt(n, AttemptStatus.FAILED, "d", None, at(begun) or START, at(ended))
        for n, (begun, ended) in enumerate(pairs, 1)
    )
    values = {"depends_on": (), "completed_at": tried[-1].completed_at if tried else None} | more
    return Step(step_name=name, status=status, handler=name, attempt=0, max_attempts=3,
                attempts=tried, **values)  # fmt: skip


SCOPES = st.builds(
    PauseScope,
    st.sampled_from([None, None, None, "x", "y"]),
    st.sampled_from([None, "t", "t", "t", "u"]),
    st.sampled_from([None, None, "*", "send-*", "{charge,s}", "*s"]),
    st.just(False),
)
# Times may be in any order: what makes no sense holds nobody, both ways.
TIMES = st.lists(MINUTES, max_size=4).map(sorted) | st.lists(MINUTES, max_size=4)


@st.composite
def steps_of_runs(draw: st.DrawFn) -> list[Step]:
    found = []
    for n, name in enumerate(NAMES):
        times: list[int | None] = list(draw(TIMES))
        if len(times) % 2:
            times.append(None)
        status = draw(st.sampled_from(list(StepStatus)))
        before = () if n == 0 or draw(st.booleans()) else (NAMES[n - 1],)
        found.append(step(name, status, times, depends_on=before))
    return found


WHEN = MINUTES.map(lambda minute: START + timedelta(minutes=minute))
RECORDS = st.builds(
    OnRecord,
    st.dictionaries(st.sampled_from(NAMES), st.lists(WHEN, max_size=2)),
    st.dictionaries(
        st.sampled_from(RULES), st.lists(st.tuples(WHEN, st.booleans()), max_size=3), max_size=3
    ),
    st.dictionaries(
        st.tuples(st.sampled_from(RULES), st.sampled_from(NAMES), st.integers(1, 2)), WHEN, max_size=9
    ),
    st.dictionaries(st.sampled_from(RULES), st.lists(WHEN, max_size=3)),
    st.frozensets(st.sampled_from(RULES), max_size=2),
)  # fmt: skip
RUNS = st.lists(
    st.tuples(MINUTES, st.none() | MINUTES, steps_of_runs(), RECORDS), min_size=1, max_size=3
)
STOOD = st.lists(st.tuples(SCOPES, MINUTES, st.none() | MINUTES), min_size=2, max_size=len(RULES))


@pytest.mark.parametrize("few", [0, 2, 50])
@settings(max_examples=300)
@given(RUNS, STOOD, st.integers(1, 8))
def test_they_are_those_of_comparing_each_with_each(
    few: int,
    made: list[tuple[int, int | None, list[Step], OnRecord]],
    made_rules: list[tuple[PauseScope, int, int | None]],
    most: int,
) -> None:
    rules = [rule(rule_id, *each) for rule_id, each in zip(RULES, made_rules, strict=False)]
    runs = [
        HeldRun(run(n, begun, ended), steps, record)
        for n, (begun, ended, steps, record) in enumerate(made)
    ]
    assert newest_holds("x", "t", runs, rules, most, few) == each_with_each(runs, rules, most)


@pytest.mark.parametrize("few", [0, 50])
@given(
    st.lists(st.tuples(*[st.integers(0, 3)] * len(NAMES)), min_size=1, max_size=2),
    st.lists(st.integers(0, 3), min_size=2, max_size=len(RULES)),
    st.integers(1, 5),
)
def test_of_those_that_begin_at_one_time_names_and_ids_decide(
    few: int, since: list[tuple[int, ...]], begun: list[int], most: int
) -> None:
    rules = [
        rule(rule_id, PauseScope(None, "t", None), each, None)
        for rule_id, each in zip(RULES, begun, strict=False)
    ]
    waiting = [step(name, StepStatus.SCHEDULED, ()) for name in NAMES]
    runs = [
        HeldRun(
            run(n, 0),
            waiting,
            OnRecord(
                {name: [START + timedelta(minutes=m)] for name, m in zip(NAMES, of, strict=True)}
            ),
        )
        for n, of in enumerate(since)
    ]
    assert newest_holds("x", "t", runs, rules, most, few) == each_with_each(runs, rules, most)


@dataclass
class Many:
    """A case of five thousand rules and ten thousand steps."""

    patterns: Sequence[str | None]
    every: int  # minutes from rule to rule
    lasts: int | None
    times: tuple[int, ...] = ()  # of the attempts of each step
    status: StepStatus = StepStatus.SCHEDULED


MANY = {
    "all hold all": Many([None], 0, None),
    "each pattern holds all": Many([f"*{n}*,*" for n in range(5)], 1, None),
    "each of its own pattern": Many([f"*{{s,{n}}}-*" for n in range(5_000)], 1, None),
    "one after the other": Many([None], 2, 1),
    "one after the other, by a pattern": Many(["s*"], 2, 1),
    "later than all": Many([None], 2, 1, (0, 0), StepStatus.COMPLETED),
    "none by its name": Many([f"*-{n}-*" for n in range(5_000)], 0, None),
    "few by their names": Many([f"*-{n},*" for n in range(5_000)], 0, None),
}  # fmt: skip


@pytest.mark.parametrize("case", MANY)
def test_five_thousand_rules_and_ten_thousand_steps(case: str) -> None:
    many = MANY[case]
    rules = [
        rule(
            f"r{n}",
            PauseScope(None, "t", many.patterns[n % len(many.patterns)]),
            n * many.every,
            None if many.lasts is None else n * many.every + many.lasts,
        )
        for n in range(5_000)
    ]
    steps = [step(f"s-{n},0,1,2,3,4,", many.status, many.times) for n in range(10_000)]
    with cpu_seconds(5.0):
        found = newest_holds("x", "t", [HeldRun(run(0, 0), steps, OnRecord())], rules, 1_000)
    assert len(found.holds) == (0 if "later" in case or "none" in case else 1_000)
