"""All scenarios: each module of them adds its own to the list."""

from hot import (
    administering,
    batching,
    breaking,
    claiming,
    correcting,
    dispatching,
    doubting,
    exempting,
    explaining,
    filtering,
    listing,
    maintaining,
    measuring,
    pausing,
    reading,
    releasing,
    verifying,
)
from hot.scenario import SCENARIOS, Scenario

__all__ = [
    "SCENARIOS",
    "Scenario",
    "administering",
    "batching",
    "breaking",
    "claiming",
    "correcting",
    "dispatching",
    "doubting",
    "exempting",
    "explaining",
    "filtering",
    "listing",
    "maintaining",
    "measuring",
    "pausing",
    "reading",
    "releasing",
    "verifying",
]
