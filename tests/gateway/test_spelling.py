"""How numbers, times and spans are written as text: as protobuf says, not as Python reads them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from gateway.sending import Http

START, PAUSE = "/api/v1/executions", "/admin/v1/pause"
RETRY = "/admin/v1/executions/nobody/retry-step"
WRONG: list[tuple[str, str, Any]] = [
    *((RETRY, "maxAttempts", text) for text in ("1_0", "١٠", "+5", "5\n", "", "ten", "0x10")),
    *(("/admin/v1/batches", "ratePerSecond", text) for text in ("1_0", "٥", "inf", "nan", ".5")),
    *((START, "ifExists", text) for text in ("0_1", "١", "+1", "")),
    *(
        (PAUSE, "expiresIn", text)
        for text in ("2_592_000s", "1.5e-1s", "٩s", "+5s", "1.s", "1h", "0.0000000001s", "")
    ),
    *(
        (PAUSE, "expiresAt", text)
        for text in ("2999-01-01T00:00:00.1_0Z", "٢٩٩٩-01-01T00:00:00Z", "2999-1-1T0:0:0Z", "now")
    ),
]


@pytest.mark.parametrize(("path", "field", "text"), WRONG)
def test_what_only_python_reads_is_refused(
    shared_http: Http, path: str, field: str, text: str
) -> None:
    refused = shared_http.post(path, {field: text})

    assert (refused.status, refused.reason) == (400, "INVALID_FIELD")
    assert list(refused.fields) == [field]
    assert ", not " in refused.fields[field]


@pytest.mark.parametrize(
    ("name", "text"),
    [("createdAfter", "2026-01-01T00:00:00.1_0Z"), ("statuses", "0_1"), ("statuses", "١")],
)
def test_nor_is_it_taken_in_a_query(shared_http: Http, name: str, text: str) -> None:
    assert list(shared_http.get(f"{START}?{name}={quote(text)}").fields) == [name]


def test_what_is_in_a_list_is_looked_at_too(shared_http: Http) -> None:
    conditions = {"statuses": ["RUN_STATUS_RUNNING", "0_1"]}

    refused = shared_http.post("/admin/v1/batches", {"selection": {"filter": conditions}})

    assert list(refused.fields) == ["selection.filter.statuses"]


@pytest.mark.parametrize("number", ["2", "20", "2.0", "2e1", "2E+1"])
def test_a_number_may_be_a_text(shared_http: Http, number: str) -> None:
    retried = shared_http.post(RETRY, {"stepName": "a", "maxAttempts": number})

    assert retried.reason == "EXECUTION_NOT_FOUND"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("expiresIn", "7200s"),
        ("expiresIn", "7200.123456789s"),
        ("expiresAt", "2999-01-01T00:00:00Z"),
        ("expiresAt", "2999-01-01T01:00:00.123456789+01:00"),
    ],
)
def test_times_and_spans_are_texts(shared_http: Http, field: str, text: str) -> None:
    planned = shared_http.post(PAUSE, {"taskName": "t", field: text, "validateOnly": True})

    assert planned.status == 200
