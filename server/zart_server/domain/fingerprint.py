"""Which errors are the same: a fingerprint of the type and of the message, without its particulars.

Numbers (hexadecimal ones too), UUIDs, quoted text, paths, addresses and tracebacks are placeholders
in it. Pure: by one version the same error has the same fingerprint everywhere and for ever. Another
way of telling errors apart is another version, which stands in the id; which of them is in use is a
matter of the database (``store.grouping_version``).
"""

from __future__ import annotations

import functools
import hashlib
import re
from typing import NamedTuple

_PREFIX = "eg-"
_LENGTH = 8  # of what follows it: the version, and a hash
_FORM = re.compile(rf"{_PREFIX}[0-9a-z]{{{_LENGTH}}}")
_ID = re.compile(rf"{_PREFIX}[0-9][0-9a-z]{{{_LENGTH - 1}}}")
_DIGITS = "abcdefghjkmnpqrstuvwxyz23456789"
_READ = 8_000  # characters of a message
_TOLD = 2_000  # characters without particulars; what comes later tells no errors apart

# Ids that are no numbers, beside UUIDs: ULIDs, those of Stripe and the like, our own. Words that
# have a number in them, names of classes and of files are left: who draws letters and digits draws
# digits in several places, or, after a prefix or a digit, letters of both cases.
_IDS = r"""
    |(?P<id>(?<!\w)(?:
        (?!(?:0[xX])?[0-9A-Fa-f]+(?!\w))(?:
            (?:[A-Za-z]{1,10}_){0,2}
                (?=[A-Za-z]*[0-9]+(?:[A-Za-z]+[0-9]+){2})[A-Za-z0-9]{16,}
            |(?:(?:[a-z]{2,8}_){1,2}|(?=[0-9]))
                (?=[A-Z0-9]*[a-z])(?=[a-z0-9]*[A-Z])(?=[A-Za-z]*[0-9])[A-Za-z0-9]{14,})
        |(?:ba|br|eg|pr)-(?=[a-z]*[0-9])[a-hjkmnp-z1-9]{8})(?!\w))
"""


# Addresses, times, and numbers of a to f: as they were told at first, and since the third version.
_IPV6 = r"(?<![\w:])\[?(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?:\]:\d{1,5})?(?![\w:])"
# Short ones, too, unless they may be names of a program (a::b), which begin with letters. A colon
# that goes on with what the message says (::1: refused) is no part of one.
_IPV6_SHORT_TOO = r"""
        (?<![\w:\[])\[?(?:
            [0-9A-Fa-f]{0,4}::[0-9][0-9A-Fa-f]{0,3}
            |[0-9][0-9A-Fa-f]{0,3}::[0-9A-Fa-f]{0,4}
            |(?=[A-Fa-f]{1,3}[0-9])[0-9A-Fa-f]{4}::[0-9A-Fa-f]{0,4}
            |(?:[0-9A-Fa-f]{0,4}:){3,7}[0-9A-Fa-f]{0,4}(?<![0-9A-Fa-f]:)(?<!:::)
            |::(?=\]:)
        )(?:(?:\.\d{1,3}){3})?(?:%\w{1,15})?(?:\](?::\d{1,5})?)?(?!\w|:[\w:])"""
_HOST = r"(?<![\w.-])(?:[A-Za-z0-9-]{1,63}\.){0,8}[A-Za-z0-9-]{1,63}:\d{2,5}(?![\w.])"
_HOST_NO_TIME = r"(?<![\w.-])(?=[0-9.-]{0,63}[A-Za-z])" + _HOST.removeprefix(r"(?<![\w.-])")
# Of letters only they are eight at least, which hardly a word is (facade, decade, effaced); the
# short name of a commit has seven characters.
_HEX = r"(?<!\w)(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{8,}(?!\w)"
_HEX_SHORT_TOO = r"""
        (?<!\w)(?=[0-9]*+[A-Fa-f])[0-9A-Fa-f]{8,}+(?!\w)
        |(?<!\w)(?=[0-9]*+[A-Fa-f])(?=[A-Fa-f]*+[0-9])[0-9A-Fa-f]{7}(?!\w)"""


# What may hold spaces is replaced before the words are read: no traceback begins within a text,
# which has one line only.
_TRACEBACK = re.compile(
    r"(?:^|(?<=\n))[ \t]*Traceback \(most recent call last\):(?:\n[ \t][^\n]*)+"
)
# Each part begins with a character of its own, so that others are passed over.
_TEXT = re.compile(r""""[^"\n]*"|`[^`\n]*`|'(?<!\w')[^'\n]*'|“[^“”\n]*”|«[^«»\n]*»""")
# A URL that may hold what begins a text elsewhere. No :// is passed on the way: each part of a
# message is read once.
_URL_OVER_TEXT = re.compile(r"""://(?:[^\s"'<>`“«:]|:(?!//))*+[`“«]""")
# What any particular of a word has in it: most words have not, and that is seen in a tenth of the
# time that all particulars take.
_MAY_HOLD = re.compile(r"[\d@/\\]|[:-].*[:-]")
# Of letters only are numbers of a to f: few messages have any, which is seen in all of one at once.
_HEX_LETTERS = re.compile(r"[A-Fa-f]{8}")
_MAY_HOLD_LETTERS = re.compile(f"{_MAY_HOLD.pattern}|{_HEX_LETTERS.pattern}")


# Of a word. The first that fits stands, so what may hold the others comes before them. No part
# repeats another: a message of any kind is read in time of its length.
def _particulars(
    ids: str = "", ipv6: str = _IPV6, host: str = _HOST, hexadecimal: str = _HEX
) -> re.Pattern[str]:
    return re.compile(
        r"""
    (?P<address>
        [A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s"'<>]+
        |[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}
        |(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w.])
        |"""
        f"{ipv6}|{host})"
        r"""
    |(?P<path>(?<![\w/\\])(?:[A-Za-z]:\\|\.{0,2}/|~/)[\w.@%+~-]+(?:[/\\][\w.@%+~-]*)*)
    |(?P<uuid>(?<!\w)[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}(?!\w))
    """
        + ids
        + r"""
    |(?P<number>
        (?<!\w)0[xX][0-9A-Fa-f]+(?!\w)
        |"""
        + hexadecimal
        + r"""
        |(?:(?<!\w)-)?\d+(?:[.,]\d+)*(?:[eE][+-]?\d+(?!\w))?)
        """,
        re.VERBOSE,
    )


# What has been released is never changed: groups of it are in databases.
_VERSIONS = {
    1: _particulars(),
    2: _particulars(_IDS),
    3: _particulars(_IDS, _IPV6_SHORT_TOO, _HOST_NO_TIME, _HEX_SHORT_TOO),
}
OLDEST, NEWEST = min(_VERSIONS), max(_VERSIONS)
_LETTERS_ALONE = 3  # since this version words of letters only may be numbers
_NO_HEX = r"(?![A-Fa-f]{8,}+\ )"
# Of a whole message, where texts and others have to be replaced in the order that they come in.
# Plain words are passed over together: what is at each letter of them takes time.
_WITH_TEXT = {
    version: re.compile(
        rf"(?P<words>(?<![A-Za-z])(?:{_NO_HEX if version >= _LETTERS_ALONE else ''}[A-Za-z]+\ )+)"
        rf"|(?P<text>{_TEXT.pattern})|{particulars.pattern}",
        re.VERBOSE,
    )
    for version, particulars in _VERSIONS.items()
}
_SHORT = 1_000  # characters of a message that is worth remembering


class Fingerprint(NamedTuple):
    """A group of errors: its id, their type, and their message with placeholders."""

    error_group_id: str
    type: str
    template: str


def fingerprint(error_type: str, message: str, version: int) -> Fingerprint:
    """Return the group that an error belongs to. Errors of different types share none.

    Raises KeyError for a version that this server does not know.
    """
    read = _remembered if len(message) <= _SHORT else _read
    return read(error_type, message, version)


def _read(error_type: str, message: str, version: int) -> Fingerprint:
    particulars, text = _VERSIONS[version], message[:_READ]
    if "Traceback" in text:
        text = _TRACEBACK.sub("<traceback>", text)
    if "://" in text and _URL_OVER_TEXT.search(text):
        words = _WITH_TEXT[version].sub(_placeholder, text).split()
    else:
        text = _TEXT.sub("<text>", text)
        if version < _LETTERS_ALONE or not _HEX_LETTERS.search(text):
            words = [
                word
                if word.isalpha() or not _MAY_HOLD.search(word)
                else particulars.sub(_placeholder, word)
                for word in text.split()
            ]
        else:
            words = [
                particulars.sub(_placeholder, word) if _MAY_HOLD_LETTERS.search(word) else word
                for word in text.split()
            ]
    # Only now: what is cut off is the same then, however long the particulars before it are.
    template = " ".join(words)[:_TOLD]
    return Fingerprint(_id_of(error_type, template, version), error_type, template)


def _placeholder(found: re.Match[str]) -> str:
    return found[0] if found.lastgroup == "words" else f"<{found.lastgroup}>"


# Where a service is down, its callers often say the same word for word.
_remembered = functools.lru_cache(maxsize=256)(_read)


# In a storm of deaths most are of few kinds.
@functools.lru_cache(maxsize=256)
def _id_of(error_type: str, template: str, version: int) -> str:
    digest = hashlib.sha256(f"{len(error_type)}:{error_type}{template}".encode(errors="replace"))
    number = int.from_bytes(digest.digest()[:8])
    letters = ""
    for _ in range(_LENGTH - 1):
        number, rest = divmod(number, len(_DIGITS))
        letters += _DIGITS[rest]
    return f"{_PREFIX}{version}{letters}"


def version_of(error_group_id: str) -> int:
    """Return the version that the id of a group is of, whether this server knows it or not."""
    return int(error_group_id[len(_PREFIX)])


def has_form_of_error_group_id(text: str) -> bool:
    """Return whether a text is written as the id of a group is, be there such a version or not.

    That is enough where ids are compared as texts: there may be some that a newer server made.
    """
    return _FORM.fullmatch(text) is not None


def is_error_group_id(text: str) -> bool:
    """Return whether a text may be the id of a group that this server can tell."""
    return _ID.fullmatch(text) is not None and version_of(text) in _VERSIONS
