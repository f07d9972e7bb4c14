"""What is refused before anything is sent, and what comes back exactly as it was sent."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from gateway.sending import Answer, Http
from rig import CHAIN, Rig, specs

START = "/api/v1/executions"
JSON = {"Content-Type": "application/json"}


def start(http_: Http, text: str) -> Answer:
    """Start x with the members given, as text."""
    steps = '"taskName": "t", "executionId": "x", "steps": [{"stepName": "a"}]'
    return http_.post(START, f"{{{steps}, {text}}}")


DAMAGED = [
    "9007199254740993",
    "[1, -9007199254740993]",
    '{"a": {"b": 9007199254740993.0}}',
    "1e300",
]
NOT_JSON = ["{", "[]", "7", '"x"', "NaN", '{"reason": NaN}', '{"reason": -Infinity}', "{'a': 1}",
            '{"payload": 1e400}', "\ufeff{}", "{} {}", "[" * 100_000,
            '{"reason": "a", "reason": "b"}', '{"payload": {"a": 1, "a": 2}}',
            f'{{"payload": {"1" * 5000}}}']  # fmt: skip


@pytest.mark.parametrize("number", DAMAGED)
def test_a_number_that_would_be_damaged_is_refused(shared_http: Http, number: str) -> None:
    refused = start(shared_http, f'"payload": {number}')

    assert refused.status == 400
    assert list(refused.fields) == ["payload"]
    assert "payloadJson" in refused.fields["payload"]
    assert shared_http.get(f"{START}/x").status == 404


@pytest.mark.parametrize("number", ["9007199254740992", "-9007199254740992", "0.1", "-0.0", "1e3"])
def test_a_number_that_a_payload_holds_is_taken(http_: Http, number: str) -> None:
    assert start(http_, f'"payload": {number}').status == 200
    stored = http_.get(f"{START}/x").json["run"]["payloadJson"]
    assert json.loads(stored) == json.loads(number)


def test_payload_json_comes_back_exactly(http_: Http) -> None:
    text = '{"n":9007199254740993,"big":123456789012345678901234567890,"x":1.10,"s":"\\u00e9☃"}'

    assert start(http_, f'"payloadJson": {json.dumps(text)}').status == 200

    assert http_.get(f"{START}/x").json["run"]["payloadJson"] == text


@pytest.mark.parametrize("text", NOT_JSON, ids=range(len(NOT_JSON)))
def test_what_is_not_a_json_object_is_refused(shared_http: Http, text: str) -> None:
    refused = shared_http.post("/admin/v1/pause", text)

    assert refused.status == 400
    assert list(refused.fields) == ["body"]
    assert shared_http.get("/admin/v1/pause").json == {}


BAD: list[tuple[str, str, str]] = [
    (START, '{"stepName": "a"}', "stepName"),
    (START, '{"taskName": 7}', "taskName"),
    (START, '{"steps": {"stepName": "a"}}', "steps"),
    (START, '{"steps": [null]}', "steps"),
    (START, '{"ifExists": "MAYBE"}', "ifExists"),
    (START, '{"ifExists": false}', "ifExists"),
    (START, '{"ifExists": 0.5}', "ifExists"),
    (
        START,
        '{"steps": [{"retryPolicy": {"backoffMultiplier": false}}]}',
        "steps[0].retryPolicy.backoffMultiplier",
    ),
    ("/admin/v1/executions/x/retry-step", '{"maxAttempts": true}', "maxAttempts"),
    ("/admin/v1/executions/x/rerun", '{"validateOnly": 1}', "validateOnly"),
    ("/admin/v1/executions/x/rerun", '{"validateOnly": "true"}', "validateOnly"),
    ("/api/v1/executions:batch", '{"requests": [{"ifExists": true}]}', "requests[0].ifExists"),
    (START, '{"reason": "\\ud800"}', "reason"),
    (START, '{"payload": "\\ud800"}', "payload"),
    (START, '{"payload": 1, "payloadJson": "1"}', "payloadJson"),
    (START, '{"payload": null, "payloadJson": "1"}', "payloadJson"),
    (START, '{"payload": 1, "payloadJson": null}', "payloadJson"),
    (START, '{"taskName": "a", "task_name": "a"}', "task_name"),
    ("/admin/v1/pause", '{"stepPattern": "a", "step_pattern": "b"}', "step_pattern"),
    ("/admin/v1/pause", '{"expiresIn": "1h"}', "expiresIn"),
    ("/admin/v1/pause", '{"expiresAt": "tomorrow"}', "expiresAt"),
    ("/admin/v1/pause", '{"expiresIn": "1s", "expiresAt": "2999-01-01T00:00:00Z"}', "expiresAt"),
    ("/admin/v1/executions/x/retry-step", '{"maxAttempts": 3000000000}', "maxAttempts"),
    ("/admin/v1/executions/x/retry-step", '{"maxAttempts": 1.5}', "maxAttempts"),
    ("/admin/v1/executions/x/restart", '{"executionId": "y"}', "execution_id"),
    ("/admin/v1/pause/pr-1", '{"ruleId": "pr-2"}', "rule_id"),
    ("/admin/v1/pause", "{}", "everything"),
    ("/admin/v1/resume", "", "everything"),
    ("/admin/v1/resume", '{"reason": "all is well"}', "everything"),
    ("/admin/v1/resume", '{"planToken": "x"}', "everything"),
    ("/admin/v1/resume", '{"validateOnly": true, "everything": false}', "everything"),
    ("/admin/v1/pause", '{"expiresIn": "60s", "mustMatch": true}', "everything"),
    ("/admin/v1/pause", '{"taskName": "t", "stepPattern": null}', "stepPattern"),
    ("/admin/v1/resume?everything=true", "{}", "query"),
    ("/admin/v1/executions/%ff/restart", "{}", "execution_id"),
]


@pytest.mark.parametrize(("path", "text", "field"), BAD, ids=[f"{p} {t}" for p, t, _ in BAD])
def test_a_bad_field_of_a_body_is_named(
    shared_http: Http, path: str, text: str, field: str
) -> None:
    refused = shared_http.post(path, text)

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert list(refused.fields) == [field]


QUERIES = [
    ("pageSiz=1", "pageSiz"),
    ("pageSize=1&pageSize=2", "pageSize"),
    ("pageSize=1&page_size=1", "page_size"),
    ("pageSize=", "pageSize"),
    ("pageSize=1_0", "pageSize"),
    ("pageSize=99999999999", "pageSize"),
    ("statuses=failed", "statuses"),
    ("createdAfter=2026-01-01", "createdAfter"),
    ("pageSize", "query"),
    ("taskName=%ff", "query"),
    ("createdAfter.seconds=1", "createdAfter.seconds"),
    ("filter=%7B%7D", "filter"),
    ("filter=order&filter.taskName=order", "filter"),
    ("filter.taskName=order&filter=order", "filter"),
    ("filter.taskNam=order", "filter.taskNam"),
    ("filter.taskName=a&filter.task_name=b", "filter.task_name"),
    ("filter.taskName.x=a", "filter.taskName.x"),
    ("filter.deadAfter=yesterday", "filter.deadAfter"),
    ("filter.stepPattern=%5Ba", "filter.step_pattern"),
]


@pytest.mark.parametrize(("query", "field"), QUERIES)
def test_a_bad_parameter_is_named(shared_http: Http, query: str, field: str) -> None:
    refused = shared_http.get(f"{START}?{query}")

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert list(refused.fields) == [field]


def test_a_parameter_that_stands_in_the_path_is_refused(shared_http: Http) -> None:
    assert list(shared_http.get(f"{START}/x?executionId=y").fields) == ["executionId"]


async def test_all_rules_are_resumed_by_a_plan_that_says_so_only(rig: Rig, http_: Http) -> None:
    await rig.client.pause(task_name="t")

    def resume(**fields: object) -> Answer:
        return http_.post("/admin/v1/resume", fields)

    assert list(resume(validateOnly=True).fields) == ["everything"]
    token = resume(everything=True, validateOnly=True).json["planToken"]
    assert list(resume(planToken=token).fields) == ["everything"]
    assert [rule.status async for rule in rig.client.list_pause_rules()] == ["ACTIVE"]
    assert resume(everything=True, planToken=token).json["rulesDeleted"] == 1


async def test_every_kind_of_parameter_is_read(rig: Rig, http_: Http) -> None:
    for name in ("a", "b"):
        await rig.start(name, CHAIN)
    await rig.client.cancel_execution("a")
    await rig.client.pause(task_name="gone")
    await rig.client.resume(everything=True)

    def ids(query: str) -> list[str]:
        return [e["executionId"] for e in http_.get(f"{START}?{query}").json.get("executions", [])]

    assert ids("statuses=RUN_STATUS_CANCELLED") == ["a"]
    assert ids("statuses=RUN_STATUS_CANCELLED&statuses=1&task_name=t") == ["b", "a"]
    assert ids("stepStatuses=STEP_STATUS_SCHEDULED") == ["b"]
    assert ids("createdAfter=2999-01-01T00:00:00Z") == []
    assert ids("filter.taskName=t&filter.statuses=RUN_STATUS_CANCELLED") == ["a"]
    assert ids("filter.execution_id_prefix=b&filter.createdBefore=2999-01-01T00:00:00Z") == ["b"]
    assert ids("createdBefore=2999-01-01T01:00:00%2B01:00&pageSize=1") == ["b"]
    assert http_.get("/admin/v1/pause?includeDeleted=false").json == {}
    assert len(http_.get("/admin/v1/pause?include_deleted=true").json["rules"]) == 1
    page = http_.get("/admin/v1/executions/a/runs?pageSize=1").json
    assert page["runs"][0]["status"] == "RUN_STATUS_CANCELLED"
    assert http_.get(f"{START}/a?runNumber=0").status == 200
    assert http_.get(f"{START}/a?runNumber=1").reason == "RUN_NOT_FOUND"


@pytest.mark.parametrize(
    "name", ["a/b", "%", "a:run:0", "' OR 1=1--", "☃ 💳", "..", "a?b#c", "a+b"]
)
async def test_an_id_in_a_path_is_taken_literally(rig: Rig, http_: Http, name: str) -> None:
    await rig.client.start("t", execution_id=name, steps=specs({"a": ()}))
    written = quote(name, safe="")

    assert http_.get(f"{START}/{written}").json["execution"]["executionId"] == name
    assert http_.post(f"{START}/{written}/cancel", {"executionId": name}).status == 200


def test_a_field_may_have_its_name_in_the_proto(http_: Http) -> None:
    made = http_.post("/admin/v1/pause", {"task_name": "t", "step_pattern": "a*"})

    assert made.json["rule"]["stepPattern"] == "a*"


TYPES = [
    ({}, 415),
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "application/json; charset=latin-1"}, 415),
    ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ({"Content-Type": 'Application/JSON; Charset="UTF-8"'}, 200),
]


@pytest.mark.parametrize(("headers", "status"), TYPES)
def test_a_body_must_call_itself_json(http_: Http, headers: dict[str, str], status: int) -> None:
    answer = http_.send("POST", "/admin/v1/pause", b'{"taskName": "t"}', headers)

    assert answer.status == status


async def test_no_body_is_an_empty_one(rig: Rig, http_: Http) -> None:
    await rig.start("x")

    assert http_.send("POST", "/admin/v1/executions/x/restart").json["newRunNumber"] == 1


def test_a_body_that_is_not_utf8_is_refused(shared_http: Http) -> None:
    refused = shared_http.send("POST", "/admin/v1/pause", b'{"reason": "\xff"}', JSON)

    assert list(refused.fields) == ["body"]
    assert "UTF-8" in refused.fields["body"]


def test_a_body_of_a_get_is_refused(shared_http: Http) -> None:
    assert list(shared_http.send("GET", START, b"{}", JSON).fields) == ["body"]


def test_a_body_that_is_too_large_is_a_413(shared_http: Http) -> None:
    large = b" " * (16 * 1024 * 1024 + 1)
    pieces = iter([large[:-1], large[-1:]])

    told = shared_http.send("POST", START, b"", {**JSON, "Content-Length": str(len(large))})
    streamed = shared_http.send("POST", START, pieces, JSON)

    assert (told.status, streamed.status) == (413, 413)
    assert told.reason == streamed.reason == "PAYLOAD_TOO_LARGE"


def test_a_body_that_is_too_large_as_a_message_is_one_too(shared_http: Http) -> None:
    begin, end = '{"taskName": "', '"}'  # and the message has a request_id besides
    name = "x" * (16 * 1024 * 1024 - len(begin + end))
    refused = shared_http.post(START, begin + name + end)
    assert (refused.status, refused.reason) == (413, "PAYLOAD_TOO_LARGE")
    assert "too large to be sent" in refused.json["message"]


def test_a_payload_of_a_megabyte_is_taken_and_a_larger_one_is_a_413(http_: Http) -> None:
    fits = json.dumps("x" * (1024 * 1024 - 2))

    assert start(http_, f'"payloadJson": {json.dumps(fits)}').status == 200
    assert http_.get(f"{START}/x").json["run"]["payloadJson"] == fits
    refused = start(http_, f'"payloadJson": {json.dumps(fits[:-1] + "yz" + fits[-1])}')
    assert (refused.status, refused.reason) == (413, "PAYLOAD_TOO_LARGE")


def test_a_page_from_elsewhere_cannot_make_a_browser_operate(http_: Http) -> None:
    def asked(origin: str) -> int:
        return http_.send("POST", "/admin/v1/resume", b'{"everything": true}', JSON, Origin=origin).status  # fmt: skip

    assert asked("http://evil.example") == 403
    assert asked("null") == 403
    assert asked(f"http://{http_.address}") == 200
