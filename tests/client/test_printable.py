"""Whatever callers write, no control character reaches a terminal."""

from __future__ import annotations

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from zart.gateway.statuses import json_of
from zart.printable import ascii_json, escaped, escaped_json, one_line
from zart.v1 import execution_pb2

STEERING = {"Cc", "Cs", "Zl", "Zp"}
BIDIRECTIONAL = {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"}
# Half of the characters are ones that steer.
TEXT = st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zl", "Zp"]) | st.characters(codec=None))


def steers(character: str) -> bool:
    """Whether a terminal may do something other than show it."""
    return (
        unicodedata.category(character) in STEERING
        or unicodedata.bidirectional(character) in BIDIRECTIONAL
        or character in "\u061c\u200e\u200f"
    )


@given(TEXT)
def test_what_steers_is_shown_and_the_rest_is_left_as_it_is(text: str) -> None:
    assert not any(steers(c) for c in escaped(text) if c not in "\t\n")
    assert not any(steers(c) for c in one_line(text))
    if not any(steers(c) for c in text):
        assert escaped(text) == one_line(text) == text


@given(st.recursive(TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner)))
def test_json_means_the_same_afterwards(value: object) -> None:
    text = escaped_json(json.dumps(value, ensure_ascii=False, indent=1))
    assert json.loads(text) == value
    assert not any(steers(c) for c in text if c != "\n")


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_means_the_same_in_ascii(value: object) -> None:
    text = ascii_json(escaped_json(json.dumps(value, ensure_ascii=False)))
    assert json.loads(text) == value
    assert text.isascii()


def test_how_it_reads() -> None:
    assert escaped("a\tb\nc\r\x1b[2J\x9b\u202e") == "a\tb\nc\\r\\x1b[2J\\x9b\\u202e"
    assert one_line("a\tb\nc") == "a\\tb\\nc"


def test_nor_does_one_come_over_http() -> None:
    text = json_of(execution_pb2.Run(error="\x9b2J\x85\x7f\u202e"))
    assert json.loads(text)["error"] == "\x9b2J\x85\x7f\u202e"
    assert text.isascii()
