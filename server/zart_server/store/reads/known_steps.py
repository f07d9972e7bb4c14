"""Reads what is known of steps that are not completed, as of one moment, to explain them by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import asyncpg

from zart_server.domain.blocking import dead_behind, first_to_end
from zart_server.domain.causes import ExplainedStep
from zart_server.domain.errors import StepNotFound
from zart_server.domain.explaining import explain
from zart_server.domain.graph import Graph
from zart_server.domain.known_step import Ahead, Holding, KnownRule, KnownRun, KnownStep
from zart_server.domain.model import StepStatus, run_id_of
from zart_server.store.connection import Tx
from zart_server.store.definitions import find_definitions
from zart_server.store.leases import error_from_json
from zart_server.store.pausing.judging import refresh_rules
from zart_server.store.reads.explained_steps import (
    ExplainedRun,
    blocking_steps,
    find_run,
    places_in_releases,
    read_step_rows,
    rules_for,
    status_of_row,
    steps_at_work,
    unfinished_steps,
)
from zart_server.store.reads.known_doubts import read_happened_earlier, read_known_doubts
from zart_server.store.slices import in_slices
from zart_server.store.stored_graph import Definition

_MOST_AHEAD = 20_000  # of one step; of each of many
_MOST_AHEAD_OF_EACH = 1_000
# Of all steps together, so that the answer fits a message whatever their names and reasons are.
_MOST_RULES = 10_000
_MOST_REASONS = 500  # told of rules
_MOST_NAMES = 2_000  # in a cause
_RULE_BYTES = 200  # about, of what is told of a rule
_WITHHELD = (StepStatus.PENDING, StepStatus.SCHEDULED, StepStatus.DEAD)
_ROUNDS = 3  # for rules that change meanwhile


@dataclass(frozen=True, slots=True)
class KnownSteps:
    """What explains some steps of a run, in the order of their ``numbers``.

    ``opened`` and ``dead`` are the steps of the run that others wait for.
    """

    run: KnownRun
    graph: Graph
    numbers: Sequence[int] = ()
    steps: Sequence[KnownStep] = ()
    opened: frozenset[int] = frozenset()
    dead: frozenset[int] = frozenset()

    @property
    def size(self) -> int:
        """How many bytes are looked at to explain them, about."""
        behind = self.graph.size if self.dead else 0  # else next to nothing is looked at
        return behind + _RULE_BYTES * sum(len(step.holding) for step in self.steps)

    def explained(self) -> list[ExplainedStep]:
        """Explain them. Not while a transaction is open: this may take long."""
        graph, left = self.graph, self.opened | self.dead
        waiting = [
            number
            for number, step in zip(self.numbers, self.steps, strict=True)
            if step.status is StepStatus.PENDING
        ]
        behind = dead_behind(graph, waiting, self.opened, self.dead) if waiting else {}
        found = []
        for number, step in zip(self.numbers, self.steps, strict=True):
            known = step
            if step.status is StepStatus.PENDING:
                known = replace(
                    step,
                    waits_for=_names(graph, [d for d in graph.depends_on[number] if d in left]),
                    dead=_names(graph, behind.get(number, ())),
                    first=graph.steps[first_to_end(graph, number, left)].step_name,
                )
            found.append(explain(self.run, known, _MOST_NAMES // len(self.steps)))
        return found


async def read_known_steps(
    tx: Tx,
    execution_id: str,
    step_name: str,
    run_number: int | None,
    asked: Collection[str] = (),
) -> KnownSteps:
    """Read what explains a step of a run (None: the current one); no name: what is unfinished.

    ``tx`` is to be a snapshot; ``asked`` are tasks that dispatchers ask for now, which is on record
    a second later. Raises ExecutionNotFound, RunNotFound or StepNotFound.
    """
    run = await find_run(tx, execution_id, run_number)
    if run.known.task_name in asked:
        run = replace(run, known=replace(run.known, last_asked_at=run.known.now))
    definition = (await find_definitions(tx, [run.definition_key]))[run.definition_key]
    graph = definition.graph
    if step_name:
        number = graph.index.get(step_name)
        if number is None:
            raise StepNotFound(run_id_of(execution_id, run.known.run_number), step_name)
        numbers, most_ahead = [number], _MOST_AHEAD
    else:
        numbers, most_ahead = await unfinished_steps(tx, run.run_key), _MOST_AHEAD_OF_EACH
    if not numbers:
        return KnownSteps(run.known, graph)
    rows = await read_step_rows(tx, run.run_key, numbers, most_ahead)
    facts = [_facts(definition, row, most_ahead) for row in rows]
    if run.known.is_asked_no_more and any(step.status is StepStatus.SCHEDULED for step in facts):
        at_work = await steps_at_work(tx, run.known.task_name)
        run = replace(run, known=replace(run.known, at_work=at_work))
    opened, dead = frozenset[int](), frozenset[int]()
    if any(step.status is StepStatus.PENDING for step in facts):
        opened, dead = await blocking_steps(tx, run.run_key)
    if definition.stops:
        # What others did decides what to do of what waits for them, or of a run that is over.
        is_over = run.known.is_current and run.known.is_over
        others = is_over or any(step.status is StepStatus.PENDING for step in facts)
        key = run.run_key
        doubts = await read_known_doubts(tx, key, numbers, with_others=others)
        if run.known.run_number > 0:
            # What has happened decides what to do, whatever else is in doubt.
            doubts |= await read_happened_earlier(tx, key, graph, numbers, with_others=others)
        known = replace(
            run.known,
            in_doubt=frozenset(
                graph.steps[number].step_name for number, one in doubts.items() if not one.happened
            ),
            happened=frozenset(
                graph.steps[number].step_name for number, one in doubts.items() if one.happened
            ),
        )
        run = replace(run, known=known)
        facts = [
            replace(step, doubt=doubts.get(row["step_no"]))
            for row, step in zip(rows, facts, strict=True)
        ]
    held_by = await _held_by(tx, run, rows, facts, most_ahead)
    steps = [_held(*each) for each in zip(facts, held_by, strict=True)]
    return KnownSteps(run.known, graph, [row["step_no"] for row in rows], steps, opened, dead)


def _held(step: KnownStep, held_by: tuple[Sequence[Holding], int]) -> KnownStep:
    holding, more = held_by
    is_paused = holding and step.status is StepStatus.SCHEDULED
    status = StepStatus.PAUSED if is_paused else step.status
    return replace(step, status=status, holding=tuple(holding), more_rules=more)


def _facts(definition: Definition, row: asyncpg.Record, most_ahead: int) -> KnownStep:
    spec = definition.graph.steps[row["step_no"]]
    return KnownStep(
        spec.step_name,
        status_of_row(row),
        spec.handler,
        row["attempt"] if row["open_attempt"] is None else row["open_attempt"],
        row["open_max"] or row["max_attempts"] or spec.retry_policy.max_attempts,
        row["open_counted"] or 0,
        ready_at=row["ready_at"],
        not_before=row["not_before"],
        started_at=row["started_at"],
        dispatcher_id=row["dispatcher_id"] or "",
        lease_expires_at=row["lease_expires_at"],
        ended_at=row["completed_at"],
        error=error_from_json(row["error"]),
        ahead=Ahead(row["ahead"], row["ahead"] >= most_ahead) if row["is_queued"] else None,
        stops=row["step_no"] in definition.stops,
    )


def _names(graph: Graph, numbers: Collection[int]) -> tuple[str, ...]:
    return tuple(graph.steps[number].step_name for number in numbers)


async def _held_by(
    tx: Tx,
    run: ExplainedRun,
    rows: Sequence[asyncpg.Record],
    facts: Sequence[KnownStep],
    most_ahead: int,
) -> list[tuple[Sequence[Holding], int]]:
    """Return, for each step, the rules that withhold it, and how many more there are than told."""
    most = _MOST_RULES // len(facts)
    reasons = _MOST_REASONS // len(facts)
    if tx.pauses.since != run.epoch:
        # Where another call is ahead of this snapshot, what it lacks is deleted by now.
        await refresh_rules(tx)
    matching = await _all_matching(tx, run, rows, facts)
    keys = sorted({key for some in matching for key in some[:most]})
    rules = await rules_for(tx, keys, run.known.execution_id) if keys else {}
    releasing = [
        (n, rule.rule_key)
        for n, some in enumerate(matching)
        if (rule := _deciding(rules, some[:most])) is not None
    ]
    places = [(key, facts[n].not_before, rows[n]["queue_no"]) for n, key in releasing]
    found = await places_in_releases(tx, places, most_ahead) if places else []
    ahead = dict(zip(releasing, found, strict=True))
    return [
        (_holding(rules, ahead, n, some[:most], reasons), len(some[most:]))
        for n, some in enumerate(matching)
    ]


async def _all_matching(
    tx: Tx, run: ExplainedRun, rows: Sequence[asyncpg.Record], facts: Sequence[KnownStep]
) -> list[list[int]]:
    """Return the keys of the rules that withhold each step: of one epoch, unless they change often.

    Then a rule that came or went meanwhile may be told of some steps only.
    """
    for _ in range(_ROUNDS):
        epoch, each = tx.pauses.since, zip(rows, facts, strict=True)
        found = await in_slices(tx, each, lambda step: _matching(tx, run, *step))
        if tx.pauses.since == epoch:
            break
    return found


def _matching(tx: Tx, run: ExplainedRun, row: asyncpg.Record, step: KnownStep) -> list[int]:
    """Return the keys of rules that match a step and have not let it go, oldest first."""
    if run.known.is_over or step.status not in _WITHHELD:
        return []
    found = set(tx.pauses.matching((run.known.execution_id, run.known.task_name, step.step_name)))
    if row["rule_key"] is not None:
        found.add(row["rule_key"])
    return sorted(found.difference(row["let_go"] or ()))


def _deciding(rules: Mapping[int, KnownRule], keys: Sequence[int]) -> KnownRule | None:
    """Return which of the rules decides when a step goes: it is, or will be, in the line of that.

    None: none of them is releasing.
    """
    known = (rules[key] for key in keys if key in rules)
    releasing = (rule for rule in known if rule.rate_per_second is not None)
    return min(releasing, key=lambda rule: rule.turn, default=None)


def _holding(
    rules: Mapping[int, KnownRule],
    ahead: Mapping[tuple[int, int], Ahead],
    n: int,
    keys: Sequence[int],
    reasons: int,
) -> list[Holding]:
    return [
        Holding(
            rules[key] if place < reasons else replace(rules[key], created_by="", reason=""),
            ahead.get((n, key)),
        )
        for place, key in enumerate(keys)
        if key in rules
    ]
