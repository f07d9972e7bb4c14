"""How deep a payload may be nested: as deep as a server takes it, and what is deeper is named."""

from __future__ import annotations

import json

import pytest
from gateway.sending import Answer, Http

START = "/api/v1/executions"
OBJECTS, LISTS = ('{"a": ', "}"), ("[", "]")


def nested(brackets: tuple[str, str], depth: int) -> str:
    """Nest objects or lists in each other."""
    return brackets[0] * depth + "1" + brackets[1] * depth


def start(http_: Http, member: str) -> Answer:
    """Start x with a member more."""
    steps = '"taskName": "t", "executionId": "x", "steps": [{"stepName": "a"}]'
    return http_.post(START, f"{{{steps}, {member}}}")


@pytest.mark.parametrize(("brackets", "depth"), [(OBJECTS, 32), (LISTS, 48)])
def test_what_is_as_deep_as_messages_may_be_is_taken(
    http_: Http, brackets: tuple[str, str], depth: int
) -> None:
    """Also where most is around it."""
    fits = nested(brackets, depth)
    step = f'{{"stepName": "a", "input": {fits}}}'
    batch = f'{{"requests": [{{"taskName": "t", "steps": [{step}]}}]}}'

    assert start(http_, f'"payload": {fits}').status == 200
    assert json.loads(http_.get(f"{START}/x").json["run"]["payloadJson"]) == json.loads(fits)
    assert http_.post(f"{START}:batch", batch).status == 200


@pytest.mark.parametrize(("brackets", "depth"), [(OBJECTS, 33), (LISTS, 49), (OBJECTS, 60)])
def test_what_is_deeper_is_named_and_taken_as_text(
    http_: Http, brackets: tuple[str, str], depth: int
) -> None:
    text = nested(brackets, depth)

    refused = start(http_, f'"payload": {text}')

    assert (refused.status, list(refused.fields)) == (400, ["payload"])
    assert "use payloadJson" in refused.fields["payload"]
    assert start(http_, f'"payloadJson": {json.dumps(text)}').status == 200


def test_it_is_named_wherever_it_is(shared_http: Http) -> None:
    deep = nested(OBJECTS, 33)
    step = f'{{"stepName": "a", "input": {deep}}}'

    refused = shared_http.post(f"{START}:batch", f'{{"requests": [{{"steps": [{step}]}}]}}')

    assert list(refused.fields) == ["requests[0].steps[0].input"]
    assert "use requests[0].steps[0].inputJson" in refused.fields["requests[0].steps[0].input"]
