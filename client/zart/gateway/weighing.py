"""Weighs the JSON of a body before it is read: what nothing else of the gateway interrupts.

The scanner of ``json`` holds the interpreter's lock from one call of ours to the next, which is at
the end of an object or for a number: all else that it makes meanwhile, members, lists and texts,
keeps every other request waiting. And what a few bytes become takes a hundred bytes of memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from zart.gateway.parts import MOST_PARTS, too_many

_PIECE = 64 * 1024  # bytes that are looked at in one go
# From one end of an object to the next a sign weighs what ``Parts`` counts for it in a payload, as
# six for a member, which has two signs: what Parts takes is taken. The rest is for fields of ours,
# which it does not count: each message ends soon.
_MOST_AT_A_STRETCH = MOST_PARTS + 10_000
# Of a whole body objects, lists and members weigh more, for their memory: no more than 40 bytes for
# each of these. Of what Parts takes empty objects in a list weigh most: six million. The 50,000
# steps that one call starts weigh seven, with all the fields they have.
_OBJECT, _LIST, _MEMBER = 12, 6, 4
_MOST = 7_100_000
_SPACE = b" \t\r\n"


def check_weight(body: bytes) -> None:
    """Refuse a body that is more than any good one to read. Raises Refusal (TOO_MANY_ITEMS)."""
    weight = stretch = 0
    for signs in _outside_texts(body):
        before, is_end, _ = signs.partition(b"}")
        stretch += _weight_of(before)
        if stretch > _MOST_AT_A_STRETCH:
            raise too_many(stretch, _MOST_AT_A_STRETCH)
        if is_end:  # a stretch within a piece is never too long
            stretch = _weight_of(signs.rpartition(b"}")[2])
        weight += _weight_of(signs) + _memory_of(signs)
        if weight > _MOST:
            raise too_many(weight, _MOST)


def _weight_of(signs: bytes) -> int:
    lists = signs.count(b"[")
    first = lists - signs.count(b"[]")  # values that no comma is before, as a list in a list
    return 3 * (signs.count(b",") + signs.count(b":") + first) + lists


def _memory_of(signs: bytes) -> int:
    return _OBJECT * signs.count(b"{") + _LIST * signs.count(b"[") + _MEMBER * signs.count(b":")


def _outside_texts(body: bytes) -> Iterator[bytes]:
    """Yield what a body has outside its quoted texts, without spaces, piece by piece.

    Where a text was is a quote: what has only a text is not empty.
    """
    escape, is_within = b"", False
    for begin in range(0, len(body), _PIECE):
        piece = escape + body[begin : begin + _PIECE]
        if b"\\" in piece:
            piece = piece.replace(b"\\\\", b"")
            escape = b"\\" if piece.endswith(b"\\") else b""  # what it is of comes in the next
            piece = piece.removesuffix(escape).replace(b'\\"', b"")
        else:
            escape = b""
        texts = piece.split(b'"')
        yield b'"'.join(texts[is_within::2]).translate(None, _SPACE)
        is_within ^= not len(texts) % 2
