"""What a call can be refused with: one class per reason of the contract.

::

    ZartError
    ├── Unreachable            no server answered, or not in time: the outcome is unknown
    ├── ClientClosed           the call was not sent: its client had been closed
    ├── RunFailed              the run waited for ended FAILED or CANCELLED
    ├── StepSkipped            a handler asks for the result of a step that was skipped
    ├── PauseViolated          a receipt lists what was leased though a pause rule withheld it
    ├── PauseUnproven          a receipt is not complete: whether the pause held is not known
    ├── NotPlanned             asked for a plan, an older server may have done it
    └── Refused                the server said no, and why
        ├── NotFound           something that the request names is not there
        │   ├── ExecutionNotFound  RunNotFound  TaskDefinitionNotFound  ErrorGroupNotFound
        │   ├── StepNotFound       AttemptNotFound
        │   ├── PauseRuleNotFound  BreakerNotFound
        │   └── BatchNotFound
        ├── ExecutionExists    RunNotCurrent    RunChanged        RunActive      RunFinished
        │   NothingToRerun
        ├── StepNotDead        StepFinished     StepRunning       StepChanged    StepInDoubt
        │   NotInDoubt
        ├── RuleNotActive      RuleReleasing    RuleNotReleasing  NothingPaused  RulesAmbiguous
        │   ScopeMatchesNothing
        ├── BatchFinished      NothingSelected
        ├── InvalidField       a field of the request cannot be right
        │   └── UnknownField   FilterTooBroad
        ├── PayloadTooLarge    TooManyItems     RequestIdReused   PlanChanged    UnknownMethod
        ├── MissingCredentials InvalidCredentials                 RoleRequired
        ├── StoreConflict      InternalError
        └── Unavailable        the server could not finish
            └── OperationTimeout   StoreUnavailable  ShuttingDown  ServerBusy  KeysUnavailable

What is on one line stands in one module of this package; callers know all of it as
``zart.errors.X``.

After ``Unreachable`` and ``Unavailable`` a mutation may have happened: repeating it with the same
``request_id`` tells which, and does it once.
"""

from __future__ import annotations

from zart.errors.base import NotFound, Refused, ZartError
from zart.errors.batches import BatchFinished, BatchNotFound, NothingSelected
from zart.errors.callers import InvalidCredentials, MissingCredentials, RoleRequired
from zart.errors.executions import (
    ErrorGroupNotFound,
    ExecutionExists,
    ExecutionNotFound,
    NothingToRerun,
    RunActive,
    RunChanged,
    RunFinished,
    RunNotCurrent,
    RunNotFound,
    TaskDefinitionNotFound,
)
from zart.errors.from_server import BY_REASON, from_call, from_status
from zart.errors.pauses import (
    BreakerNotFound,
    NothingPaused,
    PauseRuleNotFound,
    RuleNotActive,
    RuleNotReleasing,
    RuleReleasing,
    RulesAmbiguous,
    ScopeMatchesNothing,
)
from zart.errors.requests import (
    FilterTooBroad,
    InvalidField,
    PayloadTooLarge,
    PlanChanged,
    RequestIdReused,
    TooManyItems,
    UnknownField,
    UnknownMethod,
)
from zart.errors.serving import (
    InternalError,
    KeysUnavailable,
    OperationTimeout,
    ServerBusy,
    ShuttingDown,
    StoreConflict,
    StoreUnavailable,
    Unavailable,
)
from zart.errors.steps import (
    AttemptNotFound,
    NotInDoubt,
    StepChanged,
    StepFinished,
    StepInDoubt,
    StepNotDead,
    StepNotFound,
    StepRunning,
)
from zart.errors.unrefused import (
    ClientClosed,
    NotPlanned,
    PauseUnproven,
    PauseViolated,
    RunFailed,
    StepSkipped,
    Unreachable,
)

__all__ = [
    "BY_REASON",
    "AttemptNotFound",
    "BatchFinished",
    "BatchNotFound",
    "BreakerNotFound",
    "ClientClosed",
    "ErrorGroupNotFound",
    "ExecutionExists",
    "ExecutionNotFound",
    "FilterTooBroad",
    "InternalError",
    "InvalidCredentials",
    "InvalidField",
    "KeysUnavailable",
    "MissingCredentials",
    "NotFound",
    "NotInDoubt",
    "NotPlanned",
    "NothingPaused",
    "NothingSelected",
    "NothingToRerun",
    "OperationTimeout",
    "PauseRuleNotFound",
    "PauseUnproven",
    "PauseViolated",
    "PayloadTooLarge",
    "PlanChanged",
    "Refused",
    "RequestIdReused",
    "RoleRequired",
    "RuleNotActive",
    "RuleNotReleasing",
    "RuleReleasing",
    "RulesAmbiguous",
    "RunActive",
    "RunChanged",
    "RunFailed",
    "RunFinished",
    "RunNotCurrent",
    "RunNotFound",
    "ScopeMatchesNothing",
    "ServerBusy",
    "ShuttingDown",
    "StepChanged",
    "StepFinished",
    "StepInDoubt",
    "StepNotDead",
    "StepNotFound",
    "StepRunning",
    "StepSkipped",
    "StoreConflict",
    "StoreUnavailable",
    "TaskDefinitionNotFound",
    "TooManyItems",
    "Unavailable",
    "UnknownField",
    "UnknownMethod",
    "Unreachable",
    "ZartError",
    "from_call",
    "from_status",
]

# Tracebacks, logs and pickles name them as callers do, whichever module they are in.
for _kind in tuple(globals().values()):
    if isinstance(_kind, type):
        _kind.__module__ = __name__
