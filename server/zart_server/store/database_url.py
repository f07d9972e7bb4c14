"""Understands the database URLs that people paste."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

# scheme://user:password@ host:port,host:port /database?options
_HOSTS = re.compile(r"(\w+(?:\+\w+)?://(?:[^/?#]*@)?)([^/?#@]*,[^/?#@]*)([^?#]*)(?:\?(.*))?")
# What is behind the "?", unless that is a password's.
_OPTIONS = re.compile(r"\w+(?:\+\w+)?://(?:[^:/]*(?::[^@]*)?@)?+[^?]*\?(.*)", re.DOTALL)
_PORT = "5432"

# The options behind the "?", by the names that PostgreSQL's programs have for them, so that one URL
# serves pg_dump, too. The driver takes these as arguments of their own names (`ssl`: as sslmode) …
_ARGUMENTS = frozenset({
    "host", "port", "user", "password", "database", "passfile", "target_session_attrs",
    "krbsrvname", "gsslib", "ssl",
})  # fmt: skip
# … and these only in a URL.
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_TLS = frozenset({
    *_FILES, "sslmode", "sslpassword", "sslnegotiation", "ssl_min_protocol_version",
    "ssl_max_protocol_version",
})  # fmt: skip
_DATABASE = "dbname"  # PostgreSQL's name for what the driver calls database
# Each session is given a name by what it is for (``store.sessions``).
_OURS = frozenset({"application_name", "fallback_application_name"})
# What the driver does not do: to ask for it and not to get it would be worse than to be refused.
_NEVER = frozenset({"channel_binding", "gssencmode"})
_KNOWN = _ARGUMENTS | _TLS | _OURS | _NEVER | {_DATABASE}
_NEVER_BLANK = (_TLS | _NEVER | {"ssl"}) - {"sslpassword"}
_VERIFYING = ("verify-ca", "verify-full")
_MODES = ("disable", "allow", "prefer", "require", *_VERIFYING)
_SYSTEM = "system"  # as sslrootcert: whom the system trusts
_BESIDE_SYSTEM = frozenset({"sslrootcert", "sslmode", "sslnegotiation"})
_NAME = re.compile(r"[A-Za-z_]{1,40}")


def _parsed(url: str) -> URL:
    """Turn ``postgresql://…`` or ``postgres://…`` into SQLAlchemy's URL for asyncpg.

    Several hosts may stand where one does, ``postgresql://a:5432,b:5432/d``, or in the query:
    ``?host=a:5432&host=b:5432``; both with ``target_session_attrs=read-write``.
    Raises ValueError, without the URL's text, since it may hold a password; it names an option that
    is unknown, or cannot be as it is.
    """
    try:
        parsed = make_url(_with_hosts_in_query(url))
    except (ArgumentError, ValueError):
        raise ValueError(
            "not a database URL: use postgresql://user:password@host:port/database"
        ) from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError("not a PostgreSQL URL: use postgresql://user:password@host:port/database")
    _check_blank(url)
    _check_options(parsed.query)
    return parsed.set(drivername="postgresql+asyncpg")


def check_url(url: str) -> None:
    """Raise ValueError for a URL that cannot be used here, or whose files cannot be read."""
    to_asyncpg_arguments(url)
    options = _parsed(url).query
    for name in _FILES:
        path = str(options.get(name, ""))
        if not path or (name == "sslrootcert" and path == _SYSTEM):
            continue
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise ValueError(f"{name} in the database URL: {path}: {error.strerror}") from None
    mode = options.get("ssl", options.get("sslmode"))
    if mode in _VERIFYING and not _has_authority(options):
        raise ValueError(
            f"sslmode={mode} in the database URL needs sslrootcert, a file with the certificate of"
            f" the database's authority; or sslrootcert={_SYSTEM}, for whom this system trusts"
        )


def _has_authority(options: Mapping[str, object]) -> bool:
    """Return whether it is known who may sign the database's certificate."""
    if "sslrootcert" in options or os.environ.get("PGSSLROOTCERT"):
        return True
    try:
        return Path("~/.postgresql/root.crt").expanduser().exists()
    except RuntimeError:  # a user without a home
        return False


def _check_blank(url: str) -> None:
    """Raise ValueError where an option of TLS is blank: it would be read as one that is not given.

    Where a script puts a URL together, ``?sslmode=$MODE``, TLS would be left to the database.
    """
    found = _OPTIONS.fullmatch(url)
    for name, value in parse_qsl(found[1], keep_blank_values=True) if found is not None else ():
        if name in _NEVER_BLANK and not value:
            raise ValueError(f"{name} in the database URL is blank: give it, or leave it out")


def _check_options(options: Mapping[str, str | tuple[str, ...]]) -> None:
    for name, value in options.items():
        if name not in _KNOWN:
            told = f"the option {name}" if _NAME.fullmatch(name) else "an option"
            raise ValueError(
                f"{told} of the database URL is not known here: docs/operating.md has those that"
                " are; sessions are set up by the server itself"
            )
        if not isinstance(value, str) and name not in ("host", "port"):
            raise ValueError(f"{name} is given twice in the database URL")
        if name in _NEVER and value not in ("disable", "prefer"):
            raise ValueError(
                f"{name} in the database URL must be disable or prefer, since the driver cannot do"
                " it; sslmode=verify-full makes sure who answers, too"
            )
        if name in ("sslmode", "ssl") and value not in _MODES:
            raise ValueError(f"{name} in the database URL must be one of {', '.join(_MODES)}")
    if options.get("sslrootcert") == _SYSTEM:
        if options.get("ssl", options.get("sslmode", "verify-full")) != "verify-full":
            raise ValueError(
                f"sslrootcert={_SYSTEM} in the database URL goes with sslmode=verify-full only"
            )
        if beside := sorted(options.keys() & _TLS - _BESIDE_SYSTEM):
            raise ValueError(
                f"{', '.join(beside)} in the database URL does not go with sslrootcert={_SYSTEM}"
            )


def _with_hosts_in_query(url: str) -> str:
    """Write several hosts as SQLAlchemy takes them; one without a port has the usual one."""
    found = _HOSTS.fullmatch(url)
    if found is None:
        return url
    start, hosts, path, query = found.groups()
    each = [host if ":" in host else f"{host}:{_PORT}" for host in hosts.split(",")]
    written = "&".join([f"host={host}" for host in each] + ([query] if query else []))
    return f"{start}{path}?{written}"


def to_asyncpg_arguments(url: str) -> dict[str, Any]:
    """Return the arguments of ``asyncpg.connect`` for the same URL. Raises ValueError."""
    parsed = _parsed(url)
    from sqlalchemy.dialects.postgresql.asyncpg import dialect  # noqa: PLC0415 - it loads slowly

    options = dict(parsed.query)
    rest = parsed.difference_update_query(_KNOWN - _ARGUMENTS)
    dialect_of: Any = dialect  # it has no types
    try:
        arguments: dict[str, Any] = dialect_of().create_connect_args(rest)[1]
    except ArgumentError:  # of several hosts one is none
        raise ValueError("not a database URL: each of its hosts is a host, or host:port") from None
    if _DATABASE in options:
        arguments["database"] = options[_DATABASE]
    if tls := {name: value for name, value in options.items() if name in _TLS}:
        arguments["dsn"] = f"postgresql://?{urlencode(tls)}"
    if options.get("sslrootcert") == _SYSTEM:
        arguments["ssl"] = True  # by the system's authorities, and the host's name; above the dsn
    return arguments
