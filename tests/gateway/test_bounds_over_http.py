"""Nulls, and fields at their bounds, over HTTP: each is taken, or named in a 400."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator

import pytest
from fuzzing.bases import Bases
from fuzzing.mutants import mutants_of
from fuzzing.over_http import Asked, asked, bindings, status
from gateway.sending import Http
from google.protobuf.descriptor import Descriptor
from rig import CHAIN, Rig
from waiting import GIVE_UP

from zart.gateway.bindings import Binding

WRITES = [binding for binding in bindings() if binding.takes_body]
EVERY = 16  # of the mutants that gRPC gets all of
TIMES = [
    "9999-12-31T23:59:59.999999999Z", "10000-01-01T00:00:00Z", "0000-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "2999-01-01T00:00:00+23:59", "2999-13-01T00:00:00Z", "", "x" * 100_000,
]  # fmt: skip
SPANS = [
    "0s",
    "-1s",
    "0.0000000001s",
    "315576000000s",
    "315576000001s",
    "1e5s",
    "s",
    "9" * 5000 + "s",
]


def nulls(kind: Descriptor, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Return bodies with one null each, and the path of it: in what is repeated too."""
    for field in kind.fields:
        inner = field.message_type
        if inner is not None and inner.full_name == "google.protobuf.Value":
            continue
        yield field.json_name, {field.json_name: None}
        if inner is not None and inner.full_name.startswith("zart.") and depth < 3:
            place = "[0]" if field.is_repeated else ""
            for path, body in nulls(inner, depth + 1):
                yield (
                    f"{field.json_name}{place}.{path}",
                    {field.json_name: [body] if field.is_repeated else body},
                )


@pytest.mark.parametrize("binding", WRITES, ids=lambda binding: binding.path)
def test_a_null_guards_nothing(shared_http: Http, binding: Binding) -> None:
    path = binding.path.replace("{", "").replace("}", "")
    for field, body in nulls(binding.request):
        refused = shared_http.post(path, json.dumps(body), method=binding.http_method)
        assert refused.status == 400, (field, refused.text)
        assert list(refused.fields) == [field]


async def test_a_null_payload_is_json_null(http_: Http, rig: Rig) -> None:
    await rig.start("x", CHAIN, payload={"a": 1})
    path = "/admin/v1/executions/x/restart"
    for body, payload in (({}, {"a": 1}), ({"payload": None}, None)):
        assert http_.post(path, body).status == 200
        run = (await rig.client.get_execution("x")).run
        assert run.payload == payload


async def test_no_value_of_a_field_is_a_defect(http_: Http, rig: Rig) -> None:
    bases = Bases()
    await bases.prepare(rig.client, 100)
    connection = http.client.HTTPConnection(http_.address, timeout=GIVE_UP)
    for number, binding in enumerate(bindings()):
        for mutant in list(mutants_of(bases.of(binding.rpc)))[number % EVERY :: EVERY]:
            bases.renew(mutant.request)
            sent = asked(binding, mutant.request)
            if sent is not None:
                code, text = status(connection, sent)
                assert code < 500, (sent, text)
    for name, values in (("expiresAt", TIMES), ("expiresIn", SPANS)):
        for value in values:
            body = json.dumps({"taskName": "nobody", name: value}).encode()
            code, text = status(connection, Asked("POST", "/admin/v1/pause", body))
            assert code in {200, 400}, (value, text)
            assert code == 200 or name in text or name[:-2].lower() in text
    connection.close()


def test_readiness_of_who_is_not_ascii(http_: Http) -> None:
    refused = http_.get("/readyz", Authorization="Bearer ü")
    assert (refused.status, list(refused.fields)) == (400, ["authorization"])


def test_names_that_are_none_cost_nothing(shared_http: Http) -> None:
    names = {f"{n}{'n' * 1000}": 1 for n in range(5000)}
    refused = shared_http.post("/admin/v1/pause", names)
    assert (refused.status, len(refused.fields)) == (400, 12)
    twice = ",".join(f'"{n}":0' for n in range(100_000)) + ',"99999":0'
    refused = shared_http.post("/admin/v1/pause", "{" + twice + "}")
    assert refused.fields["body"].endswith("is there twice")
