"""An order: look up the user, enrich the data and charge the card, send a mail.

While the file ``.zart/card-down`` exists the card service is down, and charge-card fails.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import zart

CARD_DOWN = Path(".zart/card-down")

order = zart.Task("order")
_QUICK = zart.Retry(max_attempts=3, initial_backoff=0.2)


@order.step()
async def lookup_user(ctx: zart.StepContext) -> dict[str, Any]:
    """Find who ordered."""
    user = ctx.payload["user"]
    return {"user": user, "email": f"user-{user}@example.com"}


@order.step(depends_on=[lookup_user])
async def enrich_data(ctx: zart.StepContext) -> dict[str, Any]:
    """Add what the mail needs."""
    user = ctx.result_of(lookup_user)
    return {**user, "segment": "gold" if user["user"] % 2 else "silver"}


@order.step(depends_on=[lookup_user], retry=_QUICK, timeout=30)
def charge_card(ctx: zart.StepContext) -> dict[str, Any]:
    """Charge the card once: the service knows a repeat by its idempotency key."""
    if CARD_DOWN.exists():
        raise zart.StepFailed(f"the card service is down (rm {CARD_DOWN} brings it back)")
    receipt = hashlib.sha256(ctx.idempotency_key.encode()).hexdigest()[:12]
    return {"receipt": receipt, "amount": ctx.payload.get("amount", 1)}


@order.step(depends_on=[enrich_data, charge_card])
async def send_email(ctx: zart.StepContext) -> str:
    """Tell the user."""
    return f"{ctx.result_of(enrich_data)['email']}: {ctx.result_of(charge_card)['receipt']}"
