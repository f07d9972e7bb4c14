"""A step, and what it is given when it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from typing_extensions import TypeVar as TypeVarWithDefault

from zart.calls.payload import UNSET
from zart.json_values import value_of
from zart.log_lines import names_taken, tell_unwritten
from zart.models import Json, StepSpec

if TYPE_CHECKING:  # `import zart` loads no proto
    from zart.v1.dispatch_service_pb2 import LeasedTask

T = TypeVar("T")
D = TypeVar("D")
T_co = TypeVar("T_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)
Payload = TypeVarWithDefault("Payload", default=Any)
Payload_co = TypeVarWithDefault("Payload_co", covariant=True, default=Any)


class StepContext(Generic[Payload_co]):
    """What a step is given: its input, its position, and its dependencies' results.

    ``StepContext[Order]`` says of which type the payload is; nothing checks that it is.

    A step may run more than once. ``idempotency_key`` is the same in every attempt: hand it to
    whatever must not happen twice. It is another one once an operator has corrected the input. JSON
    is parsed when it is first asked for.
    """

    __slots__ = ("_begun_at", "_cancelled", "_input", "_payload", "_results", "_task")

    def __init__(self, task: LeasedTask, begun_at: datetime) -> None:
        self._task = task
        self._begun_at = begun_at
        self._payload: Json = UNSET
        self._input: Json = UNSET
        self._results: dict[str, Json] = {}
        self._cancelled = False

    def __repr__(self) -> str:
        return f"<StepContext {self.idempotency_key} attempt {self.attempt}>"

    @property
    def execution_id(self) -> str:
        """The execution's name."""
        return self._task.execution_id

    @property
    def run_id(self) -> str:
        """The run's name."""
        return self._task.run_id

    @property
    def run_number(self) -> int:
        """The run's number, from 0."""
        return self._task.run_number

    @property
    def step_name(self) -> str:
        """The step's name."""
        return self._task.step_name

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self._task.attempt

    @property
    def max_attempts(self) -> int:
        """How many attempts may count before the step is dead."""
        return self._task.max_attempts

    @property
    def payload(self) -> Payload_co:
        """The run's payload; None where it has none."""
        if self._payload is UNSET:
            has = self._task.HasField("payload_json")
            self._payload = value_of(self._task.payload_json) if has else None
        found: Payload_co = self._payload
        return found

    @property
    def input(self) -> Json:
        """The step's constant input, as an operator corrected it, if one did; None: none."""
        if self._input is UNSET:
            has = self._task.HasField("input_json")
            self._input = value_of(self._task.input_json) if has else None
        return self._input

    @property
    def deadline(self) -> datetime:
        """When the attempt's time is up, by this machine's clock."""
        return self._begun_at + self._task.timeout.ToTimedelta()

    @property
    def idempotency_key(self) -> str:
        """``run_id/step_name``; of a corrected input with the number of the correction behind."""
        return self._task.idempotency_key or f"{self.run_id}/{self.step_name}"

    @property
    def cancelled(self) -> bool:
        """True if the result is no longer wanted: the lease was lost or the time is up.

        A step in a plain function should look now and then, and return.
        """
        return self._cancelled

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry execution_id, run_number, step_name and attempt.

        They have a line's own ``extra`` besides; these four stand, whatever it says of them.
        """
        names = ("execution_id", "run_number", "step_name", "attempt")
        extra = {name: getattr(self, name) for name in names}
        return _OfTheAttempt(logging.getLogger("zart.step"), extra)

    @overload
    def result_of(self, step: Step[T, Any]) -> T: ...
    @overload
    def result_of(self, step: Step[T, Any], default: D) -> T | D: ...
    @overload
    def result_of(self, step: str, default: Json = ...) -> Json: ...
    def result_of(self, step: Step[Any, Any] | str, default: Json = UNSET) -> Json:
        """Return the result of a direct dependency. Raises LookupError for any other step.

        One that an operator skipped has none: that gives ``default``, or raises StepSkipped.
        """
        name = self._dependency(step)
        if name in self._task.upstream_skipped:
            if default is UNSET:
                from zart.errors import StepSkipped  # noqa: PLC0415 - it loads grpc

                raise StepSkipped(name)
            return default
        if name not in self._results:
            self._results[name] = value_of(self._task.upstream_json[name])
        return self._results[name]

    def skipped(self, step: Step[Any, Any] | str) -> bool:
        """Return whether an operator skipped a direct dependency, so that it has no result.

        Raises LookupError for any other step.
        """
        return self._dependency(step) in self._task.upstream_skipped

    def _dependency(self, step: Step[Any, Any] | str) -> str:
        name = step if isinstance(step, str) else step.name
        texts = self._task.upstream_json
        if name not in self._results and name not in texts:
            known = ", ".join(sorted({*self._results, *texts})) or "nothing"
            raise LookupError(
                f"{self.step_name!r} does not depend on {name!r} (it depends on {known})"
            )
        return name


class _OfTheAttempt(logging.LoggerAdapter[logging.Logger]):
    """Adds the fields of an attempt to those of a line, which an adapter as it is would drop.

    A field that has a name of logging's own, or one that this process gives each line, gets a ``_``
    behind it. No line may fail a step: why one could not be logged is told on standard error.
    """

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - as logging has it
        """Log a line, as all methods do."""
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1  # whoever calls this, not this
        try:
            super().log(level, msg, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - of whatever this process logs with
            tell_unwritten(error)

    def process(
        self,
        msg: Any,  # noqa: ANN401 - as logging has it
        kwargs: MutableMapping[str, Any],
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Return a line's message and arguments."""
        given = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        taken = names_taken()
        kwargs["extra"] = {f"{name}_" if name in taken else name: given[name] for name in given}
        return msg, kwargs


class Step(Generic[T_co, R_co]):
    """One step of a task; calling it calls the function it was made of.

    ``T_co`` is the type of its result, ``R_co`` of what calling it gives: that, or its coroutine.
    """

    def __init__(
        self, function: Callable[[StepContext[Any]], R_co], spec: StepSpec, *, is_async: bool
    ) -> None:
        self.function = function
        self.spec = spec
        self.is_async = is_async
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", spec.step_name)

    def __call__(self, ctx: StepContext[Any]) -> R_co:
        """Run the function, as in a unit test."""
        return self.function(ctx)

    def __repr__(self) -> str:
        return f"<Step {self.name!r}>"

    @property
    def name(self) -> str:
        """The step's name."""
        return self.spec.step_name
