"""What the chart's templates say, as far as it can be read without helm."""

from __future__ import annotations

import re
from typing import Any

from shipped.chart import DOCUMENT, SCHEMA, TEMPLATES, VALUES
from shipped.files import DEPLOY, check_command, compose

from zart.cli import leaving, stack
from zart.dispatcher import service
from zart.dispatcher.stopping import CLEAN_UP
from zart.gateway import server as gateway
from zart_server import supervisor
from zart_server.api.limits import MOST_NOTICES
from zart_server.settings import Settings


def number(pattern: str, text: str) -> int:
    """Return the number that a pattern finds in a text, which has one place for it."""
    (found,) = re.findall(pattern, text, re.MULTILINE)
    return int(found)


def test_whatever_stops_a_gateway_waits_for_the_calls_under_way() -> None:
    """In Kubernetes it goes on taking calls first, until all have heard that it goes."""
    template = TEMPLATES["gateway.yaml"]
    sleeping = number(r'^ +lifecycle: \{preStop: .*\[sleep, "(\d+)"\]\}\}\}$', template)
    unit = (DEPLOY / "systemd/zart-gateway.service").read_text()
    composed = compose()["services"]["gateway"]["stop_grace_period"]

    assert sleeping >= 5
    asked = number(r"terminationGracePeriodSeconds: (\d+)$", template)
    assert asked >= sleeping + 2 * gateway._GRACE
    assert number(r"^TimeoutStopSec=(\d+)$", unit) >= 2 * gateway._GRACE
    assert number(r"^(\d+)s$", composed) >= 2 * gateway._GRACE
    assert stack._STOP_GATEWAY > gateway._GRACE


def test_whatever_stops_a_server_waits_for_all_that_it_may_take() -> None:
    """As who looks after several processes does, and for as long as that one may take besides."""
    template = TEMPLATES["server.yaml"]
    unit = (DEPLOY / "systemd/zart-server.service").read_text()
    composed = compose()["services"]["server"]["stop_grace_period"]
    seconds = {
        name: Settings.model_fields[name].default
        for name in ("drain_notice", "drain_grace", "operation_timeout")
    }
    notices = MOST_NOTICES * seconds.pop("drain_notice")
    most = notices + sum(seconds.values()) + supervisor._LAST

    assert number(r"^TimeoutStopSec=(\d+)$", unit) > most
    assert number(r"^(\d+)s$", composed) > most
    told = re.findall(r'"name" "ZART_(\w+)" "otherwise" (\d+)\)', template)
    assert {name.lower(): float(default) for name, default in told} == seconds
    (asked,) = re.findall(r"GracePeriodSeconds: \{\{ add (.*) \}\}$", template, re.MULTILINE)
    assert asked == f"(mul {MOST_NOTICES} .Values.server.drainNotice) $grace $operation 20"
    assert supervisor._LAST < 20


def test_what_a_dispatcher_is_started_with_is_refused_as_a_variable() -> None:
    """An option goes before its variable, which would be set for nothing."""
    template = TEMPLATES["dispatchers.yaml"]
    typed = re.findall(r"^ +- --(\w+)=", template, re.MULTILINE)
    refused = re.findall(r'\{\{- if has "ZART_(\w+)" \$named \}\}', defined("zart.check"))

    assert [name.lower() for name in refused] == typed == ["concurrency", "grace"]


def test_whatever_stops_a_dispatcher_waits_for_its_handlers_and_their_outcomes() -> None:
    unit = (DEPLOY / "systemd/zart-dispatcher@.service").read_text()
    composed = compose()["services"]["dispatcher"]["stop_grace_period"]
    most = 10 + service._CALL_TIMEOUT + 2 * CLEAN_UP + leaving._LOOP_AND_PYTHON

    assert number(r"^TimeoutStopSec=(\d+)$", unit) > most
    assert number(r"^(\d+)s$", composed) > most


def test_pods_are_replaced_one_at_a_time_a_new_one_first() -> None:
    """A quarter of them at once where nothing is said, which of few is none and of many is many."""
    deployments = [text for text in TEMPLATES.values() if "kind: Deployment\n" in text]

    assert len(deployments) == 3
    for text in deployments:
        assert "\n  strategy:\n    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}\n" in text


def defined(name: str) -> str:
    """Return what the helpers define by a name."""
    return TEMPLATES["_helpers.tpl"].partition(f'define "{name}"')[2].partition("{{- define")[0]


def test_pods_call_the_server_by_the_name_in_its_certificate() -> None:
    """Their own TLS asks for it, as the probes do."""
    assert '"%s:50051" (include "zart.serverName" .)' in defined("zart.caller")
    assert '"zart.serverName"' in TEMPLATES["server.yaml"]
    for caller in ("gateway", "dispatchers"):
        assert 'include "zart.caller"' in TEMPLATES[f"{caller}.yaml"]


def test_the_code_of_tasks_is_given_variables_and_may_write_to_a_folder_of_its_own() -> None:
    template = TEMPLATES["dispatchers.yaml"]
    environment = template.partition("          env:\n")[2].partition("          ports:\n")[0]
    mounts = template.partition("          volumeMounts:\n")[2].partition("{{- if")[0]
    volumes = template.partition("      volumes:\n")[2].partition("{{- with")[0]

    # After what the chart sets, which it may thus change, and however few secrets there are.
    assert environment.index('"zart.settings"') < environment.index("{{- with $one.env }}")
    assert "          {{- with $one.envFrom }}\n          envFrom:\n" in environment
    assert mounts.strip() == "- {name: tmp, mountPath: /tmp}"
    assert volumes.strip() == "- {name: tmp, emptyDir: {}}"
    assert compose()["services"]["dispatcher"]["tmpfs"] == ["/tmp"]  # noqa: S108 - the container's


def test_a_gateway_may_be_called_by_its_service_and_a_token_sent_where_a_mesh_does_tls() -> None:
    hosts = defined("zart.gatewayHosts")

    assert 'include "zart.gatewayHosts"' in TEMPLATES["gateway.yaml"]
    assert "name: {{ .Release.Name }}-gateway\n" in TEMPLATES["gateway.yaml"]
    assert 'printf "%s-gateway" .Release.Name' in hosts
    assert ".Values.gateway.hosts" in hosts
    assert "{{- if .Values.insecure }}\n- {name: ZART_INSECURE" in defined("zart.caller")
    assert "ZART_INSECURE" not in TEMPLATES["gateway.yaml"]


def test_a_gateway_that_asks_for_certificates_is_asked_by_who_has_one() -> None:
    template = TEMPLATES["gateway.yaml"]
    (setting,) = re.findall(
        r"\{\{- \$asks := hasKey \(\.Values\.gateway\.settings .*\) (.*) \}\}", template
    )
    probes = template.partition("{{ $probe }}:\n")[2].partition("failureThreshold")[0]
    asked, otherwise = probes.split("            {{- else }}\n")
    (command,) = re.findall(r"command: \[(.*), --server-name, ", asked)
    name, *words = command.replace('"', "").split(", ")

    assert setting == '"ZART_TLS_CLIENT_CA"'
    assert asked.startswith("            {{- if $asks }}\n            exec:\n")
    assert name == "zart"
    check_command([*words, "--server-name", "zart-server", "--live"])
    assert "--live" in asked
    assert "httpGet" not in asked
    assert "httpGet" in otherwise


def test_what_else_may_be_called_is_in_each_list_of_what_is_called() -> None:
    made = (TEMPLATES[name].split("\n---\n") for name in ("networkpolicy.yaml", "migration.yaml"))
    limited = [policy for each in made for policy in each if "\n  egress:\n" in policy]
    more = (
        "    {{- with .Values.networkPolicy.egress }}\n"
        "    {{- toYaml . | nindent 4 }}\n"
        "    {{- end }}\n"
    )

    assert len(limited) == 3  # of servers, of gateways and of the migration
    assert all(more in policy.partition("\n  egress:\n")[2] for policy in limited)


def test_a_migration_has_the_time_the_room_and_the_way_to_its_database() -> None:
    job, policy = TEMPLATES["migration.yaml"].split("\n---\n")
    waits = number(r"^helm upgrade --install .* --timeout (\d+)m$", DOCUMENT)

    assert waits * 60 > VALUES["migration"]["activeDeadlineSeconds"]
    assert ".Values.migration.resources" in job
    assert '(dict "root" . "component" "migration")' in job
    # Hooks come before what else there is, and by their weight.
    assert "kind: NetworkPolicy" in policy
    assert '(dict "root" . "component" "migration")' in policy
    for hook in ("hook: pre-install,pre-upgrade", "hook-delete-policy: before-hook-creation"):
        assert f"    helm.sh/{hook}" in job
        assert f"    helm.sh/{hook}" in policy
    assert '    helm.sh/hook-weight: "-1"' in policy
    assert "hook-weight" not in job
    assert "{{ .Values.database.port }}" in policy


def allowed(path: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return what the schema says of a value, by its path within what ``schema`` is of.

    A path leads into a list as if it were each of its items.
    """
    for name in path.split("."):
        schema = resolved(resolved(schema.get("items", schema))["properties"][name])
    return schema


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the definition that a part of the schema refers to, else that part."""
    reference = schema.get("$ref", "").removeprefix("#/definitions/")
    found: dict[str, Any] = SCHEMA["definitions"][reference] if reference else schema
    return found


def test_nothing_that_may_be_0_or_false_has_a_default_that_takes_it_for_nothing() -> None:
    dispatcher = SCHEMA["definitions"]["dispatcher"]
    roots = {
        "Values": SCHEMA,
        "one": dispatcher,
        "scaling": dispatcher["properties"]["autoscaling"],
    }
    found = [
        allowed(path, roots[root])
        for text in TEMPLATES.values()
        for root, path in re.findall(r"[.$](Values|one|scaling)\.([\w.]+) \| default ", text)
    ]

    assert len(found) > 5
    for schema in found:
        assert schema["type"] in {"object", "string", "array"} or schema["minimum"] > 0


def test_an_autoscaler_that_is_turned_on_begins_with_the_pods_that_there_are() -> None:
    """Where a manifest has said how many, and the next one does not, Kubernetes makes it one."""
    (asked,) = re.findall(r"\{\{- if or \(not \$scaler\) \((.*)\) \}\}", defined("zart.kept"))
    scaled = [text for text in TEMPLATES.values() if "kind: HorizontalPodAutoscaler\n" in text]

    assert 'lookup "apps/v1" "Deployment" $namespace .name' in defined("zart.kept")
    assert "max $there.spec.replicas .least" in defined("zart.kept")
    assert asked == 'hasKey ($there.metadata.annotations | default dict) "zart/replicas"'
    assert len(scaled) == 2  # of servers and of dispatchers
    for text in scaled:
        # Once there is a number there always is one, which the annotation tells.
        assert '{{- $kept = include "zart.kept" (dict ' in text
        assert (
            "  {{- if $kept }}\n  annotations: {zart/replicas: kept}\n  {{- end }}\nspec:\n" in text
        )
        assert "  {{- if $kept }}\n  replicas: {{ $kept }}\n  {{- else if not " in text
        assert text.count("replicas: {{ ") == 2


def test_a_budget_of_disruptions_says_one_thing() -> None:
    """Values are put together: whoever gives minAvailable has the maxUnavailable of the chart, too."""
    template = TEMPLATES["disruption.yaml"]
    first, other = template.partition("  {{- else }}\n")[::2]

    assert first.endswith(
        '  {{- if hasKey $budget "minAvailable" }}\n'
        "  minAvailable: {{ toJson $budget.minAvailable }}\n"
    )
    assert other.startswith("  maxUnavailable: ")
    assert (template.count("minAvailable: "), template.count("maxUnavailable: ")) == (1, 1)


def test_what_is_refused_is_named_by_its_value() -> None:
    told = re.findall(r'\{\{- fail \(?(?:printf )?"([^"]*)"', "".join(TEMPLATES.values()))
    named = {name for text in told for name in text.partition(":")[0].split(" and ")}

    jwks = {f"auth.jwks.{name}" for name in ("url", "issuer", "audience")}
    dispatchers = {f"dispatchers.{name}" for name in ("tlsSecret", "concurrency", "graceSeconds")}
    given = {"networkPolicy.monitoring", "server.drainNotice", *dispatchers}
    assert jwks | given < named
    for name in (name for text in named for name in text.split(" or ")):
        assert allowed(name, SCHEMA)
    # Whatever is installed: the one template that is looked at first refuses.
    assert TEMPLATES["migration.yaml"].startswith('{{- include "zart.check" . }}\n')
