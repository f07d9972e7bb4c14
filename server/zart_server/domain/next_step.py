"""Says what is to be done about a step, or what happens by itself, and with which command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zart_server.domain.causes import Cause, CauseKind, Next
from zart_server.domain.known_step import KnownBreaker, KnownRule, KnownRun, KnownStep
from zart_server.domain.waiting import letting_go, moment


def next_of(run: KnownRun, step: KnownStep, causes: Sequence[Cause]) -> Next:
    """Say what is to be done first: about the first cause."""
    if not causes:
        return Next("Nothing is to be done: it is completed.")
    return _BY_KIND[causes[0].kind](run, step, causes[0])


def _command(verb: str, *arguments: str) -> tuple[str, ...]:
    """Return the argv of a command of zart; no argument, being callers' text, is an option."""
    guard = ["--"] if any(argument.startswith("-") for argument in arguments) else []
    return ("zart", verb, *guard, *arguments)


def _run_ended(run: KnownRun, _step: KnownStep, _cause: Cause) -> Next:
    if not run.is_current:
        return Next(
            f"Nothing more happens in run {run.run_number}:"
            f" look at run {run.current_run_number}, the current one.",
            _command("why", run.execution_id),
        )
    if run.in_doubt:
        return _look_at_doubt(run, "Before it is run again, find out what may have happened.")
    if run.happened:
        return Next(
            f"A step of it has happened, {min(run.happened)}:"
            " rerun it with --accept-in-doubt if that may happen twice.",
            _command("status", run.execution_id),
        )
    return Next(
        "Rerun the execution, if it is to go on: what is completed is kept.",
        _command("rerun", run.execution_id),
    )


def _in_doubt(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    find_out = f"Find out whether {step.step_name} happened"
    if run.is_over:
        return _look_at_doubt(run, f"{find_out}, and resolve that.")
    if step.doubt is not None and step.doubt.late_result is not None:
        sentence = "Its dispatcher told later that it completed: complete it by hand with that."
        return _complete(run, step, sentence, step.doubt.late_result)
    return _look_at_doubt(
        run,
        f"{find_out}: if so, complete it by hand with what it returned; if not, resolve that and"
        " retry it, or retry it with --accept-in-doubt if it may happen twice.",
    )


def _complete(run: KnownRun, step: KnownStep, sentence: str, result: str) -> Next:
    verb, *arguments = _command("complete-step", run.execution_id, step.step_name)[1:]
    return Next(sentence, ("zart", verb, f"--result={result}", *arguments))


def _look_at_doubt(run: KnownRun, sentence: str) -> Next:
    return Next(sentence, ("zart", "in-doubt", f"--id-prefix={run.execution_id}"))


def _dead(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    if step.doubt is not None and step.doubt.happened:
        sentence = "It has happened: complete it by hand with what it returned."
        if step.doubt.late_result is not None:
            return _complete(run, step, sentence, step.doubt.late_result)
        return Next(sentence, _command("status", run.execution_id, step.step_name))
    rules = len(step.holding) + step.more_rules
    if rules:
        word = "a pause rule withholds" if rules == 1 else f"{rules} pause rules withhold"
        paused = f"; it is paused then, for {word} it"
    else:
        paused = ""
    return Next(
        f"Retry it once what made it fail is mended{paused}. Or complete it by hand.",
        _command("retry-step", run.execution_id, step.step_name),
    )


def _dead_dependency(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    dead = step.dead[0]
    if dead in run.in_doubt:
        sentence = f"Find out whether {dead}, which is dead, happened: complete or resolve that."
        return _look_at_doubt(run, sentence)
    if dead in run.happened:
        sentence = f"Complete {dead} by hand, which is dead and has happened."
        return Next(sentence, _command("why", run.execution_id, dead))
    return Next(
        f"Retry {dead}, which is dead, once what made it fail is mended. Or complete it by hand.",
        _command("retry-step", run.execution_id, dead),
    )


def _dependencies(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    return Next(
        "It goes on by itself once they are completed:"
        f" look at {step.first}, which is to end first.",
        _command("why", run.execution_id, step.first),
    )


def _pause_rule(_run: KnownRun, step: KnownStep, cause: Cause) -> Next:
    rules = len(step.holding) + step.more_rules
    by = [held.rule for held in step.holding if held.rule.rule_id == cause.rule_id]
    breaker = by[0].breaker if by else None
    if rules > 1:
        sentence = f"It goes on once all {rules} pause rules that match it have let it go"
        if step.more_rules:
            sentence += f", {step.more_rules} of which are not listed here"
    elif breaker is not None:
        return Next(*_by_breaker(breaker))
    else:
        sentence = "It goes on once its pause rule is resumed"
        sentence += _by_itself(by[0]) if by else ""
    if breaker is not None:
        return Next(f"{sentence}.", _by_breaker(breaker)[1])
    return Next(f"{sentence}.", ("zart", "resume", "--rule-id", cause.rule_id))


def _by_itself(rule: KnownRule) -> str:
    """Say what a rule does by itself, and when, as the end of a sentence."""
    if rule.ends_at is not None:
        return f", or ends by itself at {moment(rule.ends_at)}"
    return f", or {letting_go(*rule.lets_go)}" if rule.lets_go is not None else ""


def _by_breaker(breaker: KnownBreaker) -> tuple[str, tuple[str, ...]]:
    """Say how steps of a breaker go on: to end its rule by hand would let all go at once."""
    show = _command("breaker", "show", breaker.breaker_id)
    if breaker.is_trying:
        return "It goes on by itself once the steps that its breaker lets try are completed.", show
    if breaker.tries_at is not None:
        when = moment(breaker.tries_at)
        return (
            f"It goes on by itself once steps that its breaker lets try at {when} are completed.",
            show,
        )
    reset = _command("breaker", "reset", breaker.breaker_id)
    return "It goes on once its breaker is reset: that has no cooldown.", reset


def _release(_run: KnownRun, _step: KnownStep, cause: Cause) -> Next:
    when = f", at about {moment(cause.until)}" if cause.until else ""
    return Next(f"It is let go in its turn{when}.", _command("rules"))


def _no_dispatcher(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    return Next(
        f"Start a dispatcher of task {run.task_name} that has the handler {step.handler}.",
        _command("tasks"),
    )


def _backoff(run: KnownRun, step: KnownStep, cause: Cause) -> Next:
    when = f" at {moment(cause.until)}" if cause.until else ""
    return Next(
        f"It is tried again by itself{when}: look how its attempts ended.",
        _command("status", run.execution_id, step.step_name),
    )


def _queued(run: KnownRun, _step: KnownStep, cause: Cause) -> Next:
    sentence = "The next dispatcher with a free slot takes it."
    if cause.ahead:
        sentence = "It is taken in its turn: more dispatchers, or more slots, make that sooner."
    return Next(sentence, _command("watch", run.execution_id))


def _running(run: KnownRun, step: KnownStep, _cause: Cause) -> Next:
    sentence = "It ends by itself: its lease is extended as long as its dispatcher lives."
    if step.lease_expires_at is not None and step.lease_expires_at < run.now:
        then = "repeated"
        if step.stops:
            then = "is then in doubt: it is not repeated"
        elif step.counted + 1 >= step.max_attempts:
            then = "the step is then dead: it was the last one"
        sentence = f"Its lease has ended: the attempt is about to be taken for lost, and {then}."
    return Next(sentence, _command("watch", run.execution_id))


_BY_KIND: Mapping[CauseKind, Callable[[KnownRun, KnownStep, Cause], Next]] = {
    CauseKind.RUN_ENDED: _run_ended,
    CauseKind.IN_DOUBT: _in_doubt,
    CauseKind.DEAD: _dead,
    CauseKind.DEAD_DEPENDENCY: _dead_dependency,
    CauseKind.DEPENDENCIES: _dependencies,
    CauseKind.PAUSE_RULE: _pause_rule,
    CauseKind.RELEASE_QUEUE: _release,
    CauseKind.NO_DISPATCHER: _no_dispatcher,
    CauseKind.BACKOFF: _backoff,
    CauseKind.QUEUED_BEHIND: _queued,
    CauseKind.RUNNING: _running,
}
