"""What each version of the fingerprint tells otherwise than the one before it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.fingerprint import NEWEST, fingerprint


def _template(message: str, version: int = NEWEST) -> str:
    return fingerprint("E", message, version).template


@pytest.mark.parametrize(
    "an_id",
    [
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",  # a ULID
        "0ujtsYcgvSTl8PAuAdqWYSMnLOv",  # a KSUID
        "cjld2cjxh0000qzrmn831i7rn",  # a CUID
        "ch_3MmlLrLkdIwHu7ix0snN0B15",
        "cus_NffrFeUfNV2Hib",  # digits in one place only
        "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
        "pr-7k2m9x4q",
        "eg-1v67ez7q",
    ],
)
def test_ids_are_placeholders_since_the_second_version(an_id: str) -> None:
    assert _template(f"no {an_id}: gone") == "no <id>: gone"
    assert _template(f"exec-{an_id}.json") == "exec-<id>.json"
    assert "<id>" not in _template(f"no {an_id}: gone", 1)


@pytest.mark.parametrize(
    "message",
    [
        "run sha256sum over base64decodeerror of utf8",
        "ThreadPoolExecutor2 and HttpsConnectionPool1",
        "OAuth2ClientV2Exception of S3BucketNotFoundException",
        "invoice2024final.pdf of report20240101v2final",
        "x86_64 payment_processor2gateway step_charge2card_again",
        "the pr-standard, the pre-k2m9x4qa of x_ThreadPool",
        "0123456789abcdef0123456789abcdef of 0x7f3a00ff00ff00ff00ff",
        "12345678901234567e10 of 2026-11-26T15:49:05Z",
        "internationalization ABCDEFGHIJKLMNOPQRST",
    ],
)
def test_words_with_a_number_in_them_are_no_ids(message: str) -> None:
    assert _template(message) == _template(message, 1)
    assert "<id>" not in _template(message)


@pytest.mark.parametrize(
    "address",
    [
        "fe80::1",
        "::1",
        "fe80::",
        "fe80::abcd",
        "fd::7",
        "1::a",
        "2001:db8::ff00:42:8329",
        "[fe80::1]:80",
        "[::1]",
        "[::]:80",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
    ],
)
def test_short_addresses_are_placeholders_since_the_third_version(address: str) -> None:
    assert _template(f"connect to {address} failed") == "connect to <address> failed"
    assert _template(f"peer={address}: refused") == "peer=<address>: refused"


@pytest.mark.parametrize("number", ["1a2b3c4", "abcdef0", "deadbeef", "CAFEBABE", "facefacefa"])
def test_hexadecimals_are_placeholders_since_the_third_version(number: str) -> None:
    assert _template(f"no {number}, ({number})") == "no <number>, (<number>)"
    assert _template(f"see http://`x y {number} z") == "see <address> y <number> z"
    assert _template(f"no {number}", 2) != "no <number>"


@pytest.mark.parametrize(
    "message",
    [
        "std::vector of Foo::bar, a::b, dead::beef, ::face, x[::] and std::cafe::add",
        "decade facade effaced acceded DEFACED abcdefg deadbeefs xdeadbeef",
    ],
)
def test_names_and_words_are_left(message: str) -> None:
    assert _template(message) == message


@pytest.mark.parametrize("time", ["12:30", "12:30:45", "12:30:45:"])
def test_times_are_no_addresses_since_the_third_version(time: str) -> None:
    assert _template(f"at {time} no") == f"at {re.sub('[0-9]+', '<number>', time)} no"


_SHORT = st.ip_addresses(v=6).map(str).filter(lambda text: text.count(":") > 2)


@given(_SHORT, st.sampled_from(["{}", "[{}]:80", "({})", "{}: refused"]))
def test_addresses_are_one_placeholder_as_they_are_written(address: str, form: str) -> None:
    found = _template(f"no {form.format(address)} at all")
    assert found == f"no {form.format('<address>').replace('[<address>]:80', '<address>')} at all"
