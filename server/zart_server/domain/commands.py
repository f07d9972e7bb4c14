"""What callers ask for and what they are told, decoded: one request and one result per verb.

Those of dispatchers are in ``domain.dispatch``.

``api`` makes the requests from protos, having checked everything that needs no database;
``engine`` takes them; ``api`` encodes the results.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from zart_server.domain.errors import ZartError
from zart_server.domain.graph import WrittenGraph
from zart_server.domain.model import (
    Execution,
    FencedStep,
    IfExists,
    IfRunning,
    PauseRule,
    PauseScope,
    Run,
    Step,
)
from zart_server.domain.plans import NO_PLAN, Planning
from zart_server.domain.rerun import RerunPlan, StepInput

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, as the caller claims, why, and under which request_id (empty: none).

    ``principal`` is who it is, as the server verified it; empty where nobody is asked.
    ``incident`` is the caller's name of what it belongs to, ``batch_id`` the batch that it is an
    item of.
    """

    triggered_by: str = ""
    reason: str = ""
    request_id: str = ""
    principal: str = ""
    incident: str = ""
    batch_id: str = ""


@dataclass(frozen=True, slots=True)
class StartExecution:
    """Start one execution. ``graph`` None: the task's current definition.

    ``traceparent`` names the trace that it belongs to, by W3C's Trace Context; None: none.
    """

    execution_id: str
    task_name: str
    payload_json: str | None
    graph: WrittenGraph | None
    if_exists: IfExists
    caller: Caller
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class RegisterTask:
    """Make a graph the current definition of its task."""

    task_name: str
    graph: WrittenGraph


@dataclass(frozen=True, slots=True)
class RetryStep:
    """Revive a dead step. ``max_attempts`` None: the definition's, ``input_json``: as it is.

    ``expected_attempt`` None: whichever attempt was its last. For items of batches, here and below:
    ``execution_key`` of the execution that was selected, None: whichever has the id;
    ``accepted_at``, see ``refuse_in_doubt``.
    """

    execution_id: str
    step_name: str
    run_number: int | None
    max_attempts: int | None
    expected_run_number: int | None
    planning: Planning = NO_PLAN
    accept_in_doubt: bool = False
    input_json: str | None = None
    expected_attempt: int | None = None
    execution_key: int | None = None
    accepted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RetriedStep:
    """What RetryStep did. ``task_id`` is empty where a pause rule withholds the step.

    Like each result with a ``plan_token``: where that is set, this is a plan.
    """

    task_id: str
    run_id: str
    step: Step
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class Restart:
    """Create the next run from scratch. ``payload_json`` None: the previous run's."""

    execution_id: str
    payload_json: str | None
    if_running: IfRunning
    expected_run_number: int | None
    planning: Planning = NO_PLAN
    accept_in_doubt: bool = False
    execution_key: int | None = None
    accepted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Restarted:
    """What Restart did; ``run`` without its payload."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class Rerun:
    """Create the next run with some results carried over.

    ``inputs`` correct the inputs of steps by name. ``payload_json`` None: as before.
    """

    execution_id: str
    force_rerun: tuple[str, ...]
    preserve: tuple[str, ...]
    include_downstream: bool
    if_running: IfRunning
    expected_run_number: int | None
    planning: Planning = NO_PLAN
    accept_in_doubt: bool = False
    inputs: tuple[StepInput, ...] = ()
    payload_json: str | None = None
    execution_key: int | None = None
    accepted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rerunned:
    """What Rerun did."""

    new_run_id: str
    new_run_number: int
    plan: RerunPlan
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class Pause:
    """Add a pause rule. At most one of ``expires_at`` and ``expires_in`` is set.

    With ``expiry_rate`` it is releasing, once it expires, so many steps a second.
    """

    scope: PauseScope
    expires_at: datetime | None
    expires_in: timedelta | None
    expiry_rate: float | None = None
    must_match: bool = False
    planning: Planning = NO_PLAN


@dataclass(frozen=True, slots=True)
class PauseCounts:
    """How many ready steps a rule withholds, exact to 10,000, and how many are in flight."""

    paused_steps: int
    is_lower_bound: bool
    running_steps: int


class Expiry(NamedTuple):
    """When a rule is to end: at a time, after a span, or, with neither, never."""

    at: datetime | None = None
    after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class UpdatePauseRule:
    """Change whom a rule exempts, and when it ends. ``expiry`` None: as before."""

    rule_id: str
    exempt: tuple[str, ...]
    unexempt: tuple[str, ...]
    expiry: Expiry | None
    planning: Planning = NO_PLAN


@dataclass(frozen=True, slots=True)
class UpdatedPauseRule:
    """What UpdatePauseRule did: how many steps that lets go, and withholds again, up to 10,000.

    ``unknown``: those of the ids to be exempt that no execution has, by their place in the list.
    """

    rule: PauseRule
    released_steps: int
    withheld_again_steps: int
    unknown: Mapping[int, str]
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class Resume:
    """Delete one rule, or those whose own scope fields equal every field set (none: all).

    With ``canary`` the one rule only lets so many steps go; with ``rate_per_second`` it lets all
    go at that pace, and is deleted then.
    """

    rule_id: str | None
    scope: PauseScope
    planning: Planning = NO_PLAN
    canary: int | None = None
    rate_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Resumed:
    """What Resume deleted and how many steps that lets go, exact to 10,000.

    With ``rule_id`` an already deleted rule is in ``rules`` too, and with a pace the rule that it
    is of. ``still_releasing_rules`` were passed over: they were not named.
    """

    rules_deleted: int
    rules: tuple[PauseRule, ...]
    released_steps: int
    is_lower_bound: bool
    still_paused_steps: int
    plan_token: str = ""
    still_releasing_rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CancelExecution:
    """Cancel the current run."""

    execution_id: str
    expected_run_number: int | None
    planning: Planning = NO_PLAN
    execution_key: int | None = None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What CancelExecution did; ``run`` without its payload."""

    run: Run
    fenced_steps: tuple[FencedStep, ...]
    plan_token: str = ""


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """An execution, one run of it and the run's steps, as of one moment.

    ``digest`` is another one once the run has changed; empty where nobody asked for it.
    """

    execution: Execution
    run: Run
    steps: tuple[Step, ...]
    run_key: int
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list. ``next_cursor`` None: the last one.

    ``cursors`` say where to go on after each of its items, for an answer may not have room for all.
    ``size`` is about how many bytes they have, where these may be many.
    """

    items: tuple[T, ...]
    cursors: tuple[tuple[int | str, ...], ...]
    next_cursor: tuple[int | str, ...] | None
    size: int = 0


StartResult: TypeAlias = Execution | ZartError
