"""When a certificate ends, read from its file: Python's TLS tells that of verified peers only."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime

_FIRST = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.+?)-----END ", re.DOTALL)
_VERSION = 0xA0  # which some certificates leave out
_VALIDITY = 3  # of what follows: after serial number, algorithm and issuer
_SHORT_YEAR = 0x17  # the tag of a time that has two digits of its year
_LONG_LENGTH = 0x80


def ends_at(chain: bytes) -> float | None:
    """Return when the first certificate of a chain in PEM ends, in seconds since 1970.

    None: it cannot be read. The first one is the server's, and those after it sign it.
    """
    try:
        found = _FIRST.search(chain)
        return None if found is None else _end_of(base64.b64decode(found[1]))
    except (IndexError, ValueError, StopIteration):
        return None


def _end_of(der: bytes) -> float:
    """Return the end of a certificate in DER (RFC 5280, 4.1)."""
    _, certificate = next(_parts(der))
    _, signed = next(_parts(certificate))
    fields = [content for tag, content in _parts(signed) if tag != _VERSION]
    _, (tag, end) = _parts(fields[_VALIDITY])
    text = end.decode("ascii")
    if tag == _SHORT_YEAR:
        text = ("19" if text[0] >= "5" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()


def _parts(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value that stands in one of DER."""
    at = 0
    while at < len(content):
        tag, length = content[at], content[at + 1]
        at += 2
        if length & _LONG_LENGTH:
            digits = length - _LONG_LENGTH
            length = int.from_bytes(content[at : at + digits], "big")
            at += digits
        yield tag, content[at : at + length]
        at += length
