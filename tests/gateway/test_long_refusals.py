"""What is refused is told in a few words, however large it is, and costs the other calls nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from fuzzing.over_http import bindings
from gateway.sending import Http
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from zart.gateway.bindings import Binding
from zart.gateway.incoming import message_of
from zart.gateway.statuses import SHOWN, Refusal

LONG = "x" * 15 * 1024 * 1024
EXECUTIONS = "/api/v1/executions"
MOST = 4096  # bytes of an answer: its message, and the field that is wrong


@pytest.mark.parametrize("name", [LONG, "☃" * 100_000, "'\\\n" * 100_000, "y"])
def test_a_value_that_contradicts_the_path_is_told_cut(shared_http: Http, name: str) -> None:
    path = f"/admin/v1/executions/{'p' * 8_000}/cancel"
    refused = shared_http.post(path.replace("/admin", "/api"), {"executionId": name})

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert list(refused.fields) == ["execution_id"]
    assert "in the path" in refused.fields["execution_id"]
    assert len(refused.text) < MOST
    assert len(refused.json["message"].encode()) <= 1024


@pytest.mark.parametrize(
    "body",
    [
        {"executionId": "x", LONG: 1},
        {"executionId": "x", "taskName": {LONG: 1}},
        {"executionId": "x", "steps": [{"name" * 1000 + str(n): 1} for n in range(100)]},
        {"executionId": "x", "ifExists": LONG},
        {"executionId": "x", "\ud800": 1},
    ],
    ids=["a name", "a value", "many names", "a text", "half a character"],
)
def test_what_is_wrong_in_a_body_is_told_cut(shared_http: Http, body: dict[str, object]) -> None:
    refused = shared_http.post(EXECUTIONS, body)

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert len(refused.text) < SHOWN * MOST
    assert len(refused.json["message"].encode()) <= 1024


@pytest.mark.parametrize("query", ["x" * 15_000, "pageSize=" + "1" * 15_000])
def test_what_is_wrong_in_a_query_is_told_cut(shared_http: Http, query: str) -> None:
    refused = shared_http.get(f"{EXECUTIONS}?{query}")

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert len(refused.text) < MOST


def test_of_many_wrong_parameters_no_more_are_looked_at_than_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def unknown(_: Descriptor, name: str) -> tuple[str, str]:
        asked.append(name)
        return name, "is not a field"

    monkeypatch.setattr("zart.gateway.incoming.unknown", unknown)
    [listing] = [b for b in bindings() if b.path == EXECUTIONS and not b.takes_body]
    query = "&".join(f"pageSizf{n}=1" for n in range(1_200)).encode()

    with pytest.raises(Refusal):
        message_of(listing, {}, query, b"", "")

    assert len(asked) == SHOWN


def doubles(kind: Descriptor, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Return where a message has fractional numbers, and JSON with ``#`` in place of one."""
    for field in kind.fields:
        inner, place = field.message_type, "[0]" if field.is_repeated else ""
        if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
            yield field.json_name, f'{{"{field.json_name}": #}}'
        elif inner is not None and inner.full_name.startswith("zart.") and depth < 4:
            for path, text in doubles(inner, depth + 1):
                told = f"[{text}]" if place else text
                yield f"{field.json_name}{place}.{path}", f'{{"{field.json_name}": {told}}}'


WITH_DOUBLES = [b for b in bindings() if b.takes_body and list(doubles(b.request))]


@pytest.mark.parametrize("binding", WITH_DOUBLES, ids=lambda binding: binding.path)
def test_a_whole_number_that_no_double_holds_is_named(shared_http: Http, binding: Binding) -> None:
    path = binding.path.replace("{", "").replace("}", "")
    for field, text in doubles(binding.request):
        for number in ("1" + "0" * 309, "-1" + "0" * 398, "9" * 309):
            body = text.replace("#", number)
            refused = shared_http.post(path, body, method=binding.http_method)
            assert (refused.status, refused.reason) == (400, "INVALID_FIELD"), refused.text
            assert list(refused.fields) == [field]
            assert "out of range" in refused.fields[field]


def test_all_the_fractional_numbers_are_among_them() -> None:
    names = {field.rpartition(".")[2] for b in WITH_DOUBLES for field, _ in doubles(b.request)}
    assert names == {"ratePerSecond", "minFailureRatio", "backoffMultiplier"}


@pytest.mark.parametrize("number", ["1" + "0" * 309, "-" + "9" * 350])
def test_no_other_number_is_a_defect(shared_http: Http, number: str) -> None:
    steps = f'{{"taskName": "t", "steps": [{{"stepName": "a", "retryPolicy": {number}}}]}}'
    for path, text in (
        (EXECUTIONS, f'{{"taskName": "t", "ifExists": {number}}}'),
        (EXECUTIONS, f'{{"taskName": "t", "payload": {number}}}'),
        (EXECUTIONS, f'{{"taskName": {number}}}'),
        (EXECUTIONS, steps),
        ("/admin/v1/executions/x/retry-step", f'{{"maxAttempts": {number}}}'),
        ("/admin/v1/pause", f'{{"taskName": "t", "expiresIn": {number}}}'),
        ("/admin/v1/pause", f'{{"everything": {number}}}'),
    ):
        refused = shared_http.post(path, text)
        assert refused.status == 400, (text, refused.text)
        assert len(json.dumps(refused.fields)) < MOST


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN"])
@pytest.mark.parametrize("binding", WITH_DOUBLES, ids=lambda binding: binding.path)
def test_what_is_no_number_to_the_server_is_named(
    shared_http: Http, binding: Binding, number: str
) -> None:
    path = binding.path.replace("{", "").replace("}", "")
    for field, text in doubles(binding.request):
        body = text.replace("#", f'"{number}"')  # which is how JSON has it for a double
        if "everything" in binding.request.fields_by_name:  # else it is refused for what it lacks
            body = body.replace("{", '{"taskName": "t", ', 1)
        refused = shared_http.post(path, body, method=binding.http_method)
        if binding.rpc.name == "BatchStartExecutions":  # each start has a status of its own
            assert '"code": 3' in refused.text or '"code":3' in refused.text, refused.text
            continue
        assert (refused.status, refused.reason) == (400, "INVALID_FIELD"), refused.text
        assert re.sub("[A-Z]", lambda c: f"_{c[0].lower()}", field) in refused.fields
