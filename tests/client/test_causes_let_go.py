"""The causes of a step's error: those that its attempt has caught keep none of its frames."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from client.attempting import Attempts, attempting

import zart


def _configured() -> Exception | None:
    """Return why this module could not be configured: no attempt has raised it."""
    try:
        Path("/nowhere/config.toml").read_text()
    except OSError as error:
        return error
    return None


NOT_CONFIGURED = _configured()


@pytest.fixture
def attempts() -> Iterator[Attempts]:
    with attempting() as made:
        yield made


async def test_a_cause_that_no_attempt_raised_keeps_its_frames(attempts: Attempts) -> None:
    async def in_the_loop(_: zart.StepContext) -> None:
        raise zart.StepFailed("not configured") from NOT_CONFIGURED

    def plain(_: zart.StepContext) -> None:
        raise zart.StepFailed("not configured") from NOT_CONFIGURED

    for handler in (in_the_loop, plain) * 2:
        told = await attempts.failed(handler)
        assert told.error.details.count("in _configured") == 1


async def test_a_cause_that_a_helper_has_caught_keeps_nothing(attempts: Attempts) -> None:
    error, cause = zart.StepFailed("no"), ValueError("a")

    def raising() -> None:
        _held = attempts.hold()
        raise cause

    def caught() -> Exception:
        try:
            raising()
        except ValueError as found:
            return found
        raise AssertionError

    async def caught_in_the_loop() -> Exception:
        return caught()

    def plain(_: zart.StepContext) -> None:
        raise error from caught()

    async def in_the_loop(_: zart.StepContext) -> None:
        raise error from await caught_in_the_loop()

    async def in_a_task(_: zart.StepContext) -> None:
        raise error from await asyncio.create_task(caught_in_the_loop())

    for handler in (plain, in_the_loop, in_a_task) * 2:
        told = await attempts.failed(handler)
        assert told.error.details.count("raise cause") == 1
        await asyncio.sleep(0)  # the loop itself has a task's end until its next turn
        assert attempts.left() == 0
