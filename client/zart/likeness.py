"""Lets methods that send a call look like it: to readers, to ``help()`` and to ``mock``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def like(build: Callable[..., Any], method: F, answer: str = "{}") -> F:
    """Return a method the name, the words and the signature of the call that it sends.

    ``answer`` is what it returns, with braces for what the call answers.
    """
    signature = inspect.signature(build)
    returns = answer.format(_answered(signature.return_annotation))
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    shown: Any = method
    shown.__name__ = build.__name__
    shown.__qualname__ = build.__qualname__
    shown.__doc__ = build.__doc__
    shown.__annotations__ = {**build.__annotations__, "return": returns}
    shown.__signature__ = signature.replace(
        parameters=[own, *signature.parameters.values()], return_annotation=returns
    )
    return method


def looks_like(build: Callable[..., Any], answer: str) -> Callable[[F], F]:
    """Return a decorator that does as ``like``, for a method whose type stands in its source."""
    return functools.partial(like, build, answer=answer)


def _answered(annotation: str) -> str:
    """Return ``X`` of ``Call[X]`` or ``ListCall[X]``, as it is written there."""
    return annotation.partition("[")[2].removesuffix("]")
