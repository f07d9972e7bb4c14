"""The task of the incident, and the card service that it needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import zart

# How ids end: not as many of the one as of the other, so that their kinds are listed in this order.
_DECLINED = ("11", "61")
UNKNOWN = "77"


@dataclass
class CardService:
    """Is down, up for some, or up again.

    Some orders die of something else, however it is: of each hundred two cards are declined, and one
    user is not known.
    """

    is_up_for: Callable[[str], bool] = lambda _execution_id: False
    charged: Counter[str] = field(default_factory=Counter)

    def charge(self, execution_id: str) -> str:
        """Charge a card. Raises StepFailed if that cannot be."""
        if execution_id.endswith(_DECLINED):
            raise zart.StepFailed(f"card of {execution_id} declined", retryable=False)
        if not self.is_up_for(execution_id):
            raise zart.StepFailed(f"card service: 503 for {execution_id}", retryable=False)
        self.charged[execution_id] += 1
        return "charged"


def is_of_the_outage(execution_id: str) -> bool:
    """Whether an order dies of nothing but the card service."""
    return not execution_id.endswith((*_DECLINED, UNKNOWN))


def order_of(service: CardService) -> zart.Task:
    """Return the task whose second step needs the card service."""
    order = zart.Task("order")

    @order.step()
    async def lookup_user(ctx: zart.StepContext) -> str:
        if ctx.execution_id.endswith(UNKNOWN):
            raise zart.StepFailed(f"no user of {ctx.execution_id}", retryable=False)
        return "user"

    @order.step(name="charge-card", depends_on=[lookup_user])
    async def charge_card(ctx: zart.StepContext) -> str:
        return service.charge(ctx.execution_id)

    @order.step(depends_on=[charge_card])
    async def send_email(_ctx: zart.StepContext) -> str:
        return "sent"

    return order
