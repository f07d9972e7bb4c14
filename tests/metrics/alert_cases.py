"""What makes each alert fire: here those on processes, and with them all others."""

from __future__ import annotations

from metrics.alert_case import Case
from metrics.alert_cases_of_work import OF_WORK

_ON = {"instance": "i"}
_CALLS = 'zart_calls_total{{instance="i",method="m",code="{code}",reason="{reason}"}}'
_OK = _CALLS.format(code="OK", reason="")
_FULL = _CALLS.format(code="UNAVAILABLE", reason="STORE_UNAVAILABLE")
_SLOW = _CALLS.format(code="DEADLINE_EXCEEDED", reason="OPERATION_TIMEOUT")
_KEYLESS = _CALLS.format(code="UNAVAILABLE", reason="KEYS_UNAVAILABLE")
_BEGAN = 'process_start_time_seconds{{job="zart",instance="{}"}}'
_READY = 'zart_dispatcher_ready{instance="i"}'
_FAILURES = 'zart_background_failures_total{{instance="i",loop="{loop}",kind="{kind}"}}'
_FAILING = 'zart_background_failing_seconds{{instance="i",loop="l",process="{}"}}'
_ENDS = 'zart_certificate_not_after_seconds{{instance="i",process="{}"}}'
_WEEK = 7 * 24 * 3600
_RUNNING = "0+60x40"  # one a second
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
            _FAILING.format("0"): "0x5 0+60x40",
            _FAILING.format("1"): "0x46",
            'zart_database_up{instance="i",process="0"}': "1x46",
            'zart_database_up{instance="i",process="1"}': "1x46",
        },
        17,
        {"instance": "i", "loop": "l"},
        # The database is away, which has an alert of its own, or has just come back; it failed for
        # some minutes, and does so again.
        never=(
            {_FAILING.format("0"): "0+60x40", 'zart_database_up{instance="i"}': "0x40"},
            {_FAILING.format("0"): "0+60x16 0x40", 'zart_database_up{instance="i"}': "0x15 1x40"},
            {_FAILING.format("0"): "0+60x18 0x40", 'zart_database_up{instance="i"}': "0x15 1x40"},
            {_FAILING.format("0"): "0+60x8 0+60x8 0+60x8"},
        ),
    ),
    "ZartDefects": Case(
        {_CALLS.format(code="INTERNAL", reason="INTERNAL"): "0x19 1x40"},
        20,
        {"method": "m"},
        ({_CALLS.format(code="INTERNAL", reason="INTERNAL"): "_x20 1x40"},),
        # It was long ago, and a scrape failed since.
        never=({_CALLS.format(code="INTERNAL", reason="INTERNAL"): "1x9 stale 1x40"},),
    ),
    "ZartCallsFail": Case(
        {_OK: "0+90x100", _FULL: "0+10x100"},
        4,
        _ON,
        also=(
            {_OK: "0+90x100", _SLOW: "0+10x100"},
            {_OK: "0+90x100", _KEYLESS: "0+10x100"},
        ),
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
    "ZartCertificateEnds": Case(
        # It ends a week after the 20th minute, of one of two processes.
        {
            _ENDS.format("0"): f"{_WEEK + 20 * 60 - 1}x40",
            _ENDS.format("1"): f"{_WEEK + 9999}x40",
        },
        20,
        _ON,
        # It was replaced in time.
        never=({_ENDS.format("0"): f"{_WEEK + 20 * 60 - 1}x19 {9 * _WEEK}x40"},),
    ),
    "ZartCredentialsStale": Case(
        {
            'zart_credentials_stale{instance="i",what="keys",process="0"}': "1x40",
            'zart_credentials_stale{instance="i",what="keys",process="1"}': "0x40",
            'zart_credentials_stale{instance="i",what="tokens",process="0"}': "0x40",
        },
        15,
        {**_ON, "what": "keys"},
        # One answer of a host was lost: it is asked again after five minutes.
        never=({'zart_credentials_stale{instance="i",what="keys"}': "0x3 1x5 0 1x40"},),
    ),
    "ZartKeysMissing": Case(
        {'zart_credentials_missing{instance="i",what="keys"}': "1x40"},
        2,
        _ON,
        never=({'zart_credentials_missing{instance="i",what="keys"}': "1 0x40"},),
    ),
    "ZartDispatcherNotReady": Case(
        {
            _READY: "1x3 0x40",
            'zart_database_up{instance="s"}': "1x40",
            'zart_database_up{instance="t"}': "0x40",
        },
        9,
        _ON,
        also=({_READY: "1x3 0x40"},),  # no server is there, or it is not told of
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
        also=(
            {
                _OUTCOMES.format("outcomes_waiting"): "16x40",
                _OUTCOMES.format("oldest_outcome_age_seconds"): "0x8 0+61x30",
            },
        ),
    ),
    **OF_WORK,
}
