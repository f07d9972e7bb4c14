"""Which of thousands of globs match a name, without asking each: by the texts that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from zart_server.domain.globs import Glob

T = TypeVar("T")
# By what matches begin with, what they end with, how long a text between is, that text, and key.
_Tree: TypeAlias = dict[str, dict[str, dict[int, dict[str, dict[int, Glob]]]]]
_ANYTHING = ("",)  # which stands in each name


class GlobIndex:
    """Globs by a key.

    A glob is looked for by one of the texts between its ends that it needs, or by each of some of
    which it needs one: by those that the fewest globs are looked for by.
    """

    def __init__(self) -> None:
        self._tree: _Tree = {}
        self._needs: dict[int, Sequence[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._tree)

    def put(self, key: int, glob: Glob) -> None:
        """Add a glob under a new key."""
        by_suffix = self._tree.setdefault(glob.prefix, {})
        by_length = by_suffix.setdefault(glob.suffix, {})

        def crowd(needs: Sequence[str]) -> int:
            return sum(len(by_length.get(len(text), {}).get(text, ())) for text in needs)

        # Of those as crowded the longest, which the fewest names have.
        needs = min(glob.needs, key=lambda each: (crowd(each), -min(map(len, each))), default=())
        self._needs[key] = tuple(dict.fromkeys(needs or _ANYTHING))
        for text in self._needs[key]:
            by_length.setdefault(len(text), {}).setdefault(text, {})[key] = glob

    def drop(self, key: int, glob: Glob) -> None:
        """Take a glob away."""
        for text in self._needs.pop(key):
            _drop(self._tree, glob.prefix, glob.suffix, len(text), text, key)

    def matching(self, name: str) -> Iterator[int]:
        """Return the keys of those that match a name, in no order."""
        if not self._tree:
            return
        size = len(name)
        beginnings = (name[:end] for end in range(size + 1))
        for by_suffix in _of(self._tree, beginnings, size, name.startswith):
            endings = (name[begin:] for begin in range(size + 1))
            for by_length in _of(by_suffix, endings, size, name.endswith):
                found: dict[int, Glob] = {}  # once each, by however many texts
                for length, by_text in by_length.items():
                    texts = (name[at : at + length] for at in range(size - length + 1))
                    for globs in _of(by_text, texts, size, name.__contains__):
                        found.update(globs)
                yield from (key for key, glob in found.items() if glob.matches(name))


def _of(
    known: Mapping[str, T], texts: Iterable[str], size: int, has: Callable[[str], bool]
) -> Iterable[T]:
    """Return what is known of any of the ``size`` texts of a name, once each.

    Where less is known than there are texts, the name is asked whether it ``has`` what is known.
    """
    if len(known) <= size:
        return [found for text, found in known.items() if has(text)]
    return [known[text] for text in set(texts) if text in known]


def _drop(tree: dict[Any, Any], first: object, *path: object) -> None:
    """Delete what lies at the end of a path, and all that is empty then."""
    if path:
        _drop(tree[first], *path)
    if not path or not tree[first]:
        del tree[first]
