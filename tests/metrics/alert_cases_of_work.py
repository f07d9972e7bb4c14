"""What makes the alerts on work and on what operators do fire."""

from __future__ import annotations

from metrics.alert_case import Case

_T = {"task": "t"}
_RUNNING = "0+60x40"  # one a second
_RESUMED = {
    'zart_oldest_ready_step_age_seconds{task="t"}': "0x5 7200x40",
    'zart_steps{task="t",status="paused"}': "5000x5 stale",
}
_AGE = 'zart_oldest_ready_step_age_seconds{task="t"}'
_STEPS = 'zart_steps{{task="{}",status="dead"}}'
_IN_DOUBT = 'zart_in_doubt_attempts{{task="{}"}}'
_BREAKERS = 'zart_breakers{{task="{}",status="open"}}'
_ENDED = 'zart_oldest_ended_rule_age_seconds{{instance="{}"}}'
_RELEASE = 'zart_release_steps{{rule="r",state="{}"}}'
_BATCH = 'zart_batch_items{{batch="b",status="{}"}}'

OF_WORK: dict[str, Case] = {
    "ZartStepsWait": Case(
        {
            'zart_oldest_ready_step_age_seconds{task="t",instance="i"}': "0+60x40",
            'zart_oldest_ready_step_age_seconds{task="t",instance="j"}': "0+60x40",
        },
        11,
        _T,
        also=({**_RESUMED, 'zart_ready_to_leased_seconds_count{task="t"}': "70x40"},),
        never=(
            # What was paused for two hours is worked off; all of it, or as fast as it is let go.
            {**_RESUMED, 'zart_ready_to_leased_seconds_count{task="t"}': _RUNNING},
            {
                **_RESUMED,
                'zart_steps{task="t",status="paused"}': "5000x5 3900x40",
                'zart_ready_to_leased_seconds_count{task="t"}': _RUNNING,
            },
            # Its steps are leased, while others wait.
            {
                _AGE: "_x5 400x3 0x40",
                'zart_oldest_ready_step_age_seconds{task="other"}': "_x7 400x40",
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
    "ZartStepsDead": Case(
        {_STEPS.format("t"): "5x40"},
        15,
        _T,
        # They were retried, while others are dead: it has its label yet.
        never=(
            {_STEPS.format("t"): "5x9 stale", _STEPS.format("other"): "_x5 5x40", _AGE: "0x40"},
        ),
    ),
    "ZartInDoubt": Case(
        {_IN_DOUBT.format("t"): "1x40"},
        15,
        _T,
        never=(
            {
                _IN_DOUBT.format("t"): "1x9 stale",
                _IN_DOUBT.format("other"): "_x5 1x40",
                _AGE: "0x40",
            },
        ),
    ),
    "ZartBreakerOpen": Case(
        {_BREAKERS.format("t"): "1x40"},
        1,
        _T,
        never=(
            {_BREAKERS.format("t"): "1 stale", _BREAKERS.format("other"): "_ 1x40", _AGE: "0x40"},
            # That of all tasks never has another label.
            {_BREAKERS.format(""): "1 stale", _BREAKERS.format("other"): "_ 1x40"},
        ),
    ),
    "ZartPausedForLong": Case(
        {'zart_rule_paused_steps{rule="r",instance="i"}': "7x300"},
        240,
        {"rule": "r"},
        # The database was away for half an hour, and there are other servers since.
        also=(
            {
                'zart_rule_paused_steps{rule="r",instance="i"}': "7x100 _x30 7x20 stale",
                'zart_rule_paused_steps{rule="r",instance="j"}': "_x151 7x200",
            },
        ),
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
    "ZartResumedStepsStay": Case(
        # That others are resumed meanwhile, and moved, is nothing to it.
        {_ENDED.format("i"): "0x5 0+60x60", _ENDED.format("j"): "0x5 0+60x60"},
        27,
        {},
        # Each rule's are moved within minutes, while the next one has ended; and there is none.
        never=(
            {_ENDED.format("i"): "0+60x15 0+60x18 0+60x10 0x20"},
            {_ENDED.format("i"): "0x60"},
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
