"""What a PATCH changes: what its mask names."""

from __future__ import annotations

from typing import Any

import pytest
from gateway.sending import Http

SETTINGS = {
    "taskName": "t",
    "failureThreshold": 20,
    "window": "60s",
    "minFailureRatio": 0.5,
    "cooldown": "30s",
}


@pytest.fixture
def breaker(http_: Http) -> str:
    """Make a breaker; gives its path."""
    made = http_.post("/admin/v1/breakers", {"breaker": SETTINGS})
    return f"/admin/v1/breakers/{made.json['breaker']['breakerId']}"


def settings(http_: Http, breaker: str) -> dict[str, Any]:
    """Return what is set of a breaker, but for its state."""
    found = http_.get(breaker).json["breaker"]
    return {name: value for name, value in found.items() if name in {*SETTINGS, "probeSteps"}}


def test_what_a_mask_names_and_the_body_has_not_is_unset(http_: Http, breaker: str) -> None:
    before = settings(http_, breaker)
    body = {"breaker": {"window": "90s"}, "updateMask": "cooldown,window"}

    assert http_.post(breaker, body, method="PATCH").status == 200

    del before["cooldown"]
    assert settings(http_, breaker) == {**before, "window": "90s"}


@pytest.mark.parametrize("mask", [{"paths": ["cooldown"]}, ["cooldown"], "min_failure_ratio", 7])
def test_a_mask_is_a_text_of_names_in_camel_case(http_: Http, breaker: str, mask: Any) -> None:
    before = settings(http_, breaker)

    refused = http_.post(breaker, {"updateMask": mask}, method="PATCH")

    assert (refused.status, list(refused.fields)) == (400, ["updateMask"])
    assert settings(http_, breaker) == before


def test_that_is_what_the_document_says(http_: Http) -> None:
    document = http_.get("/openapi.json").json
    body = document["components"]["schemas"]["UpdateBreakerBody"]

    assert body["properties"]["updateMask"]["type"] == "string"
    assert "camelCase" in body["properties"]["updateMask"]["description"]
