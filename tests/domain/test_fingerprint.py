"""Errors that differ in particulars only are one group; those of different types never are."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.fingerprint import (
    NEWEST,
    OLDEST,
    fingerprint,
    has_form_of_error_group_id,
    is_error_group_id,
)

TEXT = st.text(max_size=200)
VERSIONS = range(OLDEST, NEWEST + 1)
each_version = pytest.mark.parametrize("version", VERSIONS)


def _template(message: str, version: int = NEWEST) -> str:
    return fingerprint("E", message, version).template


def _id(error_type: str, message: str, version: int = NEWEST) -> str:
    return fingerprint(error_type, message, version).error_group_id


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
        (
            'at "10 Traceback (most\nTraceback (most recent call last):\n "x',
            'at "<number> Traceback (most <traceback>',
        ),
        ("see `https://x.example/7`: it's 'so'", "see <text>: it's <text>"),
        ("see https://x.example:80/`a b` c 7", "see <address> b` c <number>"),
        ("see https://x.example/7“a”://«b», “c 7”", "see <address> <text>"),
        (
            "see https://x.example/'7' `8`, a@b.http://`9`",
            "see <address><text> <text>, <address>://<text>",
        ),
        ("key='7', at=/srv/7,-1", "key=<text>, at=<path>,<number>"),
        ("a:b:c a-b-c service: x -", "a:b:c a-b-c service: x -"),
        (
            "fe:::d aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee ٣ a@b.cd",
            "<address> <uuid> <number> <address>",
        ),
    ],
)
@each_version
def test_particulars_are_placeholders(message: str, template: str, version: int) -> None:
    assert _template(message, version) == template


_LETTERS = "GHJKMNPQRSTVWXYZ"  # what is of A to F only is a number


@given(st.lists(st.text(_LETTERS, min_size=1, max_size=4), min_size=6, max_size=8), st.data())
def test_ids_tell_nothing_apart(parts: list[str], data: st.DataObject) -> None:
    digits = st.integers(10, 9999).map(str)
    one = "".join(part + data.draw(digits) for part in parts)

    assert _template(f"{one} is gone") == "<id> is gone"


@given(TEXT, TEXT, TEXT, TEXT)
def test_different_types_share_no_group(one: str, two: str, message: str, other: str) -> None:
    if one != two:
        assert _id(one, message) != _id(two, other)


@given(TEXT, st.integers(0, 10**30), st.integers(0, 10**30), st.uuids(), st.uuids())
def test_numbers_and_uuids_tell_nothing_apart(
    error_type: str, one: int, two: int, first: object, second: object
) -> None:
    assert _id(error_type, f"order {first} failed {one} times") == _id(
        error_type, f"order {second} failed {two} times"
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


@given(st.sampled_from(sorted(PARTICULARS)), st.data(), st.sampled_from(VERSIONS))
def test_each_particular_is_its_placeholder(kind: str, data: st.DataObject, version: int) -> None:
    particular = data.draw(PARTICULARS[kind])

    template = _template(f"it is {particular}\nthat failed", version)

    assert template == f"it is <{kind}> that failed"


@given(st.sampled_from(sorted(PARTICULARS)), st.data())
def test_where_a_long_message_is_cut_its_particulars_tell_nothing_apart(
    kind: str, data: st.DataObject
) -> None:
    one, other = data.draw(PARTICULARS[kind]), data.draw(PARTICULARS[kind])
    rest = " ".join(f"and so on as {chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(300))

    assert _id("E", f"it is {one}\n{rest}") == _id("E", f"it is {other}\n{rest}")


@given(TEXT, TEXT, st.sampled_from(VERSIONS))
def test_an_id_says_its_version(error_type: str, message: str, version: int) -> None:
    found = fingerprint(error_type, message, version)

    assert found == fingerprint(error_type, message, version)
    assert re.fullmatch(f"eg-{version}[a-z0-9]{{7}}", found.error_group_id)
    assert is_error_group_id(found.error_group_id)


@pytest.mark.parametrize(
    ("message", "version", "error_group_id"),
    [
        ("card 4711 was declined", 1, "eg-14bjc4p6"),
        ("card 4711 was declined", 2, "eg-24bjc4p6"),
        ("card 4711 was declined", 3, "eg-34bjc4p6"),
        ("no route to fe80::1 of deadbeef", 2, "eg-2ggter6w"),
        ("no route to fe80::1 of deadbeef", 3, "eg-3wudrhda"),
        ("order 01ARZ3NDEKTSV4RRFFQ69G5FAV is gone", 1, "eg-174duzck"),
        ("order 01ARZ3NDEKTSV4RRFFQ69G5FAV is gone", 2, "eg-2at8fj3u"),
        ("see https://docs.example/`errors`", 1, "eg-1ccf8kj7"),
        ("see https://docs.example/`errors`", 2, "eg-2ccf8kj7"),
        ("GET https://cards.example/v1/charges«7»: 503", 1, "eg-1u7v2zu3"),
        ("GET https://cards.example/v1/charges«7»: 503", 2, "eg-2u7v2zu3"),
    ],
)
def test_what_is_in_databases_stays(message: str, version: int, error_group_id: str) -> None:
    assert _id("Broken", message, version) == error_group_id


@pytest.mark.parametrize("text", ["eg-9abcdefg", "eg-abcdefgh", "eg-1abcdef", "pr-1abcdefg", ""])
def test_an_id_of_no_known_version_is_none(text: str) -> None:
    assert not is_error_group_id(text)


@pytest.mark.parametrize("text", ["eg-1abcdefg", "eg-9abcdefg", "eg-deadbeef"])
def test_the_form_of_an_id_says_nothing_of_its_version(text: str) -> None:
    assert has_form_of_error_group_id(text)


@pytest.mark.parametrize(
    "text", ["eg-1abcdef", "eg-1abcdefgh", "eg-1ABCDEFG", "eg-\uff11abcdefg", "pr-1abcdefg", ""]
)
def test_what_is_written_otherwise_is_no_id(text: str) -> None:
    assert not has_form_of_error_group_id(text)


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
        "ab://",
        "ab://`",
        "a_",
        "g1",
        "-a1",
        "pr-",
        "fe80::",
        "deadbee",
        "abcdefab ",
        "abcdefab`://",
        "::1.2",
    ],
)
@each_version
def test_no_message_takes_long(part: str, version: int) -> None:
    """A test of time would be one of luck: twice as much text takes no more than so many steps."""
    assert _template(part * 100_000, version) is not None
