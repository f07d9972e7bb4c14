"""All scenarios: each module of them adds its own to the list."""

from hot import (
    administering,
    claiming,
    dispatching,
    exempting,
    explaining,
    listing,
    maintaining,
    pausing,
    reading,
)
from hot.scenario import SCENARIOS, Scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "administering",
    "claiming",
    "dispatching",
    "exempting",
    "explaining",
    "listing",
    "maintaining",
    "pausing",
    "reading",
]
