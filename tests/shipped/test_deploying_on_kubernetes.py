"""docs/deploying.md on Kubernetes: what its commands make is what its values and the chart name."""

from __future__ import annotations

import re

import yaml
from shipped.chart import CHART, DOCUMENT, DOCUMENTED

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
