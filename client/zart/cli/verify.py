"""The command that shows the receipt of a pause rule."""

from __future__ import annotations

import typer

from zart.calls import admin
from zart.cli.options import RuleId, example, reads
from zart.cli.render import took, when
from zart.cli.session import Session
from zart.cli.tables import TEXT, Column
from zart.cli.values import counted
from zart.models import RuleAttempt
from zart.receipts import PauseReceipt

app = typer.Typer()

_ATTEMPTS = (
    Column("LEASED"),
    Column("RUN"),
    Column("STEP", words=TEXT),
    Column("ATTEMPT", rank=1),
    Column("BY", rank=4),
    Column("STARTED", rank=2),
    Column("TOOK", rank=3),
)


@app.command(epilog=example("verify pr-7k2m9x4q"))
@reads
def verify(session: Session, rule_id: RuleId) -> None:
    """Tell what was leased while a pause rule stood; exit 1 unless the receipt is clean."""

    def show(receipt: PauseReceipt) -> None:
        session.print(*_lines(rule_id, receipt))
        rows = [
            *_rows("before", receipt.last_before),
            *_rows("meanwhile", *receipt.violations),
            *_rows("after", receipt.first_after),
        ]
        if rows:
            session.print_table(_ATTEMPTS, rows)

    if not session.run(admin.verify_pause_rule(rule_id), show).clean:
        raise typer.Exit(1)


def _lines(rule_id: str, receipt: PauseReceipt) -> list[str]:
    ended = receipt.window_ended_at
    until = "stands, judged until now" if ended is None else f"until {when(ended)}"
    more = " or more" if receipt.violations_is_lower_bound else ""
    if receipt.violations:
        attempts = counted(len(receipt.violations), "attempt", more)
        were = "was" if attempts == "1 attempt" else "were"
        verdict = f"VIOLATED: {attempts} {were} leased all the same"
    elif receipt.is_complete:
        verdict = "clean: nothing was leased that it withheld"
    else:
        left = "; what is left violates nothing" if receipt.checked_attempts else ""
        verdict = f"not complete: {receipt.why_incomplete}{left}"
    return [
        f"{rule_id} from {when(receipt.window_started_at)}, {until}",
        verdict,
        f"checked   {counted(receipt.checked_attempts, 'attempt')} of the steps that it matches",
        f"in flight {receipt.in_flight_at_start} when it began, which finished",
        f"exempt    {receipt.exempt_attempts} leased meanwhile",
        f"released  {receipt.released_attempts} leased meanwhile",
    ]


def _rows(leased: str, *attempts: RuleAttempt | None) -> list[tuple[str, ...]]:
    return [
        (
            leased,
            f"{attempt.execution_id}:run:{attempt.run_number}",
            attempt.step_name,
            f"#{attempt.attempt}",
            attempt.dispatcher_id,
            when(attempt.started_at),
            took(attempt.started_at, attempt.ended_at),
        )
        for attempt in attempts
        if attempt is not None
    ]
