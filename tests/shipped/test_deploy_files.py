"""What deploy/ names is there: settings, commands, ports, files, images without a registry."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from metrics.series import PAGE, ROW
from shipped.chart import TEMPLATES
from shipped.files import (
    DEPLOY,
    ROOT,
    check_command,
    compose,
    environment_of,
    port_of,
    real_settings,
    settings_in,
    texts,
)

CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
SERVICES = compose()["services"]
OURS = {name: service for name, service in SERVICES.items() if "zart-control" in service["image"]}
_OF_THE_SHELL = {"PWD", "OLDPWD", "SHLVL", "_"}  # what it adds to an empty environment
LISTENS = ("ZART_LISTEN", "ZART_GATEWAY_LISTEN", "ZART_HEALTH_LISTEN", "ZART_METRICS_LISTEN")


@pytest.mark.parametrize(("name", "text"), list(texts()), ids=[name for name, _ in texts()])
def test_every_setting_is_one_that_is_read(name: str, text: str) -> None:
    assert settings_in(text) <= real_settings(), name


def test_every_image_is_a_short_name_of_one_version() -> None:
    base = re.search(r"^ARG BASE_IMAGE=(.*)$", CONTAINERFILE, re.MULTILINE)
    assert base is not None
    others = [service["image"] for service in SERVICES.values() if service not in OURS.values()]
    for image in (base[1], *others):
        first, slash, _ = image.partition("/")
        assert not (slash and re.search(r"[.:]|^localhost$", first)), f"{image} names a registry"
        assert re.search(r":v?\d[\w.-]*$", image), f"{image} is of any version"


def test_the_image_has_what_is_locked_and_runs_as_nobody() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+) ", CONTAINERFILE, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}

    assert "*" in ignored
    assert set(copied) == let_through == {"deploy/requirements.lock", "dist/*.whl"}
    assert "--require-hashes -r /build/requirements.lock" in CONTAINERFILE
    assert re.search(r"^USER \d{4,}:\d{4,}$", CONTAINERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE) == ["${BASE_IMAGE}"] * 2


def test_the_image_has_the_versions_that_were_tested() -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^([\w.-]+==\S+)", (ROOT / lock).read_text(), re.MULTILINE))

    shipped = pins("deploy/requirements.lock")
    names = {pin.partition("==")[0] for pin in shipped}

    assert shipped <= pins("requirements.lock")
    assert {"asyncpg", "grpcio", "starlette", "uvicorn", "prometheus-client"} <= names
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for extra in ("server", "gateway", "otel"):  # what any of the processes can be set to
        needed = {re.split(r"[\[>]", one)[0] for one in extras[extra]}
        assert needed <= names, extra
    assert not names & {"pytest", "mypy", "hypothesis", "ruff"}


@pytest.mark.parametrize("name", ["server", "gateway", "dispatcher"])
def test_spans_go_where_one_variable_says(name: str) -> None:
    told = OURS[name]["environment"]
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in told
    assert not told["OTEL_EXPORTER_OTLP_ENDPOINT"]  # unless it is set, nowhere


def test_a_dispatcher_is_tuned_by_variables_of_which_none_has_to_be_set() -> None:
    tuned = {"ZART_CONCURRENCY": "16", "ZART_LEASE": "30", "ZART_GRACE": "10"}
    text = (DEPLOY / "systemd/dispatcher.env").read_text()
    composed = OURS["dispatcher"]["environment"]
    page = (ROOT / "docs/settings.md").read_text()

    assert dict(re.findall(r"^#(ZART_\w+)=(.*)$", text, re.MULTILINE)) == tuned
    for name, default in tuned.items():
        assert composed[name] is None  # empty, which is as not given
        assert re.search(rf"^\| `{name}` \| [^|]* \| {default} \|", page, re.MULTILINE)


@pytest.mark.parametrize("name", OURS)
def test_a_container_runs_a_command_that_zart_takes(name: str) -> None:
    service = OURS[name]
    check_command(service["command"])
    if name == "migrate":
        return
    probe = service["healthcheck"]["test"]
    assert probe[:2] == ["CMD", "zart"]
    check_command(probe[2:])
    assert probe[3] == name


def test_containers_publish_what_they_listen_on_and_on_loopback_only() -> None:
    exposed = re.search(r"^EXPOSE (.*)$", CONTAINERFILE, re.MULTILINE)
    assert exposed is not None
    listening = {
        name: {port_of(at) for key, at in service.get("environment", {}).items() if key in LISTENS}
        for name, service in OURS.items()
    }

    assert set().union(*listening.values()) == set(map(int, exposed[1].split()))
    for name, service in SERVICES.items():
        for port in service.get("ports", ()):
            address, _, inside = port.split(":")
            assert address == "127.0.0.1"
            assert name not in OURS or int(inside) in listening[name]


def test_containers_call_each_other_where_they_listen() -> None:
    for name in ("gateway", "dispatcher"):
        host, _, port = OURS[name]["environment"]["ZART_ADDRESS"].partition(":")
        assert int(port) == port_of(OURS[host]["environment"]["ZART_LISTEN"])
    (scraped,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())[
        "scrape_configs"
    ]
    (several,) = scraped["dns_sd_configs"]
    ports = dict.fromkeys(several["names"], several["port"])
    # One of them that is gone is missed only if it is a target all the same.
    for each in scraped["static_configs"]:
        (target,) = each["targets"]
        host, _, port = target.partition(":")
        assert each["labels"] == {"component": host}
        ports[host] = int(port)
    assert several["names"] == ["dispatcher"]
    assert ports.keys() == OURS.keys() - {"migrate"}
    for name, port in ports.items():
        assert port == port_of(OURS[name]["environment"]["ZART_METRICS_LISTEN"])
    # An empty name would take the label from those that have it.
    (relabelled,) = scraped["relabel_configs"]
    assert not re.fullmatch(relabelled["regex"], "")
    assert relabelled["target_label"] == "component"


def test_what_targets_are_named_by_takes_no_label_from_what_they_tell() -> None:
    """Prometheus would rename theirs: those of one process of several, and of zart_build_info."""
    (scraped,) = yaml.safe_load((DEPLOY / "prometheus/prometheus.yml").read_text())[
        "scrape_configs"
    ]
    given = {label for each in scraped["static_configs"] for label in each["labels"]}
    given |= {each["target_label"] for each in scraped["relabel_configs"]}
    monitor = TEMPLATES["podmonitor.yaml"]
    told = {
        label
        for _, _, labels in ROW.findall(PAGE.read_text())
        for label in labels.strip().split(", ")
    }

    assert given == set(re.findall(r"targetLabel: (\w+)$", monitor, re.MULTILINE))
    assert told & given == {"component"}
    assert scraped["honor_labels"] is True
    assert "honorLabels: true" in monitor


def test_what_compose_mounts_and_names_is_there() -> None:
    read = compose()
    for service in SERVICES.values():
        for needed in service.get("depends_on", ()):
            assert needed in SERVICES
        assert set(service.get("secrets", ())) <= read["secrets"].keys()
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            is_there = (DEPLOY / source).is_dir() if "/" in source else source in read["volumes"]
            assert is_there, volume
    assert (DEPLOY / "../examples" / f"{OURS['dispatcher']['command'][1]}.py").is_file()


def test_grafana_asks_the_prometheus_beside_it() -> None:
    folder = DEPLOY / "grafana/provisioning"
    (source,) = yaml.safe_load((folder / "datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/zart.yaml").read_text())["providers"]
    mounts = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])

    assert source["url"] == "http://prometheus:9090"
    assert mounts["./grafana"] == provider["options"]["path"]


@pytest.mark.parametrize(
    "unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda p: p.stem
)
def test_a_unit_runs_a_command_that_zart_takes(unit: Path) -> None:
    text = unit.read_text()
    command = re.search(r"^ExecStart=/opt/zart/bin/zart (.*)$", text, re.MULTILINE)
    settings = re.search(r"^EnvironmentFile=/etc/zart/(.*)$", text, re.MULTILINE)
    assert command is not None
    assert settings is not None
    check_command(command[1].replace("%i", "orders").split())
    assert environment_of(DEPLOY / "systemd" / settings[1])
    assert "Type=notify" in text
    # Five failures within ten seconds, as while a database is away, would be its last.
    assert "\nStartLimitIntervalSec=0\n" in text.partition("[Service]")[0]
    assert "\nRestart=always\n" in text


@pytest.mark.parametrize("name", ["zart-server", "zart-dispatcher@"])
def test_what_may_take_long_to_start_has_the_time(name: str) -> None:
    """A migration that is cut off is rolled back and begins anew: it would never come to its end."""
    assert "\nTimeoutStartSec=infinity\n" in (DEPLOY / f"systemd/{name}.service").read_text()


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").glob("*.env")), ids=lambda p: p.name)
def test_a_shell_reads_settings_as_systemd_does(path: Path) -> None:
    """In docs/alerts.md `zart health` is asked with what a shell reads of them."""
    read = subprocess.run(
        ["/bin/sh", "-euc", 'set -a; . "$1"; exec /usr/bin/env -0', "sh", str(path)],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    variables = dict(each.split("=", 1) for each in read.stdout.split("\0") if each)
    assert not read.stderr
    assert {k: v for k, v in variables.items() if k not in _OF_THE_SHELL} == environment_of(path)


def test_the_services_of_one_machine_keep_off_each_others_ports() -> None:
    found = [environment_of(path) for path in sorted((DEPLOY / "systemd").glob("*.env"))]
    ports = [port_of(at) for each in found for key, at in each.items() if key in LISTENS]

    assert len(found) == 3
    assert len(set(ports)) == len(ports) > 3
