"""Where a process cannot listen it says why: a port taken is not an address of another machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import zart_command

from zart.listening import host_and_port, why_not

ELSEWHERE = "192.0.2.1"  # of nobody: RFC 5737
TASKS = "import zart\norder = zart.Task('order')\n\n@order.step()\ndef one(ctx): ...\n"


@pytest.fixture
def taken() -> Iterator[str]:
    """An address on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield f"127.0.0.1:{other.getsockname()[1]}"


def test_an_address_is_split() -> None:
    assert host_and_port("[::1]:80") == ("::1", 80)
    for wrong in ("80", ":80", "h:", "h:x", "h:65536", "h:-1", "h:²"):
        with pytest.raises(ValueError, match="is not HOST:PORT"):
            host_and_port(wrong)


def test_why_nothing_can_listen(taken: str) -> None:
    assert why_not(taken, "server") == "is another server running there?"
    assert why_not(f"{ELSEWHERE}:9464") == f"{ELSEWHERE} is no address of this machine."
    name = "x" * 70  # which nobody has to be asked about
    assert why_not(f"{name}:9464") == f"no address of {name!r} is known."


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("serve --listen {}", ""),
        ("serve --processes 2 --listen {}", ""),
        ("gateway --listen {}", " for HTTP/JSON"),
        ("gateway --listen 127.0.0.1:0 --metrics-listen {}", " for metrics"),
        ("dispatch orders --metrics-listen {}", " for metrics"),
        ("dispatch orders --health-listen {}", " for health"),
    ],
)
def test_each_process_says_why(
    words: str, what: str, tmp_path: Path, zart_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders.py").write_text(TASKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ZART_INSECURE", "1")
    monkeypatch.setenv("ZART_DATABASE_URL", zart_database)
    elsewhere = f"{ELSEWHERE}:9464"
    done = zart_command(monkeypatch, words.format(elsewhere).split())

    assert done.code == 1
    why = f"zart: cannot listen on {elsewhere}{what}: {ELSEWHERE} is no address of this machine."
    assert why in done.err


@pytest.mark.parametrize("variable", ["ZART_METRICS_LISTEN", "ZART_HEALTH_LISTEN"])
def test_what_is_no_address_is_misuse_and_names_the_variable(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "9464")
    done = zart_command(monkeypatch, ["dispatch", "orders"])

    assert done.code == 2
    assert variable in done.err
    assert "'9464' is not HOST:PORT, such as 127.0.0.1:9464" in done.err
