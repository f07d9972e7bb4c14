"""What a log tells of the URL of keys has no password, and nothing of its query."""

from __future__ import annotations

import pytest
from ports import free_port
from waiting import until

from zart_server.identity.grants import IdentityFileError
from zart_server.identity.key_set import KeySet

SECRET = "marker"  # noqa: S105 - of this test


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://zart:{secret}@127.0.0.1:{port}/keys", "http://127.0.0.1:{port}/keys"),
        ("http://{secret}@127.0.0.1:{port}/keys", "http://127.0.0.1:{port}/keys"),
        ("http://127.0.0.1:{port}/keys?code={secret}#{secret}", "http://127.0.0.1:{port}/keys"),
        ("http://zart:{secret}/@127.0.0.1:{port}/keys", "a URL that is none"),
        ("http://[{secret}@127.0.0.1:{port}/keys", "a URL that is none"),
    ],
)
async def test_of_a_host_that_has_none_its_name_is_told(
    caplog: pytest.LogCaptureFixture, url: str, told: str
) -> None:
    port = free_port()
    keys = KeySet(url.format(secret=SECRET, port=port))
    await keys.refresh()
    await until(lambda: keys._fetching is None)

    assert f"no keys from {told.format(port=port)} (" in caplog.text
    assert SECRET not in caplog.text


def test_so_it_is_of_what_was_meant_as_one() -> None:
    with pytest.raises(IdentityFileError) as raised:
        KeySet(f"HTTPS://zart:{SECRET}@127.0.0.1/keys?code={SECRET}")

    assert str(raised.value).startswith("https://127.0.0.1/keys is no JWKS")
