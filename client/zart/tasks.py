"""Tasks and their steps, declared with decorators."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from typing import Any, Generic, TypeVar, cast, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from zart.calls.several import several
from zart.models import IfInDoubt, Json, Retry, StepSpec
from zart.step_context import Payload, Step, StepContext

T = TypeVar("T")
Result = TypeVarWithDefault("Result", default=Any)

_ONCE = Retry(max_attempts=1)


class StepFailed(Exception):
    """A step says that it failed; ``retryable=False`` makes it DEAD at once.

    ``retry_after`` (seconds or a timedelta, 366 days at most) goes before the retry policy's
    backoff.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = True,
        retry_after: float | timedelta | None = None,
        details: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.details = details


class _Decorator(Generic[Payload]):
    """Makes steps of functions."""

    def __init__(
        self, make: Callable[[Callable[[StepContext[Payload]], Any]], Step[Any, Any]]
    ) -> None:
        self._make = make

    @overload
    def __call__(
        self, function: Callable[[StepContext[Payload]], Coroutine[Any, Any, T]]
    ) -> Step[T, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(self, function: Callable[[StepContext[Payload]], T]) -> Step[T, T]: ...
    def __call__(self, function: Callable[[StepContext[Payload]], Any]) -> Step[Any, Any]:
        return self._make(function)


class Task(Generic[Payload, Result]):
    """A kind of job: a name and a graph of steps.

    ``zart.Task[Order, str]("order")`` says of which types its payload and its result are, for
    type checkers: steps take a ``zart.StepContext[Order]``, ``handle.result()`` gives a ``str``.
    ``sequential``: a step without depends_on follows the one declared before it.
    """

    def __init__(self, name: str, *, sequential: bool = False) -> None:
        self.name = name
        self.sequential = sequential
        self.steps: dict[str, Step[Any, Any]] = {}

    def __repr__(self) -> str:
        return f"<Task {self.name!r}: {', '.join(self.steps)}>"

    def step(
        self,
        *,
        name: str = "",
        depends_on: Iterable[Step[Any, Any] | str] | None = None,
        retry: Retry | None = None,
        timeout: float | timedelta = 600.0,
        input: Json = None,  # noqa: A002 - the contract's name
        once: bool = False,
    ) -> _Decorator[Payload]:
        """Declare a step: ``@task.step(depends_on=[other])``.

        Its name is the function's, with dashes, unless one is given. ``timeout`` (seconds or a
        timedelta) bounds each attempt, from the call of its function; the server ends it one lease
        later at the latest. ``once``: for what must not happen twice. If nobody can tell whether an
        attempt had its effect, the step is DEAD and in doubt, and is run again only if an operator
        says so; it has one attempt, unless ``retry`` says otherwise. Raises ValueError for a name
        taken twice or a dependency that is not declared before, TypeError for one name alone as
        ``depends_on``.
        """
        given = None if depends_on is None else list(several(depends_on))

        def make(function: Callable[[StepContext[Payload]], Any]) -> Step[Any, Any]:
            step_name = name or function.__name__.replace("_", "-")
            if step_name in self.steps:
                raise ValueError(f"task {self.name!r} has two steps {step_name!r}")
            spec = StepSpec(
                step_name,
                self._dependencies(step_name, given),
                "",
                input,
                retry or (_ONCE if once else Retry()),
                timeout,
                IfInDoubt.STOP if once else IfInDoubt.RETRY,
            )
            step: Step[Any, Any] = Step(function, spec, is_async=_is_async(function))
            self.steps[step_name] = step
            return step

        return _Decorator(make)

    def _dependencies(
        self, step_name: str, given: list[Step[Any, Any] | str] | None
    ) -> tuple[str, ...]:
        if given is None:
            return (next(reversed(self.steps)),) if self.sequential and self.steps else ()
        names = tuple(step if isinstance(step, str) else step.name for step in given)
        for dependency in names:
            if dependency not in self.steps:
                raise ValueError(
                    f"step {step_name!r} depends on {dependency!r}, which task {self.name!r}"
                    " has not declared before it"
                )
        return names

    @property
    def specs(self) -> tuple[StepSpec, ...]:
        """The graph, as it is registered."""
        return tuple(step.spec for step in self.steps.values())


def _is_async(function: Callable[..., Any]) -> bool:
    import inspect  # noqa: PLC0415 - heavy, and only dispatchers declare steps

    call = cast("Any", getattr(function, "__call__", None))  # noqa: B004 - of callable objects
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
