"""Every way an operation can be refused: one class per reason of the contract.

::

    ZartError
    ├── NotFound               something that the request names is not there
    │   ├── ExecutionNotFound  RunNotFound  TaskDefinitionNotFound  ErrorGroupNotFound
    │   ├── StepNotFound       AttemptNotFound
    │   ├── PauseRuleNotFound  BreakerNotFound
    │   └── BatchNotFound
    ├── ExecutionExists     RunNotCurrent       RunChanged        RunActive      RunFinished
    │   NothingToRerun
    ├── StepNotDead         StepFinished        StepRunning       StepChanged    StepInDoubt
    │   NotInDoubt
    ├── RuleNotActive       RuleReleasing       RuleNotReleasing  NothingPaused  RulesAmbiguous
    │   ScopeMatchesNothing
    ├── BatchFinished       NothingSelected
    ├── InvalidField           a field of the request cannot be right
    │   ├── UnknownField       or this server does not know it
    │   └── FilterTooBroad     or it has to be set beside others
    ├── PayloadTooLarge     TooManyItems        RequestIdReused   PlanChanged    UnknownMethod
    ├── Unauthenticated        the server does not know who calls
    │   └── MissingCredentials  InvalidCredentials
    ├── RoleRequired
    ├── StoreConflict          whatever got in the way, a new transaction may succeed
    │   └── PauseRulesChanged
    └── OperationTimeout    StoreUnavailable    ShuttingDown      ServerBusy     KeysUnavailable

What is on one line stands in one module, named after what the errors are about; the module of
``zart.errors`` with their twins bears the same name. ``reason`` is the ErrorInfo reason,
``metadata`` holds every value that the message names. ``api.errors`` maps each class to a gRPC
status; nothing else chooses one.
"""

from __future__ import annotations

from zart_server.domain.errors.base import MAX_MESSAGE, MAX_VALUE, NotFound, ZartError, cut
from zart_server.domain.errors.batches import BatchFinished, BatchNotFound, NothingSelected
from zart_server.domain.errors.callers import (
    InvalidCredentials,
    MissingCredentials,
    RoleRequired,
    Unauthenticated,
)
from zart_server.domain.errors.executions import (
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
from zart_server.domain.errors.pauses import (
    BreakerNotFound,
    NothingPaused,
    PauseRuleNotFound,
    RuleNotActive,
    RuleNotReleasing,
    RuleReleasing,
    RulesAmbiguous,
    ScopeMatchesNothing,
)
from zart_server.domain.errors.requests import (
    SHOWN,
    FilterTooBroad,
    InvalidField,
    PayloadTooLarge,
    PlanChanged,
    RequestIdReused,
    TooManyItems,
    UnknownField,
    UnknownMethod,
)
from zart_server.domain.errors.serving import (
    KeysUnavailable,
    OperationTimeout,
    PauseRulesChanged,
    ServerBusy,
    ShuttingDown,
    StoreConflict,
    StoreUnavailable,
)
from zart_server.domain.errors.steps import (
    AttemptNotFound,
    NotInDoubt,
    StepChanged,
    StepFinished,
    StepInDoubt,
    StepNotDead,
    StepNotFound,
    StepRunning,
)

__all__ = [
    "MAX_MESSAGE",
    "MAX_VALUE",
    "SHOWN",
    "AttemptNotFound",
    "BatchFinished",
    "BatchNotFound",
    "BreakerNotFound",
    "ErrorGroupNotFound",
    "ExecutionExists",
    "ExecutionNotFound",
    "FilterTooBroad",
    "InvalidCredentials",
    "InvalidField",
    "KeysUnavailable",
    "MissingCredentials",
    "NotFound",
    "NotInDoubt",
    "NothingPaused",
    "NothingSelected",
    "NothingToRerun",
    "OperationTimeout",
    "PauseRuleNotFound",
    "PauseRulesChanged",
    "PayloadTooLarge",
    "PlanChanged",
    "RequestIdReused",
    "RoleRequired",
    "RuleNotActive",
    "RuleNotReleasing",
    "RuleReleasing",
    "RulesAmbiguous",
    "RunActive",
    "RunChanged",
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
    "StoreConflict",
    "StoreUnavailable",
    "TaskDefinitionNotFound",
    "TooManyItems",
    "Unauthenticated",
    "UnknownField",
    "UnknownMethod",
    "ZartError",
    "cut",
]
