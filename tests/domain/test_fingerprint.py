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
        ("took 1e-05 s, -3 of 2", "took <number> s, <number> of <number>"),
        ("12345678.25 of 1234567890,5", "<number> of <number>"),
        ("exec-00042 of 2026-11-26", "exec-<number> of <number>-<number>-<number>"),
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
        (
            'Traceback (most recent call last):\n  File "/a/b.py", line 7, in f\n    g()\nKeyError: 3',
            "<traceback> KeyError: <number>",
        ),
        (
            "failed\nTraceback (most recent call last):\n  x\nIn:\nTraceback (most recent call last):\n  y",
            "failed <traceback> In: <traceback>",
        ),
        ("no Traceback (most recent call last):", "no Traceback (most recent call last):"),
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


_PARTS = st.lists(st.from_regex("[a-z0-9_.-]{1,9}", fullmatch=True), min_size=1, max_size=5)
PARTICULARS = {
    "uuid": st.uuids().map(str),
    "number": st.one_of(
        st.integers(-(10**30), 10**30).map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.integers(2**32, 2**64).map(hex),
        st.integers(2**60, 2**64).map("{:016X}".format).filter(lambda text: not text.isalpha()),
    ),
    "text": st.builds(
        "{1[0]}{0}{1[1]}".format,
        st.text(
            st.characters(exclude_characters="\"'\n`“”«»", exclude_categories=["Cc", "Cs"]),
            max_size=30,
        ),
        st.sampled_from(['""', "''", "``", "“”", "«»"]),
    ),
    "address": st.one_of(
        st.ip_addresses(v=4).map(str),
        st.lists(st.integers(0, 0xFFFF).map("{:x}".format), min_size=8, max_size=8).map(":".join),
        st.integers(1, 9999).map("db-{}.internal:5432".format),
        st.integers().map("https://cards.example/v1?id={}".format),
        st.integers(0, 999).map("bob{}@example.org".format),
    ),
    "path": st.one_of(
        _PARTS.map(lambda parts: "/srv/" + "/".join(parts)),
        _PARTS.map(lambda parts: "C:\\srv\\" + "\\".join(parts)),
    ),
    "traceback": st.lists(st.integers(1, 9999), min_size=1, max_size=6).map(
        lambda lines: (
            "\nTraceback (most recent call last):\n"
            + "\n".join(f'  File "/x/{line}.py", line {line}, in f' for line in lines)
            + "\n"
        )
    ),
}


@given(st.sampled_from(sorted(PARTICULARS)), st.data())
def test_each_particular_is_its_placeholder(kind: str, data: st.DataObject) -> None:
    particular = data.draw(PARTICULARS[kind])

    template = fingerprint("E", f"it is {particular}\nthat failed").template

    assert template == f"it is <{kind}> that failed"


@given(st.sampled_from(sorted(PARTICULARS)), st.data())
def test_where_a_long_message_is_cut_its_particulars_tell_nothing_apart(
    kind: str, data: st.DataObject
) -> None:
    one, other = data.draw(PARTICULARS[kind]), data.draw(PARTICULARS[kind])
    rest = " ".join(f"and so on as {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300))

    assert (
        fingerprint("E", f"it is {one}\n{rest}").error_group_id
        == fingerprint("E", f"it is {other}\n{rest}").error_group_id
    )


@given(TEXT, TEXT)
def test_an_id_says_its_version(error_type: str, message: str) -> None:
    found = fingerprint(error_type, message)

    assert found == fingerprint(error_type, message)
    assert re.fullmatch("eg-1[a-z0-9]{7}", found.error_group_id)
    assert is_error_group_id(found.error_group_id)
    assert not is_error_group_id(found.error_group_id.replace("eg-1", "eg-2"))


@pytest.mark.parametrize(
    "part",
    [
        "'",
        '"',
        "a.",
        "a:",
        "/a",
        "1",
        "a-",
        ".",
        "-",
        "“",
        "@a",
        "::",
        "\u0130",
        "Traceback (most recent call last):\n ",
    ],
)
def test_no_message_takes_long(part: str) -> None:
    """A test of time would be one of luck: twice as much text takes no more than so many steps."""
    assert fingerprint("E", part * 100_000).template is not None
