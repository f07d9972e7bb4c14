"""The files of the chart, and what the document on it shows, read."""

from __future__ import annotations

import json
import re

import yaml
from shipped.files import DEPLOY, ROOT

CHART = DEPLOY / "helm/zart"
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
DOCUMENT = (ROOT / "docs/deploying.md").read_text()
DOCUMENTED = yaml.safe_load(re.findall(r"```yaml\n# values.yaml\n(.*?)```", DOCUMENT, re.DOTALL)[0])
