"""What can be set, as ZART_* environment variables, checked before anything starts."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    FilePath,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from zart.logs import level_of, style_of
from zart.loopback import is_loopback
from zart.metrics.failures import MetricsError, host_and_port_of_metrics
from zart_server.domain.retention import Kept
from zart_server.store.database_url import check_url
from zart_server.store.followed_url import FollowedUrl, url_in

_TIME = re.compile(r"(\d{1,12})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 36_500 * 86400
_RENAMED = {"ZART_METRICS_PORT": "ZART_METRICS_LISTEN, to HOST:PORT"}


class SettingsError(Exception):
    """A setting cannot be right; the message names the variable and says what to do."""


def _time_kept(given: object) -> object:
    """Return the time that a text such as 30d means; raises ValueError for another text."""
    if not isinstance(given, str):
        return given
    match = _TIME.fullmatch(given)
    if match is None:
        raise ValueError(f"{given!r} is not a time such as 30d, 12h, 90m or 45s")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if not 0 < seconds <= _LONGEST:
        raise ValueError(f"{given} must be more than nothing, and at most 36500d")
    return timedelta(seconds=seconds)


def _not_blank(claim: str) -> str:
    """Return the name of a claim; raises ValueError where there is none.

    No token has a claim without a name: one that is to limit a token would limit none.
    """
    if not claim.strip():
        raise ValueError("it is blank: name the claim, or leave the setting out")
    return claim


class Settings(BaseSettings):
    """The settings of one server. Times are in seconds."""

    model_config = SettingsConfigDict(env_prefix="ZART_", extra="ignore", frozen=True)

    database_url: str = Field(description="postgresql://user:password@host:port/database")
    database_url_file: Path | None = Field(default=None, description="a file that holds it")
    listen: str = Field("127.0.0.1:50051", description="HOST:PORT; port 0 takes a free one")
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="processes that share the port; each has what is said below of its own"
    )
    migrate: bool = Field(default=True, description="bring the schema up to date at the start")
    insecure: bool = Field(
        default=False, description="listen beyond loopback without TLS and identity"
    )
    pool_size: int = Field(10, ge=2, le=200, description="connections to the database at most")
    statement_timeout: float = Field(30.0, gt=0, le=600, description="that one statement may take")
    operation_timeout: float = Field(
        20.0, gt=0, le=600, description="that a mutation may take as a whole, repeats included"
    )
    drain_notice: float = Field(
        0.2, ge=0, le=600,
        description="how long NOT_SERVING is told before calls are refused, at the end: longer than"
        " who asks takes to ask again. Up to five times that while calls come in",
    )  # fmt: skip
    drain_grace: float = Field(
        3.0, ge=0, le=600, description="that calls under way have after that"
    )
    metrics_listen: str | None = Field(
        default=None, description="HOST:PORT where Prometheus reads metrics; not set: nowhere"
    )
    metrics_tasks: int = Field(
        20, ge=0, le=1000,
        description="tasks with a label of their own in metrics; the rest is `other`",
    )  # fmt: skip
    log_level: Annotated[str, AfterValidator(level_of)] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Annotated[str, AfterValidator(style_of)] = Field(
        "auto", description="json, console, or auto: console on a terminal, else json"
    )
    max_calls: int = Field(2_000, ge=1, description="calls at once; one more is SERVER_BUSY")
    max_waiting_calls: int = Field(
        20_000, ge=1,
        description="long polls and streams of dispatchers at once, and as many watches, apart"
        " from these",
    )  # fmt: skip
    stream_age: float = Field(
        120.0, gt=0, le=86_400,
        description="seconds until a dispatcher's stream moves to another server",
    )  # fmt: skip
    connection_age: float = Field(
        600.0, gt=0, le=86_400,
        description="seconds until a caller is to connect anew, and learns of other servers; what"
        " is under way goes on",
    )  # fmt: skip

    retention: Annotated[timedelta | None, BeforeValidator(_time_kept)] = Field(
        default=None, description="for how long finished executions are kept, such as 30d"
    )
    operations_retention: Annotated[timedelta | None, BeforeValidator(_time_kept)] = Field(
        default=None, description="for how long operations are kept, such as 400d"
    )

    tls_cert: FilePath | None = Field(default=None, description="the chain, in PEM")
    tls_key: FilePath | None = Field(default=None, description="its key, in PEM")
    tls_client_ca: FilePath | None = Field(
        default=None, description="whom callers' certificates must be signed by; asks for them"
    )
    auth_tokens: FilePath | None = Field(default=None, description="the hashes of static tokens")
    auth_certificates: FilePath | None = Field(
        default=None, description="the roles of subjects of client certificates"
    )
    auth_jwks: str | None = Field(default=None, description="file or URL of the keys of JWTs")
    auth_issuer: str | None = Field(default=None, description="who must have issued JWTs: `iss`")
    auth_audience: str | None = Field(default=None, description="whom JWTs must be for: `aud`")
    auth_roles_claim: Annotated[str, AfterValidator(_not_blank)] = Field(
        "roles", description="where JWTs say roles; a path will do"
    )
    auth_tasks_claim: Annotated[str, AfterValidator(_not_blank)] = Field(
        "tasks", description="where JWTs limit a dispatcher's tasks"
    )
    auth_skew: float = Field(30.0, ge=0, le=600, description="by which clocks may differ")

    @model_validator(mode="before")
    @classmethod
    def _read_url(cls, given: dict[str, Any]) -> dict[str, Any]:
        url, file = given.get("database_url"), given.get("database_url_file")
        if file is None or not str(file).strip():
            return {name: value for name, value in given.items() if name != "database_url_file"}
        return {**given, "database_url": database_url_of(url, file)}

    @field_validator("database_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        check_url(url)
        return url

    @model_validator(mode="after")
    def _check_listen(self) -> Settings:
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - the last port
            raise ValueError("listen must be HOST:PORT, such as 127.0.0.1:50051")
        is_safe = self.tls_cert is not None and self.asks_who_calls
        if not is_safe and not self.insecure and not is_loopback(host.strip("[]")):
            raise ValueError(
                f"refusing to listen on {host} without TLS and authentication: set ZART_TLS_CERT,"
                " ZART_TLS_KEY and ZART_AUTH_TOKENS (or another of ZART_AUTH_*), or ZART_INSECURE=1"
                " to do so all the same"
            )
        return self

    @field_validator("metrics_listen")
    @classmethod
    def _check_metrics_listen(cls, listen: str | None) -> str | None:
        if listen:
            try:
                host_and_port_of_metrics(listen)
            except MetricsError as error:
                raise ValueError(str(error)) from None
        return listen or None

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("ZART_TLS_CERT and ZART_TLS_KEY go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("ZART_TLS_CLIENT_CA needs ZART_TLS_CERT and ZART_TLS_KEY")
        return self

    @model_validator(mode="after")
    def _check_auth(self) -> Settings:
        if self.auth_certificates is not None and self.tls_client_ca is None:
            raise ValueError("ZART_AUTH_CERTIFICATES needs ZART_TLS_CLIENT_CA")
        jwt = (self.auth_jwks, self.auth_issuer, self.auth_audience)
        if jwt == (None, None, None):
            return self
        if not all(text and text.strip() for text in jwt):
            # Whoever gives one of them wants callers asked for JWTs: without the rest, or with a
            # blank, nobody would be asked.
            raise ValueError(
                "ZART_AUTH_JWKS, ZART_AUTH_ISSUER and ZART_AUTH_AUDIENCE go together: set all three"
                " of them, none blank, or leave all three out"
            )
        keys = self.auth_jwks or ""
        if (
            keys.startswith("http://")
            and not self.insecure
            and not is_loopback(urlsplit(keys).hostname or "")
        ):
            raise ValueError("ZART_AUTH_JWKS must be a file or an https:// URL")
        return self

    @model_validator(mode="after")
    def _check_kept(self) -> Settings:
        if None not in self.kept and self.operations_retention < self.retention:  # type: ignore[operator]  # neither is None
            raise ValueError("ZART_OPERATIONS_RETENTION must not be shorter than ZART_RETENTION")
        return self

    @property
    def kept(self) -> Kept:
        """For how long what has ended is kept."""
        return Kept(self.retention, self.operations_retention)

    @property
    def asks_who_calls(self) -> bool:
        """True if callers must authenticate."""
        return any((self.auth_tokens, self.auth_certificates, self.auth_jwks))

    def followed_url(self) -> FollowedUrl:
        """Return where the database is, by the file that says so, if there is one."""
        return FollowedUrl(self.database_url, self.database_url_file)

    @classmethod
    def load(cls, **given: Any) -> Settings:  # noqa: ANN401 - pydantic checks them
        """Read the environment; what is given (and not None) goes first. Raises SettingsError."""
        for name, instead in _RENAMED.items():
            if name in os.environ:  # to do nothing of it would be taken for doing it
                raise SettingsError(f"{name} is read no more: set {instead}")
        try:
            return cls(**{key: value for key, value in given.items() if value is not None})
        except ValidationError as error:
            lines = []
            for problem in error.errors():
                name = "ZART_" + "_".join(map(str, problem["loc"])).upper()
                what = problem["msg"].removeprefix("Value error, ")
                lines.append(f"{name}: {what}" if problem["loc"] else what)
            raise SettingsError("; ".join(lines)) from None


def database_url_of(url: str | None, file: Path | str | None) -> str:
    """Return the URL, or the content of the file; what is blank is as not given.

    Raises ValueError, which says what is wrong.
    """
    if file is None or not str(file).strip():
        return url or ""
    if url and url.strip():
        raise ValueError("set ZART_DATABASE_URL or ZART_DATABASE_URL_FILE, not both")
    return url_in(Path(file))
