"""deploy/envoy.yaml routes each RPC that there is as what it does asks for; browsers may use HTTP."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from client.scripted import SERVICES
from google.protobuf.descriptor import MethodDescriptor
from shipped.files import DEPLOY

METHODS = [method for service in SERVICES for method in service.methods]


def found(node: Any, kind: str) -> list[Any]:
    """Return what has this key, wherever it is."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    here = [node[kind]] if isinstance(node, dict) and kind in node else []
    return here + [each for one in inner for each in found(one, kind)]


CONFIG = yaml.safe_load((DEPLOY / "envoy.yaml").read_text())
HOST = next(
    host
    for hosts in found(CONFIG, "virtual_hosts")
    for host in hosts
    if any("prefix" in route["match"] for route in host["routes"])
)


def route_of(path: str) -> dict[str, Any]:
    """Return the route that a call takes: the first that matches."""
    for route in HOST["routes"]:
        match = route["match"]
        regex = match.get("safe_regex", {}).get("regex")
        if (
            path == match.get("path")
            or (regex and "headers" not in match and re.fullmatch(regex, path))
            or ("prefix" in match and path.startswith(match["prefix"]))
        ):
            return dict(route["route"])
    raise AssertionError(f"no route for {path}")


def ids(method: MethodDescriptor) -> str:
    return str(method.full_name)


@pytest.mark.parametrize("method", METHODS, ids=ids)
def test_streams_last_and_only_reads_are_repeated_after_they_were_sent(
    method: MethodDescriptor,
) -> None:
    route = route_of(f"/{method.containing_service.full_name}/{method.name}")
    changes = (
        "request_id" in method.input_type.fields_by_name
        or method.containing_service.name == "DispatchService"
        or method.name == "RunExecution"
    )
    policy = route.get("retry_policy") or HOST["retry_policy"]
    assert ("reset" in policy["retry_on"].split(",")) != changes
    assert (route["timeout"] == "0s") == method.server_streaming


def test_pages_of_the_named_origin_may_do_what_http_offers() -> None:
    [cors] = [each for each in found(CONFIG, "envoy.filters.http.cors") if "allow_methods" in each]
    assert set(cors["allow_methods"].split(", ")) >= {"GET", "POST", "PATCH", "DELETE"}
    for names in (cors["allow_headers"], cors["expose_headers"]):
        assert "idempotency-key" in names.split(", ")
