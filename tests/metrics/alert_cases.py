"""What makes each alert fire, as promtool plays it: series by the minute, and when it is looked at.

Each is looked at twice: a minute before its time it is silent.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """Series with their values, and the first minute at which it fires.

    ``interval`` is from one value to the next: a minute, where looks back are over several.
    ``also`` are series that fire it as well, as some that there are only once something was counted.
    With each of ``never`` it is silent then, too.
    """

    series: dict[str, str]
    fires_at: int
    labels: dict[str, str]
    also: dict[str, str] | None = None
    never: tuple[dict[str, str], ...] = ()
    interval: str = "1m"


_ON = {"instance": "i"}
_T = {"task": "t"}
_CALLS = 'zart_calls_total{{instance="i",method="m",code="{code}",reason="{reason}"}}'
_OK = _CALLS.format(code="OK", reason="")
_FULL = _CALLS.format(code="UNAVAILABLE", reason="STORE_UNAVAILABLE")
_SLOW = _CALLS.format(code="DEADLINE_EXCEEDED", reason="OPERATION_TIMEOUT")
_BEGAN = 'process_start_time_seconds{{job="zart",instance="{}"}}'
_READY = 'zart_dispatcher_ready{instance="i"}'
_FAILURES = 'zart_background_failures_total{{instance="i",loop="{loop}",kind="{kind}"}}'
_RUNNING = "0+60x40"  # one a second
_RESUMED = {
    'zart_oldest_ready_step_age_seconds{task="t"}': "0x5 7200x40",
    'zart_steps{task="t",status="paused"}': "5000x5 stale",
}
_RELEASE = 'zart_release_steps{{rule="r",state="{}"}}'
_BATCH = 'zart_batch_items{{batch="b",status="{}"}}'
_OUTCOMES = 'zart_dispatcher_{}{{instance="i"}}'

CASES: dict[str, Case] = {
    "ZartProcessDown": Case({'up{job="zart",instance="i"}': "0x40"}, 2, {"job": "zart", **_ON}),
    "ZartProcessRestarts": Case(
        # It lives for five minutes at a time, and is gone for one.
        {_BEGAN.format("i"): "1x4 stale 2x4 stale 3x4 stale 4x4 stale 5x40"},
        24,
        {"job": "zart", **_ON},
        never=(
            # Each of three processes begins anew at its address, one of them twice; a new one comes.
            {
                _BEGAN.format("i"): "1x9 stale 2x4 stale 3x40",
                _BEGAN.format("j"): "1x10 2x40",
                _BEGAN.format("k"): "1x11 stale",
                _BEGAN.format("l"): "_x12 2x40",
            },
            # It is no process of zart's.
            {'process_start_time_seconds{job="other",instance="i"}': "0+1x40"},
        ),
    ),
    "ZartServerProcessSilent": Case(
        {
            'zart_process_up{instance="i",process="0"}': "1x40",
            'zart_process_up{instance="i",process="1"}': "0x40",
        },
        2,
        {**_ON, "process": "1"},
    ),
    "ZartNoServer": Case(
        {'zart_build_info{component="server"}': "1x3 stale"}, 9, {"component": "server"}
    ),
    "ZartDatabaseDown": Case({'zart_database_up{instance="i"}': "0x40"}, 1, _ON),
    "ZartDatabaseNotRead": Case(
        {
            'zart_database_up{instance="i",process="0"}': "1x40",
            'zart_database_up{instance="i",process="1"}': "1x40",
            'zart_reading_age_seconds{instance="i",process="1"}': "3x40",
        },
        5,
        {**_ON, "process": "0"},
        # A server of one process has no such label.
        never=(
            {
                'zart_database_up{instance="i"}': "1x40",
                'zart_reading_age_seconds{instance="i"}': "3x40",
            },
        ),
    ),
    "ZartPoolExhausted": Case(
        {
            'zart_pool_waiting{instance="i"}': "3x40",
            'zart_pool_connections_in_use{instance="i"}': "10x40",
            'zart_pool_connections_max{instance="i"}': "10x40",
        },
        2,
        _ON,
    ),
    "ZartMaintenanceLags": Case(
        {
            'zart_maintenance_lag_seconds{instance="i",loop="l"}': "60x40",
            'zart_maintenance_lag_seconds{instance="i",loop="other"}': "1x40",
        },
        1,
        {**_ON, "loop": "l"},
    ),
    "ZartBackgroundFails": Case(
        {_FAILURES.format(loop="l", kind="defect"): "0x19 1x40"},
        20,
        {"loop": "l"},
        # The database was away, or others held what it needs; and there was never a defect.
        never=(
            {
                _FAILURES.format(loop="l", kind="waits"): _RUNNING,
                _FAILURES.format(loop="l", kind="defect"): "0x40",
            },
        ),
    ),
    "ZartBackgroundWaits": Case(
        {
            _FAILURES.format(loop="l", kind="waits"): "0x5 0+12x40",
            'zart_database_up{instance="i"}': "1x46",
        },
        12,
        {"instance": "i", "loop": "l"},
        # The database is away, which has an alert of its own; it waited a few times.
        never=(
            {
                _FAILURES.format(loop="l", kind="waits"): _RUNNING,
                'zart_database_up{instance="i"}': "0x40",
            },
            {_FAILURES.format(loop="l", kind="waits"): "0x5 0+1x40"},
        ),
    ),
    "ZartDefects": Case(
        {_CALLS.format(code="INTERNAL", reason="INTERNAL"): "0x19 1x40"},
        20,
        {"method": "m"},
        {_CALLS.format(code="INTERNAL", reason="INTERNAL"): "_x20 1x40"},
        # It was long ago, and a scrape failed since.
        never=({_CALLS.format(code="INTERNAL", reason="INTERNAL"): "1x9 stale 1x40"},),
    ),
    "ZartCallsFail": Case(
        {_OK: "0+90x100", _FULL: "0+10x100"},
        4,
        _ON,
        also={_OK: "0+90x100", _SLOW: "0+10x100"},
        never=(
            # A failover took a minute; one call of few fails; and of many, one of a hundred does.
            {_OK: "0+90x100", _FULL: "0 0+90x4 360x100"},
            {_OK: "0x100", _FULL: "0+0.5x100"},
            {_OK: "0+9900x100", _FULL: "0+100x100"},
            # What callers may be told at any time.
            {_OK: "0+90x100", _CALLS.format(code="NOT_FOUND", reason="RUN_NOT_FOUND"): "0+90x100"},
        ),
        interval="15s",
    ),
    "ZartCallsRefusedAsBusy": Case(
        {_CALLS.format(code="UNAVAILABLE", reason="SERVER_BUSY"): _RUNNING}, 6, _ON
    ),
    "ZartCallsSlow": Case(
        {
            'zart_call_seconds_bucket{kind="call",le="1"}': "0x40",
            'zart_call_seconds_bucket{kind="call",le="2.5"}': _RUNNING,
            'zart_call_seconds_bucket{kind="call",le="+Inf"}': _RUNNING,
        },
        11,
        {},
    ),
    "ZartGatewayErrors": Case(
        {
            'zart_gateway_requests_total{instance="i",code="200"}': _RUNNING,
            'zart_gateway_requests_total{instance="i",code="503"}': "0+6x40",
            'zart_gateway_requests_total{instance="i",method="unknown",code="404"}': "0+6000x40",
        },
        6,
        _ON,
    ),
    "ZartAuditIncomplete": Case(
        {'zart_operation_attempts_unrecorded_total{why="lost"}': "0x5 1x40"}, 6, {}
    ),
    "ZartDispatcherNotReady": Case(
        {
            _READY: "1x3 0x40",
            'zart_database_up{instance="s"}': "1x40",
            'zart_database_up{instance="t"}': "0x40",
        },
        9,
        _ON,
        also={_READY: "1x3 0x40"},  # no server is there, or it is not told of
        never=(
            {_READY: "1x3 0x40", 'zart_database_up{instance="s"}': "1x3 0x40"},
            {_READY: "0x4 1x40"},  # it has just begun
        ),
    ),
    "ZartDispatcherBlocked": Case(
        {'zart_dispatcher_loop_blocked_seconds_total{instance="i"}': "0+30x40"}, 7, _ON
    ),
    "ZartOutcomesWait": Case(
        {_OUTCOMES.format("outcomes_waiting"): "0x5 3000x40"},
        11,
        _ON,
        also={
            _OUTCOMES.format("outcomes_waiting"): "16x40",
            _OUTCOMES.format("oldest_outcome_age_seconds"): "0x8 0+61x30",
        },
    ),
    "ZartStepsWait": Case(
        {
            'zart_oldest_ready_step_age_seconds{task="t",instance="i"}': "0+60x40",
            'zart_oldest_ready_step_age_seconds{task="t",instance="j"}': "0+60x40",
        },
        11,
        _T,
        also={**_RESUMED, 'zart_ready_to_leased_seconds_count{task="t"}': "70x40"},
        never=(
            # What was paused for two hours is worked off; all of it, or as fast as it is let go.
            {**_RESUMED, 'zart_ready_to_leased_seconds_count{task="t"}': _RUNNING},
            {
                **_RESUMED,
                'zart_steps{task="t",status="paused"}': "5000x5 3900x40",
                'zart_ready_to_leased_seconds_count{task="t"}': _RUNNING,
            },
        ),
    ),
    "ZartAttemptsFail": Case(
        {
            'zart_attempts_total{task="t",ending="failed"}': _RUNNING,
            'zart_attempts_total{task="t",ending="completed"}': "0+30x40",
        },
        6,
        _T,
        # One step is tried over and over.
        never=({'zart_attempts_total{task="t",ending="failed"}': "0+2x40"},),
    ),
    "ZartLeasesLost": Case({'zart_leases_lost_total{task="t"}': "0+1x40"}, 11, _T),
    "ZartStepsDead": Case({'zart_steps{task="t",status="dead"}': "5x40"}, 15, _T),
    "ZartInDoubt": Case({'zart_in_doubt_attempts{task="t"}': "1x40"}, 15, _T),
    "ZartBreakerOpen": Case({'zart_breakers{task="t",status="open"}': "1x40"}, 1, _T),
    "ZartPausedForLong": Case(
        {'zart_rule_paused_steps{rule="r",instance="i"}': "7x300"},
        240,
        {"rule": "r"},
        # The database was away for half an hour, and there are other servers since.
        also={
            'zart_rule_paused_steps{rule="r",instance="i"}': "7x100 _x30 7x20 stale",
            'zart_rule_paused_steps{rule="r",instance="j"}': "_x151 7x200",
        },
        never=(
            # It was resumed; it is another rule; its steps were let go, and it has others since.
            {'zart_rule_paused_steps{rule="r"}': "7x200 stale"},
            {
                'zart_rule_paused_steps{rule="q"}': "7x200 stale",
                'zart_rule_paused_steps{rule="r"}': "_x200 7x100",
            },
            {'zart_rule_paused_steps{rule="r"}': "7x100 0x10 7x200"},
        ),
    ),
    "ZartReleaseStands": Case(
        {
            _RELEASE.format("left"): "5000x50",
            _RELEASE.format("released"): "0+1x10 10x40",
        },
        30,
        {"rule": "r"},
        never=(
            # What is left is an estimate: it may seem to stay as it is, or to become more.
            {_RELEASE.format("left"): "5000+1x50", _RELEASE.format("released"): "0+1x50"},
            # It was stopped and begun anew, more slowly.
            {_RELEASE.format("left"): "5000x50", _RELEASE.format("released"): "0+500x19 0+60x31"},
        ),
    ),
    "ZartBatchStands": Case(
        {_BATCH.format("pending"): "100-1x10 90x40", _BATCH.format("done"): "0+1x10 10x40"},
        30,
        {"batch": "b"},
        # It is still prepared, with nothing done; and it was, and has begun since.
        never=(
            {_BATCH.format("pending"): "1000+5000x50", _BATCH.format("done"): "0x50"},
            {
                _BATCH.format("pending"): "_x10 1000 50000+50000x5 297000-3000x40",
                _BATCH.format("done"): "_x10 0x6 3000+3000x40",
                _BATCH.format("refused"): "_x10 0x50",
            },
        ),
    ),
}
