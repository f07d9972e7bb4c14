"""The chart: what its templates name is there; with helm, what it makes is what Kubernetes takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from shipped.chart import CHART, SCHEMA, TEMPLATES, VALUES
from shipped.files import ROOT, check_command, environment_of_container, port_of

HELM = shutil.which("helm")
needs_helm = pytest.mark.skipif(HELM is None, reason="there is no helm")
VALIDATORS = (("kubeconform", "-strict"), ("kubernetes-validate", "--strict"))
VALIDATOR = next((found for found in VALIDATORS if shutil.which(found[0])), ())


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
    free = {"server.resources", "gateway.resources", "podDisruptionBudget"}
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


DOCUMENT = (ROOT / "docs/deploying.md").read_text()
(DOCUMENTED,) = re.findall(r"```yaml\n# values.yaml\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_documented_values_are_ones_that_the_chart_takes() -> None:
    given = yaml.safe_load(DOCUMENTED)
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


SECURE = {
    "database.secret": "zart-database",
    "tls.secret": "zart-tls",
    "auth.tokens.secret": "zart-tokens",
}
FULL = {
    "server": {
        "settings": {"ZART_POOL_SIZE": 20, "OTEL_TRACES_SAMPLER": "always_on"},
        "autoscaling": {"enabled": True},
    },
    "metrics": {"podMonitor": True},
    "tracing": {"endpoint": "http://collector.observability:4317"},
    "auth": {"jwks": {"url": "https://id.example.org", "issuer": "i", "audience": "a"}},
    "networkPolicy": {
        "grpcCallers": [{"namespaceSelector": {}}],
        "httpCallers": [{"podSelector": {"matchLabels": {"app": "edge"}}}],
        "monitoring": [{"namespaceSelector": {}}],
    },
    "dispatchers": [
        {
            "name": "orders", "image": "orders:1", "tasks": ["orders"], "tokenSecret": "orders",
            "env": [{"name": "SHOP", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
            "envFrom": [{"secretRef": {"name": "shop"}}],
            "autoscaling": {"enabled": True, "maxReplicas": 9, "taskNames": ["order", "refund"]},
        },
        {"name": "mails", "image": "mails:1", "tasks": ["mails", "letters"]},
    ],
}  # fmt: skip
INSECURE = {"database": {"secret": "zart-database"}, "insecure": True}


def helm(*words: str, given: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart with values."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(given))
    command = [str(HELM), *words, str(CHART), "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def merged(given: dict[str, Any], flat: dict[str, str]) -> dict[str, Any]:
    """Return values with more of them, named by their paths."""
    made: dict[str, Any] = json.loads(json.dumps(given))
    for path, value in flat.items():
        *folders, name = path.split(".")
        at = made
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = value
    return made


def rendered(given: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return what the chart makes of values."""
    done = helm("template", given=given, folder=folder)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


GIVEN = pytest.mark.parametrize(
    "given",
    [merged(FULL, SECURE), yaml.safe_load(DOCUMENTED), INSECURE],
    ids=["full", "documented", "insecure"],
)


@needs_helm
@GIVEN
def test_helm_finds_nothing(given: dict[str, Any], tmp_path: Path) -> None:
    done = helm("lint", "--strict", given=given, folder=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_helm
@pytest.mark.skipif(not VALIDATOR, reason="there is neither kubeconform nor kubernetes-validate")
@GIVEN
def test_kubernetes_takes_what_it_makes(given: dict[str, Any], tmp_path: Path) -> None:
    made = [each for each in rendered(given, tmp_path) if each["kind"] != "PodMonitor"]
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump_all(made))
    done = subprocess.run([*VALIDATOR, str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@needs_helm
@GIVEN
def test_pods_run_commands_that_there_are_where_their_probes_and_services_look(
    given: dict[str, Any], tmp_path: Path
) -> None:
    made = rendered(given, tmp_path)
    pods = [each for each in made if each["kind"] in {"Deployment", "Job"}]
    for each in pods:
        spec = each["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        check_command(container["args"])
        environment = environment_of_container(container)
        listens = {port_of(at) for name, at in environment.items() if name.endswith("_LISTEN")}
        assert listens == {port["containerPort"] for port in container.get("ports", ())}
        named = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            look = container.get(probe, {})
            if "exec" in look:
                command, *words = look["exec"]["command"]
                assert command == "zart"
                check_command(words)
            elif "grpc" in look:
                assert look["grpc"]["port"] in listens
            else:
                assert (each["kind"] == "Job") or look["httpGet"]["port"] in named
        mounts = {mount["name"] for mount in container.get("volumeMounts") or ()}
        assert mounts == {volume["name"] for volume in spec.get("volumes") or ()}
        assert spec["securityContext"]["runAsNonRoot"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
    labels = [each["spec"]["template"]["metadata"]["labels"].items() for each in pods]
    for each in made:
        if each["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}:
            selector = each["spec"].get("selector") or each["spec"]["podSelector"]
            wanted = selector.get("matchLabels", selector).items()
            assert sum(wanted <= found for found in labels) == 1, each["metadata"]["name"]


@needs_helm
def test_pods_call_the_server_by_the_name_in_its_certificate(tmp_path: Path) -> None:
    name = "zart-server.zart.svc"
    made = rendered(merged(FULL, {**SECURE, "tls.serverName": name}), tmp_path)
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    told = [environment_of_container(pod["containers"][0]).get("ZART_ADDRESS") for pod in pods]

    assert sorted(filter(None, told)) == [f"{name}:50051"] * 3  # a gateway, two dispatchers


@needs_helm
def test_a_mesh_has_gateways_called_by_their_service_and_tokens_sent(tmp_path: Path) -> None:
    one = {"name": "orders", "image": "orders:1", "tasks": ["orders"], "tokenSecret": "orders"}
    given = {**INSECURE, "gateway": {"hosts": "zart.example.org"}, "dispatchers": [one]}
    told = {
        each["metadata"]["name"].removeprefix("release-name-"): environment_of_container(
            each["spec"]["template"]["spec"]["containers"][0]
        )
        for each in rendered(given, tmp_path)
        if each["kind"] == "Deployment"
    }

    assert {name for name, each in told.items() if each.get("ZART_INSECURE") == "1"} == {*told}
    names = told["gateway"]["ZART_GATEWAY_HOSTS"].split(",")
    assert names[0] == "release-name-gateway"
    assert names[2] == "release-name-gateway.default.svc"
    assert names[-1] == "zart.example.org"


@needs_helm
@pytest.mark.parametrize("missing", SECURE)
def test_what_would_be_open_to_anybody_is_refused_by_name(missing: str, tmp_path: Path) -> None:
    given = merged({}, {name: value for name, value in SECURE.items() if name != missing})
    done = helm("template", given=given, folder=tmp_path)

    assert done.returncode != 0
    assert f"{missing.partition('.')[0]}." in done.stderr


@needs_helm
def test_a_misspelt_value_is_refused(tmp_path: Path) -> None:
    done = helm("template", given=merged({}, {**SECURE, "server.replica": "3"}), folder=tmp_path)

    assert done.returncode != 0
    assert "replica" in done.stderr
