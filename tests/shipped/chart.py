"""The files of the chart, read."""

from __future__ import annotations

import json

import yaml
from shipped.files import DEPLOY

CHART = DEPLOY / "helm/zart"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
