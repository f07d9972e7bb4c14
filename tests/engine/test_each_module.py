"""Each module of engine/operations and engine/dispatch has its test file, or this says which test it."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
ENGINE = HERE.parents[1] / "server/zart_server/engine"
# Parts of several operations, and what is best tested by a call of the API.
TESTED_BY = {
    "operations/begin_runs": ("engine/test_restart.py", "engine/test_rerun.py"),
    "operations/cancel_batch": ("engine/test_batch_pace.py",),
    "operations/canary_line": ("engine/test_canary.py", "engine/test_promised_canaries.py"),
    "operations/close_breaker": ("engine/test_reset_breaker.py", "engine/test_probe_breaker.py"),
    "operations/counts": ("engine/test_resume.py", "engine/test_release.py"),
    "operations/doubts": ("engine/test_in_doubt.py", "engine/test_happened_earlier.py"),
    "operations/end_by_hand": ("engine/test_complete_step.py", "engine/test_fail_step.py"),
    "operations/do_items": (
        "engine/test_create_batch.py",
        "server/test_batches_of_many_servers.py",
    ),
    "operations/let_go": ("engine/test_canary.py", "engine/test_release.py"),
    "operations/one_batch": ("engine/test_batch_pace.py",),
    "operations/one_rule": ("engine/test_canary.py", "engine/test_release.py"),
    "operations/pause_batch": ("engine/test_batch_pace.py",),
    "operations/prepare_batch": ("engine/test_create_batch.py", "engine/test_batch_pace.py"),
    "operations/register_task": ("api/test_executions.py", "api/test_dispatch_service.py"),
    "operations/replaced": ("engine/test_restart.py", "engine/test_retry_step.py"),
    "operations/requests": ("api/test_request_ids.py",),
    "operations/unset_retention": ("engine/test_set_retention.py",),
    "operations/resume_batch": ("engine/test_batch_pace.py",),
    "operations/settle_rule": ("engine/test_pause_lanes.py", "engine/test_pause_guarantee.py"),
    "operations/start": ("api/test_executions.py", "engine/test_running_steps.py"),
    "operations/update_batch": ("engine/test_batch_pace.py",),
    "operations/update_pause_rule": ("engine/test_exempt.py", "engine/test_drain.py"),
    "operations/supersede": ("engine/test_restart.py", "engine/test_races.py"),
    "dispatch/complete_fast": ("engine/test_eager_dispatch.py", "engine/test_rules_between.py"),
    "dispatch/dispatch": ("api/test_dispatch_service.py",),
    "dispatch/eager": ("engine/test_eager_dispatch.py",),
    "dispatch/enqueue": ("engine/test_eager_dispatch.py", "engine/test_rules_between.py"),
    "dispatch/ready_steps": ("engine/test_running_steps.py", "engine/test_races.py"),
    "dispatch/outcome_batch": ("api/test_leases_of_others.py", "api/test_dispatch_service.py"),
    "dispatch/recent_completions": ("store/test_recent_completions.py",),
    "dispatch/record_in_general": ("engine/test_running_steps.py", "engine/test_races.py"),
    "dispatch/report": ("engine/test_running_steps.py", "engine/test_races.py"),
    "dispatch/report_ways": ("engine/test_locked_below_runs.py",),
    "dispatch/tally": ("metrics/test_server_metrics.py",),
    "dispatch/waiting_room": ("server/test_locked_row.py",),
    "dispatch/yielding": ("api/test_no_standstill.py",),
}


def modules() -> set[str]:
    """Return the modules of the two packages, as ``operations/restart``."""
    return {
        f"{package}/{path.stem}"
        for package in ("operations", "dispatch")
        for path in (ENGINE / package).glob("*.py")
        if path.stem != "__init__"
    }


def test_each_module_is_tested() -> None:
    without = {name for name in modules() if not (HERE / f"test_{Path(name).name}.py").is_file()}

    assert without == TESTED_BY.keys()


def test_the_tests_named_are_there() -> None:
    named = {file for files in TESTED_BY.values() for file in files}

    assert {file for file in named if not (HERE.parent / file).is_file()} == set()
