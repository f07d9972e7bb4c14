"""The chart: what its templates name is there, and it takes what is documented."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import yaml
from shipped.chart import CHART, DOCUMENT, DOCUMENTED, SCHEMA, TEMPLATES, VALUES
from shipped.files import ROOT


def values(tree: dict[str, Any], within: str = "") -> Iterator[str]:
    """Yield the path of each value that a chart has, and of what these are in."""
    for name, value in tree.items():
        yield f"{within}{name}"
        if isinstance(value, dict):
            yield from values(value, f"{within}{name}.")


def described(schema: dict[str, Any], within: str = "") -> Iterator[str]:
    """Yield the path of each value that the schema knows by name."""
    for name, part in schema.get("properties", {}).items():
        yield f"{within}{name}"
        yield from described(part, f"{within}{name}.")


def test_templates_name_only_values_that_there_are() -> None:
    there = set(values(VALUES))
    used = {name for text in TEMPLATES.values() for name in re.findall(r"\.Values\.([\w.]+)", text)}

    assert used <= there
    # What is looked at piece by piece, or given whole.
    whole = ("image", "auth.jwks", "server.autoscaling", "podDisruptionBudget")
    unused = {
        name
        for name in there - used
        if not any(name.startswith(f"{one}.") for one in whole)
        and not any(other.startswith(f"{name}.") for other in used)
        and not any(name.startswith(f"{other}.") for other in used)
    }
    assert unused == set()


def test_the_schema_knows_each_value_and_no_other() -> None:
    free = {f"{one}.resources" for one in ("migration", "server", "gateway")}
    free |= {"podDisruptionBudget"}
    there = {n for n in values(VALUES) if not any(n.startswith(f"{one}.") for one in free)}

    assert there | {"global"} == set(described(SCHEMA))


def test_every_value_of_a_dispatcher_is_in_the_schema_and_in_a_template() -> None:
    known = SCHEMA["definitions"]["dispatcher"]["properties"]
    example = "\n".join(
        line.removeprefix("# ").removeprefix("#")
        for line in (CHART / "values.yaml")
        .read_text()
        .partition("dispatchers: []\n")[2]
        .splitlines()
        if line.startswith("#")
    )
    (shown,) = yaml.safe_load(example)
    used = set(re.findall(r"\$one\.(\w+)", TEMPLATES["dispatchers.yaml"]))
    scaling = set(re.findall(r"\$scaling\.(\w+)", TEMPLATES["dispatchers.yaml"]))

    assert shown.keys() == known.keys() == used
    assert shown["autoscaling"].keys() == known["autoscaling"]["properties"].keys() == scaling


def test_replicas_follow_a_metric_of_the_servers() -> None:
    sources = (path.read_text() for path in (ROOT / "server/zart_server/metrics").glob("*.py"))

    assert any(f'"{VALUES["oldestReadyMetric"]}"' in source for source in sources)


def test_the_chart_is_of_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert chart["version"] == chart["appVersion"] == version


def test_the_documented_values_are_ones_that_the_chart_takes() -> None:
    given = DOCUMENTED
    jsonschema_rs.validate(SCHEMA, VALUES)
    jsonschema_rs.validate(SCHEMA, given)
    named = {given["database"]["secret"], given["tls"]["secret"]}
    named |= {given["auth"]["tokens"]["secret"], given["dispatchers"][0]["tokenSecret"]}

    assert named == set(re.findall(r"^kubectl create secret generic (\S+)", DOCUMENT, re.MULTILINE))


def test_what_is_set_of_traces_is_a_setting() -> None:
    """As docs/tracing.md says them; a misspelt one is refused."""
    for name, is_one in (("OTEL_TRACES_SAMPLER", True), ("OTLE_TRACES_SAMPLER", False)):
        given = {"server": {"settings": {name: "x"}}}
        assert jsonschema_rs.is_valid(SCHEMA, given) is is_one


def test_each_process_is_told_where_spans_go_and_may_go_there() -> None:
    for process in ("server", "gateway", "dispatchers"):
        assert 'include "zart.tracing"' in TEMPLATES[f"{process}.yaml"]
    ports = TEMPLATES["networkpolicy.yaml"].count(".Values.networkPolicy.tracingPort")
    assert ports == 2  # of server and gateway; a dispatcher may call anybody
