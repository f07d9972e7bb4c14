"""The states of things and other closed sets, as enums with a value for what is not known."""

from __future__ import annotations

import enum


class _Choice(enum.StrEnum):
    @classmethod
    def _missing_(cls, value: object) -> enum.StrEnum | None:
        """Take a name in whatever case for what it is."""
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


class _Status(_Choice):
    @classmethod
    def _missing_(cls, value: object) -> enum.StrEnum:
        """Take a value that a newer server sends for what it is: not known here."""
        return super()._missing_(value) or cls["UNSPECIFIED"]


class RunStatus(_Status):
    """The state of a run."""

    UNSPECIFIED = "UNSPECIFIED"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_finished(self) -> bool:
        """True if nothing more happens in the run without an operation."""
        return self in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}


class RunTrigger(_Status):
    """What created a run."""

    UNSPECIFIED = "UNSPECIFIED"
    INITIAL = "INITIAL"
    RESTART = "RESTART"
    SELECTIVE_RERUN = "SELECTIVE_RERUN"


class StepStatus(_Status):
    """The state of a step."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    SCHEDULED = "SCHEDULED"
    PAUSED = "PAUSED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


class StepResolution(_Status):
    """Who completed a step; UNSPECIFIED where it is not completed."""

    UNSPECIFIED = "UNSPECIFIED"
    EXECUTED = "EXECUTED"
    COMPLETED_BY_OPERATOR = "COMPLETED_BY_OPERATOR"
    SKIPPED_BY_OPERATOR = "SKIPPED_BY_OPERATOR"


class AttemptStatus(_Status):
    """How an attempt stands or ended."""

    UNSPECIFIED = "UNSPECIFIED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TIMED_OUT = "TIMED_OUT"
    LOST = "LOST"
    RELEASED = "RELEASED"
    ABANDONED = "ABANDONED"


class PauseRuleStatus(_Status):
    """The state of a pause rule."""

    UNSPECIFIED = "UNSPECIFIED"
    ACTIVE = "ACTIVE"
    RESUMED = "RESUMED"
    EXPIRED = "EXPIRED"
    RELEASING = "RELEASING"


class BatchStatus(_Status):
    """The state of a batch."""

    UNSPECIFIED = "UNSPECIFIED"
    PREPARING = "PREPARING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"


class BatchPauseCause(_Status):
    """Why a batch is paused."""

    UNSPECIFIED = "UNSPECIFIED"
    OPERATOR = "OPERATOR"
    CANARY = "CANARY"
    MAX_FAILURES = "MAX_FAILURES"


class BatchItemStatus(_Status):
    """What became of an item of a batch."""

    UNSPECIFIED = "UNSPECIFIED"
    PENDING = "PENDING"
    DONE = "DONE"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"


class BreakerStatus(_Status):
    """The state of a breaker."""

    UNSPECIFIED = "UNSPECIFIED"
    CLOSED = "CLOSED"
    OPEN = "OPEN"
    HALF_OPEN = "HALF_OPEN"


class ReportStatus(_Status):
    """What became of a reported outcome."""

    UNSPECIFIED = "UNSPECIFIED"
    RECORDED = "RECORDED"
    ALREADY_RECORDED = "ALREADY_RECORDED"
    LEASE_LOST = "LEASE_LOST"
    REJECTED = "REJECTED"


class CauseKind(_Status):
    """What kind of thing keeps a step from being completed."""

    UNSPECIFIED = "UNSPECIFIED"
    DEPENDENCIES = "DEPENDENCIES"
    DEAD_DEPENDENCY = "DEAD_DEPENDENCY"
    PAUSE_RULE = "PAUSE_RULE"
    RELEASE_QUEUE = "RELEASE_QUEUE"
    BACKOFF = "BACKOFF"
    NO_DISPATCHER = "NO_DISPATCHER"
    QUEUED_BEHIND = "QUEUED_BEHIND"
    RUNNING = "RUNNING"
    IN_DOUBT = "IN_DOUBT"
    RUN_ENDED = "RUN_ENDED"
    DEAD = "DEAD"


class OperationKind(_Status):
    """What an operation did."""

    UNSPECIFIED = "UNSPECIFIED"
    START = "START"
    RETRY_STEP = "RETRY_STEP"
    RESTART = "RESTART"
    RERUN = "RERUN"
    CANCEL = "CANCEL"
    PAUSE = "PAUSE"
    RESUME = "RESUME"
    EXPIRE = "EXPIRE"
    REGISTER_TASK = "REGISTER_TASK"
    COMPLETE_STEP = "COMPLETE_STEP"
    FAIL_STEP = "FAIL_STEP"
    UPDATE_PAUSE_RULE = "UPDATE_PAUSE_RULE"
    DRAIN = "DRAIN"
    CREATE_BREAKER = "CREATE_BREAKER"
    UPDATE_BREAKER = "UPDATE_BREAKER"
    DELETE_BREAKER = "DELETE_BREAKER"
    BREAKER_OPENED = "BREAKER_OPENED"
    BREAKER_HALF_OPENED = "BREAKER_HALF_OPENED"
    BREAKER_CLOSED = "BREAKER_CLOSED"
    CREATE_BATCH = "CREATE_BATCH"
    UPDATE_BATCH = "UPDATE_BATCH"
    PAUSE_BATCH = "PAUSE_BATCH"
    RESUME_BATCH = "RESUME_BATCH"
    CANCEL_BATCH = "CANCEL_BATCH"
    STOP_RELEASE = "STOP_RELEASE"
    RESOLVE_IN_DOUBT = "RESOLVE_IN_DOUBT"
    RELEASE_END = "RELEASE_END"
    SET_RETENTION = "SET_RETENTION"
    UNSET_RETENTION = "UNSET_RETENTION"
    PURGE = "PURGE"


class ReceiptGap(_Status):
    """Why nobody can know whether a pause rule held.

    MAY_LACK_COMMITS: the database was restored, or failed over to another PostgreSQL, while the
    rule stood.
    """

    UNSPECIFIED = "UNSPECIFIED"
    RUNS_PURGED = "RUNS_PURGED"
    OLDER_SERVER = "OLDER_SERVER"
    MAY_LACK_COMMITS = "MAY_LACK_COMMITS"


class WarningKind(_Status):
    """What a warning is about."""

    UNSPECIFIED = "UNSPECIFIED"
    MATCHES_NOTHING = "MATCHES_NOTHING"
    EQUAL_RULE = "EQUAL_RULE"


class WatchUntil(_Choice):
    """How long a pause rule or a batch is watched: until it is drained, or until it has ended."""

    DRAINED = "DRAINED"
    ENDED = "ENDED"


class OperationStatus(_Status):
    """What became of an operation."""

    UNSPECIFIED = "UNSPECIFIED"
    DONE = "DONE"
    PLANNED = "PLANNED"
    REFUSED = "REFUSED"


class IfRunning(_Choice):
    """What to do when the current run is unfinished."""

    SUPERSEDE = "SUPERSEDE"
    FAIL = "FAIL"


class IfInDoubt(_Status):
    """What becomes of a step when nobody knows whether an attempt of it had its effect."""

    UNSPECIFIED = "UNSPECIFIED"
    RETRY = "RETRY"
    STOP = "STOP"


class InDoubtFinding(_Status):
    """What was found out about an attempt in doubt."""

    UNSPECIFIED = "UNSPECIFIED"
    HAPPENED = "HAPPENED"
    DID_NOT_HAPPEN = "DID_NOT_HAPPEN"


class IfExists(_Choice):
    """What to do when the execution id is taken."""

    FAIL = "FAIL"
    RETURN = "RETURN"
