"""Every field of every request at, inside and beyond its bounds: it is taken, or named as wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
from fuzzing.bases import Bases, rpcs
from fuzzing.mutants import Mutant, mutants_of
from fuzzing.over_grpc import DEFECTS, Answered, answer
from google.protobuf.descriptor import MethodDescriptor
from waiting import GIVE_UP

import zart

AT_ONCE = 20
PATIENCE = GIVE_UP
ENOUGH = 0.3  # seconds; a wait of up to a minute is good
Code = grpc.StatusCode


async def answers(
    client: zart.Client, rpc: MethodDescriptor, mutants: Sequence[Mutant]
) -> list[tuple[Mutant, Answered]]:
    """Send all, some of them at once."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(mutant: Mutant) -> tuple[Mutant, Answered]:
        async with room:
            timeout = ENOUGH if mutant.path == "wait" else PATIENCE
            return mutant, await answer(client.channel, rpc, mutant.request, timeout)

    return await asyncio.gather(*map(one, mutants))


async def test_no_value_of_a_field_is_a_defect(client: zart.Client) -> None:
    bases = Bases()
    await bases.prepare(client, 450)
    for rpc in rpcs():
        good = await answer(client.channel, rpc, bases.of(rpc), PATIENCE)
        assert good.code is Code.OK, (rpc.name, good)
        mutants = list(mutants_of(bases.of(rpc)))
        for mutant in mutants:
            bases.renew(mutant.request)
        for mutant, told in await answers(client, rpc, mutants):
            about = rpc.name, mutant.path, str(mutant.request)[:500], told
            assert told.code not in DEFECTS, about
            assert told.code is not Code.DEADLINE_EXCEEDED or mutant.path == "wait", about
            assert told.fields or told.code is not Code.INVALID_ARGUMENT, about
