"""What helm makes of the chart is what Kubernetes takes; where there is no helm, nothing is tried."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped.chart import CHART, DOCUMENTED
from shipped.files import check_command, environment_of_container, port_of

HELM = shutil.which("helm")
pytestmark = pytest.mark.skipif(HELM is None, reason="there is no helm")
VALIDATORS = (("kubeconform", "-strict"), ("kubernetes-validate", "--strict"))
VALIDATOR = next((found for found in VALIDATORS if shutil.which(found[0])), ())
SECURE = {
    "database.secret": "zart-database",
    "tls.secret": "zart-tls",
    "auth.tokens.secret": "zart-tokens",
}
FULL: dict[str, Any] = {
    "server": {
        "settings": {"ZART_POOL_SIZE": 20, "OTEL_TRACES_SAMPLER": "always_on"},
        "autoscaling": {"enabled": True},
    },
    "gateway": {"settings": {"ZART_TLS_CLIENT_CA": "/etc/zart/tls/ca.crt"}},
    "metrics": {"podMonitor": True, "labels": {"release": "prometheus"}},
    "tracing": {"endpoint": "http://collector.observability:4317"},
    "auth": {"jwks": {"url": "https://id.example.org", "issuer": "i", "audience": "a"}},
    "networkPolicy": {
        "grpcCallers": [{"namespaceSelector": {}}],
        "httpCallers": [{"podSelector": {"matchLabels": {"app": "edge"}}}],
        "monitoring": [{"namespaceSelector": {}}],
        "egress": [{"ports": [{"port": 15012}], "to": [{"namespaceSelector": {}}]}],
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


def one_with(name: str, value: Any) -> dict[str, Any]:
    """Return the values of one dispatcher, with one of its own."""
    return {"dispatchers": [{"name": "one", "image": "i", "tasks": ["t"], name: value}]}


def helm(*words: str, given: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run helm on the chart with values."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(given))
    command = [str(HELM), *words, str(CHART), "--values", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def merged(given: dict[str, Any], flat: dict[str, Any]) -> dict[str, Any]:
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
    [merged(FULL, SECURE), DOCUMENTED, INSECURE],
    ids=["full", "documented", "insecure"],
)


@GIVEN
def test_helm_finds_nothing(given: dict[str, Any], tmp_path: Path) -> None:
    done = helm("lint", "--strict", given=given, folder=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not VALIDATOR, reason="there is neither kubeconform nor kubernetes-validate")
@GIVEN
def test_kubernetes_takes_what_it_makes(given: dict[str, Any], tmp_path: Path) -> None:
    made = [each for each in rendered(given, tmp_path) if each["kind"] != "PodMonitor"]
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump_all(made))
    done = subprocess.run([*VALIDATOR, str(file)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


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


def test_a_monitor_has_the_label_that_the_operator_selects_by(tmp_path: Path) -> None:
    made = rendered(merged(FULL, SECURE), tmp_path)
    (labels,) = [each["metadata"]["labels"] for each in made if each["kind"] == "PodMonitor"]

    assert FULL["metrics"]["labels"].items() < labels.items()


def test_pods_call_the_server_by_the_name_in_its_certificate(tmp_path: Path) -> None:
    name = "zart-server.zart.svc"
    made = rendered(merged(FULL, {**SECURE, "tls.serverName": name}), tmp_path)
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] == "Deployment"]
    told = [environment_of_container(pod["containers"][0]).get("ZART_ADDRESS") for pod in pods]

    assert sorted(filter(None, told)) == [f"{name}:50051"] * 3  # a gateway, two dispatchers


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


@pytest.mark.parametrize("missing", SECURE)
def test_what_would_be_open_to_anybody_is_refused_by_name(missing: str, tmp_path: Path) -> None:
    given = merged({}, {name: value for name, value in SECURE.items() if name != missing})
    done = helm("template", given=given, folder=tmp_path)

    assert done.returncode != 0
    assert f"{missing.partition('.')[0]}." in done.stderr


def test_a_misspelt_value_is_refused(tmp_path: Path) -> None:
    done = helm("template", given=merged({}, {**SECURE, "server.replica": "3"}), folder=tmp_path)

    assert done.returncode != 0
    assert "replica" in done.stderr


def test_a_dispatcher_may_have_no_replicas_and_no_grace(tmp_path: Path) -> None:
    none = {"name": "none", "image": "i", "tasks": ["t"], "replicas": 0, "graceSeconds": 0}
    usual = {"name": "usual", "image": "i", "tasks": ["t"]}
    made = rendered({**INSECURE, "dispatchers": [none, usual]}, tmp_path)
    found = {
        each["metadata"]["name"]: each["spec"] for each in made if each["kind"] == "Deployment"
    }
    for name, replicas, grace in (("none", 0, 0), ("usual", 1, 10)):
        spec = found[f"release-name-dispatcher-{name}"]
        pod = spec["template"]["spec"]
        assert spec["replicas"] == replicas
        assert pod["terminationGracePeriodSeconds"] == grace + 30
        assert f"--grace={grace}" in pod["containers"][0]["args"]


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ({}, 5 * 5 + 3 + 20 + 20),
        ({"drainNotice": 0, "settings": {"ZART_DRAIN_GRACE": "0"}}, 20 + 20),
        ({"settings": {"ZART_DRAIN_GRACE": 4.5, "ZART_OPERATION_TIMEOUT": "60"}}, 25 + 5 + 60 + 20),
    ],
)
def test_a_server_has_the_time_to_stop_that_its_settings_allow(
    given: dict[str, Any], seconds: int, tmp_path: Path
) -> None:
    made = rendered({**INSECURE, "server": given}, tmp_path)
    (server,) = [each for each in made if each["metadata"]["name"] == "release-name-server"
                 and each["kind"] == "Deployment"]  # fmt: skip

    assert server["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize(
    ("replicas", "given", "least"),
    [(None, {}, 1), (3, {}, 3), (0, {}, 1), (12, {}, 9), (3, {"minReplicas": 2}, 2)],
)
def test_an_autoscaler_has_as_many_pods_as_there_were_at_least(
    replicas: int | None, given: dict[str, int], least: int, tmp_path: Path
) -> None:
    scaling = {"enabled": True, "maxReplicas": 9, "taskNames": ["t"], **given}
    one: dict[str, Any] = {"name": "one", "image": "i", "tasks": ["t"], "autoscaling": scaling}
    if replicas is not None:
        one["replicas"] = replicas
    made = rendered({**INSECURE, "dispatchers": [one]}, tmp_path)
    kinds = {each["kind"]: each for each in made if each["metadata"]["name"].endswith("-one")}

    assert kinds["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == least
    # Nobody was asked which pods there are.
    assert "replicas" not in kinds["Deployment"]["spec"]
    assert "annotations" not in kinds["Deployment"]["metadata"]


@pytest.mark.parametrize(
    ("given", "budget"),
    [
        ({"minAvailable": 1}, {"minAvailable": 1}),
        ({"minAvailable": "50%", "maxUnavailable": None}, {"minAvailable": "50%"}),
        ({"maxUnavailable": 0}, {"maxUnavailable": 0}),
        ({"maxUnavailable": None}, {"maxUnavailable": 1}),
        (None, {"maxUnavailable": 1}),
    ],
)
def test_a_budget_of_disruptions_says_one_thing(
    given: Any, budget: dict[str, Any], tmp_path: Path
) -> None:
    made = rendered({**INSECURE, "podDisruptionBudget": given}, tmp_path)
    found = [each["spec"] for each in made if each["kind"] == "PodDisruptionBudget"]

    assert len(found) == 2
    for spec in found:
        assert {name: spec[name] for name in spec if name.endswith("vailable")} == budget


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"metrics.podMonitor": True}, "networkPolicy.monitoring"),
        ({"server.settings": {"ZART_DRAIN_NOTICE": 9}}, "server.drainNotice"),
        (one_with("settings", {"ZART_CONCURRENCY": 64}), "dispatchers.concurrency"),
        (one_with("env", [{"name": "ZART_CONCURRENCY", "value": "64"}]), "dispatchers.concurrency"),
        (one_with("settings", {"ZART_GRACE": 60}), "dispatchers.graceSeconds"),
        (one_with("env", [{"name": "ZART_GRACE", "value": "60"}]), "dispatchers.graceSeconds"),
        ({"auth.jwks": {"url": "https://id.example.org", "issuer": "i"}}, "auth.jwks.audience"),
        ({"auth.jwks": {"url": "https://id.example.org", "audience": "a"}}, "auth.jwks.issuer"),
        ({"auth.jwks": {"issuer": "i", "audience": "a"}}, "auth.jwks.url"),
    ],
)
def test_what_could_not_work_is_refused_by_name(
    given: dict[str, Any], named: str, tmp_path: Path
) -> None:
    done = helm("template", given=merged({}, {**SECURE, **given}), folder=tmp_path)

    assert done.returncode != 0
    assert named in done.stderr
