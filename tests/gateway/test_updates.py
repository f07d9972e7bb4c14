"""What a PATCH changes: what its mask names, or else what its body does, zeros included."""

from __future__ import annotations

from typing import Any

import pytest
from gateway.sending import Http

from zart.gateway.bindings import all_services, bindings_of
from zart.gateway.update_masks import SETTINGS as MASKED
from zart_server.domain import breakers

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


def test_what_the_body_sets_to_zero_is_changed_to_zero(http_: Http, breaker: str) -> None:
    before = settings(http_, breaker)
    body = {"breaker": {"failureThreshold": 50, "min_failure_ratio": 0}}

    changed = http_.post(breaker, body, method="PATCH")

    assert changed.status == 200
    del before["minFailureRatio"]
    assert settings(http_, breaker) == {**before, "failureThreshold": 50}


def test_what_cannot_be_zero_is_refused_and_not_left_as_it_is(http_: Http, breaker: str) -> None:
    before = settings(http_, breaker)
    body = {"breaker": {"failureThreshold": 0, "window": "90s"}}

    refused = http_.post(breaker, body, method="PATCH")

    assert list(refused.fields) == ["breaker.failure_threshold"]
    assert settings(http_, breaker) == before


def test_a_breaker_that_was_read_may_be_sent_back(http_: Http, breaker: str) -> None:
    before = settings(http_, breaker)
    read = http_.get(breaker).json["breaker"]

    assert http_.post(breaker, {"breaker": read}, method="PATCH").status == 200
    state = {"status": read["status"], "createdAt": read["createdAt"]}
    refused = http_.post(breaker, {"breaker": state}, method="PATCH")

    assert list(refused.fields) == ["update_mask"]
    assert settings(http_, breaker) == before


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


def test_of_all_that_takes_a_mask_the_settings_are_known() -> None:
    masked = [
        binding.request
        for binding in bindings_of(all_services())
        if "update_mask" in binding.request.fields_by_name
    ]
    parts = {
        field.message_type.full_name
        for request in masked
        for field in request.fields
        if field.message_type is not None and field.message_type.file.package == "zart.v1"
    }

    assert parts == MASKED.keys()
    assert MASKED["zart.v1.Breaker"] == breakers.SETTINGS
