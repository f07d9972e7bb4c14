"""Errors that differ in particulars only are one group; those of different types never are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.fingerprint import fingerprint, is_error_group_id

TEXT = st.text(max_size=200)


@pytest.mark.parametrize(
    ("message", "template"),
    [
        ("card 4711 was declined", "card <number> was declined"),
        ("took 1.5 s, 12,000 of 3", "took <number> s, <number> of <number>"),
        ("order 550e8400-e29b-41d4-a716-446655440000 is gone", "order <uuid> is gone"),
        ("at 0x7f3a00 and deadbeef01", "at <number> and <number>"),
        ("unknown key 'user\\'s' in \"the map\"", "unknown key <text>s' in <text>"),
        ("can't open /srv/app/x.json", "can't open <path>"),
        (r"can't open C:\temp\x.json", "can't open <path>"),
        ("connect to 10.0.0.7:5432 failed", "connect to <address> failed"),
        ("connect to [2001:db8::1]:443 failed", "connect to <address> failed"),
        ("GET https://cards.example/v1/charge?id=7: 503", "GET <address> <number>"),
        ("no route to db-7.internal:5432", "no route to <address>"),
        ("mail to bob@example.org bounced", "mail to <address> bounced"),
        ("two\n  lines\there", "two lines here"),
        ("", ""),
        ("added facade", "added facade"),
    ],
)
def test_particulars_are_placeholders(message: str, template: str) -> None:
    assert fingerprint("E", message).template == template


@given(TEXT, TEXT, TEXT, TEXT)
def test_different_types_share_no_group(one: str, two: str, message: str, other: str) -> None:
    if one != two:
        first, second = fingerprint(one, message), fingerprint(two, other)
        assert first.error_group_id != second.error_group_id


@given(TEXT, st.integers(0, 10**30), st.integers(0, 10**30), st.uuids(), st.uuids())
def test_numbers_and_uuids_tell_nothing_apart(
    error_type: str, one: int, two: int, first: object, second: object
) -> None:
    assert (
        fingerprint(error_type, f"order {first} failed {one} times").error_group_id
        == fingerprint(error_type, f"order {second} failed {two} times").error_group_id
    )


@given(TEXT, TEXT)
def test_an_id_says_its_version(error_type: str, message: str) -> None:
    found = fingerprint(error_type, message)

    assert found == fingerprint(error_type, message)
    assert re.fullmatch("eg-1[a-z0-9]{7}", found.error_group_id)
    assert is_error_group_id(found.error_group_id)
    assert not is_error_group_id(found.error_group_id.replace("eg-1", "eg-2"))


@pytest.mark.parametrize("part", ["'", '"', "a.", "a:", "/a", "1", "a-", ".", "@a", "::", "\u0130"])
def test_no_message_takes_long(part: str) -> None:
    """A test of time would be one of luck: twice as much text takes no more than so many steps."""
    assert fingerprint("E", part * 100_000).template is not None
