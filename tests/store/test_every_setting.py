"""Each setting that a role or a database may have another default of is ours, or harms nothing."""

from __future__ import annotations

from pathlib import Path

import asyncpg
import pytest
from store.test_sessions import WHERE, alter

from zart_server.embedded import postgres
from zart_server.store import sessions
from zart_server.store.connecting import Connector
from zart_server.store.sessions import Session

# Names, by why they may be as they are.
HARMLESS = {
    "looked at when a session is read back": ["default_transaction_read_only"],
    "set, where it helps": [
        "application_name", "tcp_keepalives_count", "tcp_keepalives_idle",
        "tcp_keepalives_interval", "tcp_user_timeout",
    ],
    "of one transaction: each begins as its default says": [
        "transaction_deferrable", "transaction_isolation", "transaction_read_only",
    ],
    "of functions and types that no statement of ours uses": [
        "default_text_search_config", "icu_validation_level", "lc_monetary", "lc_numeric",
        "lc_time", "quote_all_identifiers", "timezone_abbreviations", "xmlbinary",
    ],
    "of statements that a server does not send, or only a migration does, where it is the same": [
        "check_function_bodies", "createrole_self_grant", "file_copy_method",
        "password_encryption", "scram_iterations",
    ],
    "of VACUUM by hand": [
        "vacuum_buffer_usage_limit", "vacuum_cost_delay", "vacuum_cost_limit",
        "vacuum_cost_page_dirty", "vacuum_cost_page_hit", "vacuum_cost_page_miss",
        "vacuum_failsafe_age", "vacuum_freeze_min_age", "vacuum_freeze_table_age",
        "vacuum_max_eager_freeze_failure_rate", "vacuum_multixact_failsafe_age",
        "vacuum_multixact_freeze_min_age", "vacuum_multixact_freeze_table_age", "vacuum_truncate",
    ],
    "where and how things are stored, which is the operator's": [
        "default_table_access_method", "default_tablespace", "default_toast_compression",
        "gin_pending_list_limit", "temp_tablespaces", "wal_skip_threshold",
    ],
    "how much memory, disk and how many processes a statement takes, which is the operator's": [
        "backend_flush_after", "commit_siblings", "effective_io_concurrency",
        "hash_mem_multiplier", "io_combine_limit", "logical_decoding_work_mem",
        "maintenance_io_concurrency", "maintenance_work_mem", "max_parallel_maintenance_workers",
        "max_parallel_workers", "max_parallel_workers_per_gather", "parallel_leader_participation",
        "temp_buffers", "work_mem",
    ],
    "of what is logged or told besides an answer": [
        "client_min_messages", "debug_pretty_print", "debug_print_parse", "debug_print_plan",
        "debug_print_rewritten", "escape_string_warning", "log_parameter_max_length_on_error",
        "md5_password_warnings", "trace_notify", "trace_sort",
    ],
    "of compiled plans, which ours are not": ["jit_expressions", "jit_tuple_deforming"],
    "of replication's own sessions": [
        "debug_logical_replication_streaming", "wal_sender_timeout",
    ],
    "in which order a whole table is read, which no statement of ours relies on": [
        "synchronize_seqscans",
    ],
    "how often a statement looks whether its caller is there": ["client_connection_check_interval"],
    "how fresh figures of PostgreSQL's own are within a transaction": ["stats_fetch_consistency"],
    "code that the operator has installed": ["local_preload_libraries"],
}  # fmt: skip
_SETTABLE = """
    SELECT name FROM pg_settings WHERE context = 'user' AND name NOT LIKE '%.%'
"""


async def test_every_setting_of_the_newest_postgresql_is_ours_or_harms_nothing(
    tmp_path: Path,
) -> None:
    """One that a new version brings is on neither list: look what it does, and put it on one."""
    with postgres.running(tmp_path / "pg", durable=False) as database:
        connection = await Connector(database.url, Session("test")).connect()
        settable = {row["name"] for row in await connection.fetch(_SETTABLE)}
        learnt = sessions._LEARNT[Session("test"), connection.get_server_version()]
        await connection.close()
    harmless = [name for names in HARMLESS.values() for name in names]
    assert len(harmless) == len(set(harmless))
    assert settable - learnt.keys() == set(harmless)


async def test_one_that_ends_sessions_by_their_errors_costs_no_connection(
    zart_database: str, db: asyncpg.Connection[asyncpg.Record]
) -> None:
    await alter(db, zart_database, WHERE[0], {"exit_on_error": "on"})
    connection = await Connector(zart_database, Session("test")).connect()
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.execute("SELECT 1 / 0")
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
