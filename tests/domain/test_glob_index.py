"""The index of globs gives what each of them says of a name, and keeps nothing of what is dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from zart_server.domain.glob_index import GlobIndex
from zart_server.domain.globs import Glob

PARTS = st.sampled_from(["a", "b", "ab", "-", "*", "?", "{a,b}", "{ab,-,b}", "{,a}", "[!a]"])
GLOBS = st.lists(PARTS, min_size=1, max_size=5).map("".join).map(Glob.of)
NAMES = st.text(alphabet="ab-", max_size=6)


@given(st.lists(GLOBS, max_size=20), st.sets(st.integers(0, 19)), st.lists(NAMES, max_size=5))
def test_it_gives_each_that_matches_once(
    globs: list[Glob], dropped: set[int], names: list[str]
) -> None:
    index = GlobIndex()
    there = dict(enumerate(globs))
    for key, glob in there.items():
        index.put(key, glob)
    for key in dropped & there.keys():
        index.drop(key, there.pop(key))

    for name in names:
        expected = [key for key, glob in there.items() if glob.matches(name)]
        assert sorted(index.matching(name)) == expected

    for key, glob in there.items():
        index.drop(key, glob)
    assert not index
