"""A short run of ``make fuzz``, always with the same seed."""

from __future__ import annotations

from fuzzing.__main__ import fuzz

SEED = 20261126


async def test_no_request_made_at_random_is_a_defect(zart_database: str) -> None:
    fuzzer = await fuzz(zart_database, SEED, grpc_calls=600, http_calls=60)
    assert not fuzzer.defects
    assert sum(fuzzer.counts.values()) == 660
