"""Which of thousands of globs match a name, without asking each: by the texts that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from zart_server.domain.globs import Glob

T = TypeVar("T")
# By what matches begin with, what they end with, how long the text between is, that text, and key.
_Tree: TypeAlias = dict[str, dict[str, dict[int, dict[str, dict[int, Glob]]]]]


class GlobIndex:
    """Globs by a key."""

    def __init__(self) -> None:
        self._tree: _Tree = {}

    def __bool__(self) -> bool:
        return bool(self._tree)

    def put(self, key: int, glob: Glob) -> None:
        """Add a glob."""
        by_suffix = self._tree.setdefault(glob.prefix, {})
        by_inner = by_suffix.setdefault(glob.suffix, {}).setdefault(len(glob.inner), {})
        by_inner.setdefault(glob.inner, {})[key] = glob

    def drop(self, key: int, glob: Glob) -> None:
        """Take a glob away."""
        _drop(self._tree, glob.prefix, glob.suffix, len(glob.inner), glob.inner, key)

    def matching(self, name: str) -> Iterator[int]:
        """Return the keys of those that match a name, in no order."""
        if not self._tree:
            return
        size = len(name)
        beginnings = (name[:end] for end in range(size + 1))
        for by_suffix in _of(self._tree, beginnings, size, name.startswith):
            endings = (name[begin:] for begin in range(size + 1))
            for by_length in _of(by_suffix, endings, size, name.endswith):
                for length, by_inner in by_length.items():
                    parts = (name[at : at + length] for at in range(size - length + 1))
                    for globs in _of(by_inner, parts, size, name.__contains__):
                        yield from (key for key, glob in globs.items() if glob.matches(name))


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
