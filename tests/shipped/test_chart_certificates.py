"""The chart where servers ask for certificates: each of its dispatchers has one to show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from shipped.chart import TEMPLATES
from shipped.files import environment_of_container
from shipped.test_chart_rendered import HELM, SECURE, helm, merged, rendered

from zart.credentials import Credentials

ONE = {"name": "one", "image": "i", "tasks": ["t"]}
OWN = {"ZART_TLS_CERT": "/certificates/chain.pem", "ZART_TLS_KEY": "/certificates/key.pem"}
needs_helm = pytest.mark.skipif(HELM is None, reason="there is no helm")


def asking(dispatcher: dict[str, Any]) -> dict[str, Any]:
    """Return the values of servers that ask for certificates, and of one dispatcher."""
    client_ca = {"ZART_TLS_CLIENT_CA": "/etc/zart/tls/ca.crt"}
    return merged({"dispatchers": [dispatcher]}, {**SECURE, "server.settings": client_ca})


def test_what_a_dispatcher_shows_is_in_the_secret_that_it_mounts() -> None:
    """As far as it can be read without helm."""
    template = TEMPLATES["dispatchers.yaml"]
    given = re.findall(
        r"\{\{- (?:if|with) \$one\.tlsSecret \}\}\n(.*?) *\{\{- end \}\}", template, re.DOTALL
    )
    settings, mount, volume = given
    shown = dict(re.findall(r"\{name: (\w+), value: (\S+)\}", settings))
    mounted = re.findall(r"\{name: (\S+), mountPath: (\S+), readOnly: true\}", mount)

    assert mounted == [("certificate", str(Path(shown["ZART_TLS_CERT"]).parent))]
    assert [Path(at).name for at in shown.values()] == ["tls.crt", "tls.key"]
    assert re.findall(r"name: (.*)|secretName: (.*?),", volume) == [
        ("certificate", ""),
        ("", "{{ . }}"),
    ]
    # The client of a dispatcher takes them by these names.
    found = Credentials.from_environment({**shown, "ZART_TLS_CA": "ca.crt"})
    assert (str(found.certificate), str(found.key)) == (*shown.values(),)


def test_what_servers_ask_for_is_looked_for_in_all_that_gives_a_dispatcher_its_settings() -> None:
    """As far as it can be read without helm."""
    check = TEMPLATES["_helpers.tpl"].partition('define "zart.check"')[2]
    asks = check.partition('"ZART_TLS_CLIENT_CA" }}\n')[2].partition("fail")[0]

    assert re.findall(r"\$one\.(\w+)", asks) == ["tlsSecret", "envFrom", "settings", "env"]
    assert asks.count('"ZART_TLS_CERT"') == 2


@needs_helm
def test_a_dispatcher_is_given_the_certificate_of_its_secret(tmp_path: Path) -> None:
    made = rendered(asking({**ONE, "tlsSecret": "orders-tls"}), tmp_path)
    kinds = {each["kind"]: each for each in made if each["metadata"]["name"].endswith("-one")}
    spec = kinds["Deployment"]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    environment = environment_of_container(container)
    (name,) = [
        volume["name"]
        for volume in spec["volumes"]
        if volume.get("secret", {}).get("secretName") == "orders-tls"
    ]
    (at,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == name]

    assert environment["ZART_TLS_CERT"] == f"{at}/tls.crt"
    assert environment["ZART_TLS_KEY"] == f"{at}/tls.key"


@needs_helm
@pytest.mark.parametrize(
    "own",
    [
        {"settings": OWN},
        {"env": [{"name": name, "value": value} for name, value in OWN.items()]},
    ],
    ids=["settings", "env"],
)
def test_a_dispatcher_may_bring_a_certificate_by_itself(
    own: dict[str, Any], tmp_path: Path
) -> None:
    assert rendered(asking({**ONE, **own}), tmp_path)


@needs_helm
def test_a_dispatcher_that_has_none_is_refused_by_its_name(tmp_path: Path) -> None:
    others = {"env": [{"name": "SHOP", "value": "s"}], "settings": {"ZART_STREAM": 0}}
    done = helm("template", given=asking({**ONE, **others}), folder=tmp_path)

    assert done.returncode != 0
    assert "dispatchers.tlsSecret: name the secret with a certificate for one: " in done.stderr
