"""What is made to be handed to a client later, perhaps by another process, is the same there."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import zart
from zart.calls.batch_operations import operation_of
from zart.calls.payload import UNSET
from zart.models.batch_operations import SAME


def by_pickle(given: Any) -> Any:
    """Return what another process gets."""
    return pickle.loads(pickle.dumps(given))  # noqa: S301 - of our own making


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, by_pickle])
def test_what_was_not_given_is_not_given_in_a_copy_either(copied: Callable[[Any], Any]) -> None:
    assert copied(SAME) is SAME
    assert copied(UNSET) is UNSET
    for operation in (zart.RetryStep(), zart.Restart(), zart.CompleteStep()):
        found = copied(operation)
        assert found == operation
        assert operation_of(found) == operation_of(operation)
