"""Real data: find the airports near a US ZIP code and write a report.

ZIP codes and their coordinates come from the package zipcodes, airports from airportsdata.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import airportsdata
import zipcodes

import zart

_EARTH_KM = 6371.0
_NEAR_KM = 120.0
_BEST = 5

airport_finder = zart.Task("airport-finder", sequential=True)


@functools.cache
def _airports() -> list[dict[str, Any]]:
    return [dict(a) for a in airportsdata.load("IATA").values() if a["country"] == "US"]


def _distance(lat: float, lon: float, airport: dict[str, Any]) -> float:
    """Give the great-circle distance in kilometres."""
    a, b = math.radians(lat), math.radians(airport["lat"])
    half = math.sin((b - a) / 2) ** 2
    half += math.cos(a) * math.cos(b) * math.sin(math.radians(airport["lon"] - lon) / 2) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(half))


@airport_finder.step()
def look_up_zip(ctx: zart.StepContext) -> dict[str, Any]:
    """Find where a ZIP code is; one without coordinates will not get any by trying again."""
    found = zipcodes.matching(ctx.payload["zip"])
    if not found or not float(found[0]["lat"] or 0):
        raise zart.StepFailed(f"{ctx.payload['zip']} has no coordinates", retryable=False)
    place = found[0]
    where = {"lat": float(place["lat"]), "lon": float(place["long"])}
    return {"zip": place["zip_code"], "city": place["city"], "state": place["state"], **where}


@airport_finder.step()
def find_airports(ctx: zart.StepContext) -> list[dict[str, Any]]:
    """Find the airports within reach."""
    place = ctx.result_of(look_up_zip)
    found = []
    for airport in _airports():
        # Degrees of latitude are 111 km: a cheap test before the dear one.
        if abs(airport["lat"] - place["lat"]) * 111 <= _NEAR_KM:
            km = _distance(place["lat"], place["lon"], airport)
            if km <= _NEAR_KM:
                found.append({"iata": airport["iata"], "name": airport["name"], "km": round(km, 1)})
    return found


@airport_finder.step()
async def rank_airports(ctx: zart.StepContext) -> list[dict[str, Any]]:
    """Put the nearest first."""
    return sorted(ctx.result_of(find_airports), key=lambda airport: airport["km"])[:_BEST]


@airport_finder.step(depends_on=[look_up_zip, rank_airports])
async def write_report(ctx: zart.StepContext) -> str:
    """Write one line for people."""
    place, ranked = ctx.result_of(look_up_zip), ctx.result_of(rank_airports)
    near = ", ".join(f"{airport['iata']} {airport['km']} km" for airport in ranked) or "none near"
    return f"{place['zip']} {place['city']}, {place['state']}: {near}"
