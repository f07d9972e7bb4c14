"""How wide text is on a terminal, and where its lines may be broken: between words."""

from __future__ import annotations


def width_of(text: str) -> int:
    """Count the columns of a terminal that text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - takes a while, and seldom is there need

    return cell_len(text)


def wrapped(text: str, width: int) -> list[str]:
    """Break a line between words; a word that is wider than a line is broken, too."""
    if width_of(text) <= width:
        return [text]
    lines, line, taken = [], "", 0
    for number, word in enumerate(text.split(" ")):
        more = width_of(word)
        if number and taken + 1 + more <= width:
            line, taken = f"{line} {word}", taken + 1 + more
            continue
        if number and line.strip():
            lines.append(line)
        *whole, line = _chopped(word, width) if more > width else [word]
        lines += whole
        taken = width_of(line)
    return [*lines, line]


def _chopped(word: str, width: int) -> list[str]:
    if word.isascii():
        return [word[at : at + width] for at in range(0, len(word), width)]
    from rich.cells import chop_cells  # noqa: PLC0415 - as above

    return chop_cells(word, width)
