"""Plans a rerun: which steps run again, which are kept, and which of those may be outdated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from zart_server.domain.errors import InvalidField
from zart_server.domain.graph import Graph
from zart_server.domain.model import StepStatus

MAX_CAUSES = 10_000  # named by one plan: there may be a million times a hundred


class StepInput(NamedTuple):
    """The input that a step is to have."""

    step_name: str
    input_json: str


class Stale(NamedTuple):
    """A preserved step, and the rerun steps that it transitively depends on.

    ``omitted``: how many more there are than are named. ``depends_on_payload``: the new run has
    another payload than the one that it was made with.
    """

    step_name: str
    causes: tuple[str, ...]
    omitted: int
    depends_on_payload: bool = False


@dataclass(frozen=True, slots=True)
class RerunPlan:
    """Which steps run again and which are kept, in the graph's order."""

    effective_rerun: tuple[str, ...]
    preserved: tuple[str, ...]
    potentially_stale: tuple[Stale, ...]


class Differences(NamedTuple):
    """What a rerun changes: the steps, by number, whose inputs are others, and the payload.

    ``outdated`` are the steps whose results were made with another payload than that of the new
    run: also where an earlier rerun has changed it, and kept them.
    """

    inputs: AbstractSet[int] = frozenset()
    payload: bool = False
    outdated: AbstractSet[int] = frozenset()


NO_DIFFERENCES = Differences()


def plan_rerun(
    graph: Graph,
    statuses: Sequence[StepStatus],
    force_rerun: Sequence[str],
    preserve: Sequence[str],
    include_downstream: bool,  # noqa: FBT001 - a field of the request like the others
    changes: Differences = NO_DIFFERENCES,
) -> RerunPlan:
    """Plan by the run's statuses (by step number).

    Runs again: ``force_rerun``, whatever has another input, whatever is not completed and, with
    ``include_downstream``, all their transitive dependants except the completed ones in
    ``preserve``; with another payload all but the completed ones in ``preserve``. A preserved step
    stops nothing: what lies behind it is downstream all the same. Raises InvalidField.
    """
    forced = _numbers(graph, force_rerun, "force_rerun")
    kept = _numbers(graph, preserve, "preserve")
    check_apart(force_rerun, preserve)
    again = forced | changes.inputs
    again |= {n for n, s in enumerate(statuses) if s is not StepStatus.COMPLETED}
    if changes.payload:
        again |= set(range(len(graph.steps))) - kept
    elif include_downstream:
        again |= _downstream(graph, again) - kept
    causes = _causes(graph, again)
    names = [step.step_name for step in graph.steps]
    return RerunPlan(
        effective_rerun=tuple(names[n] for n in sorted(again)),
        preserved=tuple(name for n, name in enumerate(names) if n not in again),
        potentially_stale=tuple(_stale(names, again, causes, changes.outdated)),
    )


def check_apart(force_rerun: Sequence[str], preserve: Sequence[str], within: str = "") -> None:
    """Raise InvalidField where a step is in both; ``within`` is what stands before its field."""
    forced = set(force_rerun)
    for index, name in enumerate(preserve):
        if name in forced:
            raise InvalidField(f"{within}preserve[{index}]", f"{name!r} is in force_rerun as well")


def check_inputs_apart(inputs: Sequence[StepInput], preserve: Sequence[str]) -> None:
    """Raise InvalidField where an input is of a step that is to be preserved."""
    kept = set(preserve)
    for index, item in enumerate(inputs):
        if item.step_name in kept:
            field = f"inputs[{index}].step_name"
            raise InvalidField(field, f"{item.step_name!r} is in preserve as well")


def check_inputs(graph: Graph, inputs: Sequence[StepInput]) -> None:
    """Raise InvalidField where an input is of no step of the run."""
    for index, item in enumerate(inputs):
        if item.step_name not in graph.index:
            field = f"inputs[{index}].step_name"
            raise InvalidField(field, f"the run has no step {item.step_name!r}")


def _numbers(graph: Graph, names: Sequence[str], field: str) -> set[int]:
    for index, name in enumerate(names):
        if name not in graph.index:
            raise InvalidField(f"{field}[{index}]", f"the run has no step {name!r}")
    return {graph.index[name] for name in names}


def _downstream(graph: Graph, sources: set[int]) -> set[int]:
    """Return all transitive dependants of ``sources``."""
    found: set[int] = set()
    queue = list(sources)
    for number in queue:  # grows while it is read
        for after in graph.dependants[number]:
            if after not in found:
                found.add(after)
                queue.append(after)
    return found


def _causes(graph: Graph, again: set[int]) -> list[int]:
    """Return by step number the rerun steps that it transitively depends on, as bits."""
    causes = [0] * len(graph.steps)
    for number in graph.in_order():
        bits = 0
        for dep in graph.depends_on[number]:
            bits |= causes[dep] | ((1 << dep) if dep in again else 0)
        causes[number] = bits
    return causes


def _stale(
    names: Sequence[str], again: set[int], causes: Sequence[int], outdated: AbstractSet[int]
) -> Iterator[Stale]:
    """Yield the preserved steps that may be stale, with names of their causes, up to a bound."""
    room = MAX_CAUSES
    for number, name in enumerate(names):
        bits = causes[number]
        if number in again or not (bits or number in outdated):
            continue
        shown = tuple(names[cause] for cause in _lowest(bits, max(1, room)))
        room -= len(shown)
        yield Stale(name, shown, bits.bit_count() - len(shown), number in outdated)


def _lowest(bits: int, most: int) -> Iterator[int]:
    """Return the numbers of the lowest bits that are set, at most so many."""
    text = f"{bits:b}"[::-1]
    found = text.find("1")
    while found >= 0 and most > 0:
        yield found
        most -= 1
        found = text.find("1", found + 1)
