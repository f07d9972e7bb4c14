"""``python -m fuzzing``: many requests made at random, to a server and a gateway of their own.

Prints its seed, what came of the calls by code, and the first requests that were a defect. Ends
with 1 where there was one: UNKNOWN, INTERNAL, a 500 or more that is no 501 or 503, a server that
does not answer any more.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from gateway.sending import gateway_to
from google.protobuf.descriptor import MethodDescriptor

import zart
from fuzzing.bases import Bases, rpcs
from fuzzing.mutants import random_mutant
from fuzzing.over_grpc import DEFECTS, answer
from fuzzing.over_http import asked, bindings, status
from zart.testing.server import serving
from zart_server.embedded import postgres
from zart_server.store.migrate import migrate

_AT_ONCE = 32
_PATIENCE = 120.0  # seconds
_BRIEF = 1.0  # of calls that wait by design
_SHOWN = 10
_SERVED = frozenset({501, 503})


class Fuzzer:
    """Sends requests and counts what they were answered with."""

    def __init__(self, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.defects: list[str] = []
        self.bases = Bases()
        self._dice = random.Random(seed)

    async def over_grpc(self, client: zart.Client, count: int) -> None:
        """Send so many requests over gRPC, each RPC in turn; every tenth with bytes changed."""
        turns = itertools.islice(itertools.cycle(rpcs()), count)

        async def worker() -> None:
            for rpc in turns:
                await self._call(client, rpc)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))

    async def _call(self, client: zart.Client, rpc: MethodDescriptor) -> None:
        message = random_mutant(self.bases.of(rpc), self._dice)
        sent: object = message
        if self._dice.random() < 0.1:
            raw = bytearray(message.SerializeToString())
            for _ in range(self._dice.randint(1, 3)):
                raw.insert(self._dice.randint(0, len(raw)), self._dice.randrange(256))
            sent = bytes(raw)
        timeout = (
            _BRIEF if rpc.name in {"LeaseTasks", "WatchExecution", "RunExecution"} else _PATIENCE
        )
        told = await answer(client.channel, rpc, sent, timeout)  # type: ignore[arg-type]
        self.counts[told.code.name] += 1
        if told.code in DEFECTS or (told.code.name == "DEADLINE_EXCEEDED" and timeout != _BRIEF):
            self.defects.append(f"{rpc.name} {told} for {str(sent)[:2000]!r}")

    def over_http(self, address: str, count: int) -> None:
        """Send so many requests over HTTP, each path in turn."""
        connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
        paths = itertools.cycle(bindings())
        while count > 0:
            binding = next(paths)
            sent = asked(binding, random_mutant(self.bases.of(binding.rpc), self._dice))
            if sent is None:
                continue
            count -= 1
            code, text = status(connection, sent)
            self.counts[f"HTTP {code}"] += 1
            if code >= 500 and code not in _SERVED:
                self.defects.append(f"{sent} {code} {text[:2000]}")
        connection.close()


async def fuzz(database_url: str, seed: int, grpc_calls: int, http_calls: int) -> Fuzzer:
    """Run a server and a gateway, and send requests to both."""
    fuzzer = Fuzzer(seed)
    with serving(database_url) as server, gateway_to(server.address) as gateway:
        async with zart.connect(server.address) as client:
            await fuzzer.bases.prepare(client, 500)
            await fuzzer.over_grpc(client, grpc_calls)
            await asyncio.to_thread(fuzzer.over_http, gateway.address, http_calls)
            await client.list_executions(page_size=1).pages().__anext__()  # it lives
    return fuzzer


@contextlib.contextmanager
def database() -> Iterator[str]:
    """Run a PostgreSQL that forgets everything."""
    with (
        tempfile.TemporaryDirectory(prefix="zart-fuzz-") as folder,
        postgres.running(Path(folder), durable=False) as running,
    ):
        asyncio.run(migrate(running.url))
        yield running.url


def main() -> int:
    """Fuzz, and tell what came of it."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument("--grpc", type=int, default=100_000, help="calls over gRPC")
    parser.add_argument("--http", type=int, default=20_000, help="requests over HTTP")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    logging.disable(logging.WARNING)
    with database() as url:
        fuzzer = asyncio.run(fuzz(url, given.seed, given.grpc, given.http))
    for name, count in sorted(fuzzer.counts.items()):
        print(f"{count:8} {name}")
    for defect in fuzzer.defects[:_SHOWN]:
        print("DEFECT", defect)
    print(f"{len(fuzzer.defects)} defects, seed {given.seed}")
    return 1 if fuzzer.defects else 0


if __name__ == "__main__":
    sys.exit(main())
