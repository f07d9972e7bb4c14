"""docs/deploying.md on Kubernetes: what its commands make is what its values and the chart name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import jsonschema_rs
import yaml
from shipped.chart import CHART, DOCUMENT, DOCUMENTED, SCHEMA, TEMPLATES
from shipped.files import DEPLOY

KUBERNETES = DOCUMENT.partition("## On Kubernetes\n")[2]
VERSION = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]


def test_every_image_is_pushed_where_the_nodes_pull_from() -> None:
    named = {f"{DOCUMENTED['image']['name']}:{VERSION}"}
    named |= {each["image"] for each in DOCUMENTED["dispatchers"]}

    assert set(re.findall(r"^podman push (\S+)$", KUBERNETES, re.MULTILINE)) == named
    made = re.findall(r"^podman (?:tag zart-control|build -t) (\S+)", KUBERNETES, re.MULTILINE)
    assert set(made) == named
    # By whatever name that is, as everywhere.
    assert {name.partition("/")[0] for name in named} == {"REGISTRY"}


def test_the_operator_of_prometheus_finds_pods_and_alerts_by_its_label(tmp_path: Path) -> None:
    (shown,) = re.findall(r"`(metrics: \{podMonitor: .*\}\})`", KUBERNETES)
    given = yaml.safe_load(shown)
    labels = TEMPLATES["podmonitor.yaml"].partition("\nspec:\n")[0].partition("  labels:\n")[2]
    (making,) = re.findall(
        r"```sh\n(printf .*?)kubectl apply --filename zart-alerts.yaml\n```", KUBERNETES, re.DOTALL
    )
    script = making.replace(" deploy/", f" {DEPLOY}/")
    subprocess.run(["bash", "-euc", script], cwd=tmp_path, check=True)
    made = yaml.safe_load((tmp_path / "zart-alerts.yaml").read_text())

    jsonschema_rs.validate(SCHEMA, given)
    assert "    {{- with .Values.metrics.labels }}\n    {{- toYaml . | nindent 4 }}\n" in labels
    assert made["kind"] == "PrometheusRule"
    assert made["metadata"]["labels"] == given["metrics"]["labels"]
    assert made["spec"] == yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text())


def test_the_authority_of_the_database_is_where_its_url_says() -> None:
    (key,) = re.findall(r"--from-file=(\S+)=database-ca\.pem", KUBERNETES)
    (named,) = re.findall(r"sslrootcert=([\w./-]+)", KUBERNETES)
    for template in ("server.yaml", "migration.yaml"):
        (mounted,) = re.findall(r"\{name: database, mountPath: ([\w/]+), ", TEMPLATES[template])
        # All of the secret, each key as a file.
        volume = TEMPLATES[template].partition("        - name: database\n")[2].splitlines()[0]
        assert named == f"{mounted}/{key}"
        assert "items" not in volume
        assert ".Values.database.secret" in volume
